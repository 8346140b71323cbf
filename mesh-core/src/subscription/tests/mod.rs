//! Both ends of the protocol against each other, and the rules that one end alone must keep.

mod state_of_the_world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::resource::{InvalidResource, ResourceType};

const KIND: ResourceType = ResourceType::Endpoints;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// A version that the client refuses.
const BAD: u8 = 9;

fn set(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn found(version: &str) -> Option<Found<()>> {
    Some(Found { version: version.into(), body: () })
}

fn sotw(kind: ResourceType, names: &[&str], nonce: Option<&str>) -> SotwRequest {
    SotwRequest { kind, names: set(names), nonce: nonce.map(Arc::from), error: None }
}

/// What the world holds; versions are small numbers.
type World = BTreeMap<Arc<str>, u8>;

fn look_up(world: &World, names: Vec<Arc<str>>) -> Vec<(Arc<str>, Option<Found<()>>)> {
    let version = |name: &Arc<str>| world.get(name).and_then(|version| found(&version.to_string()));
    names.into_iter().map(|name| (name.clone(), version(&name))).collect()
}

fn answers(server: &mut ServerStream, world: &World) -> Vec<Answer<()>> {
    let mut answers = vec![];
    while let Some(due) = server.due() {
        answers.extend(server.answer(due.kind, look_up(world, due.names)));
    }
    answers
}

fn names_sent(answers: &[Answer<()>]) -> Vec<Vec<&str>> {
    answers.iter().map(|answer| answer.resources.iter().map(|(name, _)| &**name).collect()).collect()
}

fn world(pairs: &[(&str, u8)]) -> World {
    pairs.iter().map(|(name, version)| (Arc::from(*name), *version)).collect()
}

#[test]
fn a_sotw_client_is_answered_by_its_latest_name_set_whatever_its_nonce() {
    let mut server = ServerStream::new(Encoding::StateOfTheWorld, 100);
    let world = world(&[("a", 1), ("b", 1)]);
    server.sotw_request(sotw(KIND, &["a"], None)).unwrap();
    assert_eq!(names_sent(&answers(&mut server, &world)), [["a"]]);
    let subscribed = server.sotw_request(sotw(KIND, &["a", "b"], None)).unwrap();
    assert_eq!(subscribed, Subscribed { added: vec!["b".into()], removed: vec![] });
    assert_eq!(names_sent(&answers(&mut server, &world)), [["b"]], "no nonce is not a new stream");
    server.sotw_request(sotw(KIND, &["b"], Some("1"))).unwrap();
    assert!(answers(&mut server, &world).is_empty(), "giving up a name is not answered");
    server.sotw_request(sotw(KIND, &["a", "b"], Some("1"))).unwrap();
    assert_eq!(names_sent(&answers(&mut server, &world)), [["a"]], "what was given up is sent again");
}

#[test]
fn listeners_and_clusters_in_a_state_of_the_world_are_all_there() {
    let mut server = ServerStream::new(Encoding::StateOfTheWorld, 100);
    let mut world = world(&[("a", 1), ("b", 1)]);
    let kind = ResourceType::Cluster;
    server.sotw_request(sotw(kind, &["a", "b"], None)).unwrap();
    assert_eq!(names_sent(&answers(&mut server, &world)), [["a", "b"]]);
    world.insert("b".into(), 2);
    server.changed(kind, &"b".into());
    assert_eq!(names_sent(&answers(&mut server, &world)), [["a", "b"]]);
    world.remove("a");
    server.changed(kind, &"a".into());
    assert_eq!(names_sent(&answers(&mut server, &world)), [["b"]], "absence is how a deletion is told");
    server.everything_changed();
    assert!(answers(&mut server, &world).is_empty(), "nothing changed, nothing is sent");
}

#[test]
fn a_wildcard_is_answered_with_nothing() {
    let mut server = ServerStream::new(Encoding::StateOfTheWorld, 100);
    server.sotw_request(sotw(ResourceType::Listener, &[], None)).unwrap();
    assert_eq!(names_sent(&answers(&mut server, &world(&[("a", 1)]))), [[""; 0]]);
}

#[test]
fn a_reconnected_delta_client_gets_what_changed_and_no_more() {
    let mut client = DeltaClient::default();
    client.want(KIND, set(&["a", "b", "c"]));
    for name in ["a", "b", "c"] {
        client.hold(KIND, name.into(), "1".into());
    }
    client.connected();
    let request = client.next_request().unwrap();
    assert_eq!(request.initial_versions.len(), 3);
    assert_eq!(client.next_request(), None);
    let mut server = ServerStream::new(Encoding::Delta, 100);
    server.delta_request(request).unwrap();
    let answers = answers(&mut server, &world(&[("a", 1), ("b", 2)]));
    assert_eq!(names_sent(&answers), [["b"]]);
    assert_eq!(answers[0].removed, ["c".into()]);
}

#[test]
fn a_name_that_does_not_exist_is_said_to_be_removed() {
    let mut server = ServerStream::new(Encoding::Delta, 100);
    let mut client = DeltaClient::default();
    client.want(KIND, set(&["nowhere"]));
    server.delta_request(client.next_request().unwrap()).unwrap();
    let answers = answers(&mut server, &World::new());
    assert_eq!(answers[0].removed, ["nowhere".into()]);
}

#[test]
fn one_bad_resource_is_refused_by_name_and_the_good_one_beside_it_is_kept() {
    let mut client = DeltaClient::default();
    client.want(KIND, set(&["a", "b"]));
    client.next_request().unwrap();
    client.received(KIND, response("1", &[("a", "1")], &["b"]));
    assert_eq!(client.held(KIND, "a").map(|version| &**version), Some("1"));
    assert_eq!(client.held(KIND, "b"), None);
    let nack = client.next_request().unwrap();
    assert_eq!(nack.nonce.as_deref(), Some("1"));
    assert_eq!(nack.error.as_deref(), Some("endpoints `b`: weight: is zero"));
    client.received(KIND, response("2", &[("b", "2")], &[]));
    assert_eq!(client.next_request().unwrap().error, None);
}

#[test]
fn the_reasons_of_a_nack_have_a_limit() {
    let mut client = DeltaClient::default();
    let names: Vec<String> = (0..1000).map(|number| format!("cluster-{number}-ü")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    client.want(KIND, set(&names));
    client.next_request().unwrap();
    client.received(KIND, response("1", &[], &names));
    let error = client.next_request().unwrap().error.unwrap();
    assert!(error.len() <= NACK_BYTES_MAX, "{}", error.len());
    assert!(error.ends_with("more)"), "{error}");
}

#[test]
fn a_nack_is_remembered_until_a_later_answer_is_acknowledged() {
    let mut server = ServerStream::new(Encoding::StateOfTheWorld, 100);
    let mut world = world(&[("a", 1)]);
    server.sotw_request(sotw(KIND, &["a"], None)).unwrap();
    answers(&mut server, &world);
    let refusal = SotwRequest { error: Some("no".into()), ..sotw(KIND, &["a"], Some("1")) };
    server.sotw_request(refusal).unwrap();
    assert_eq!(server.status()[&KIND].nack, Some(NackReport { nonce: 1, reason: "no".into() }));
    world.insert("a".into(), 2);
    server.changed(KIND, &"a".into());
    answers(&mut server, &world);
    server.sotw_request(sotw(KIND, &["a"], Some("1"))).unwrap();
    assert!(server.status()[&KIND].nack.is_some(), "an old nonce says nothing");
    server.sotw_request(sotw(KIND, &["a"], Some("2"))).unwrap();
    assert_eq!(server.status()[&KIND], TypeStatus { names: 1, sent: 2, unanswered: 0, nack: None });
}

#[test]
fn a_client_that_never_answers_is_not_flooded_and_then_gets_the_latest() {
    let mut server = ServerStream::new(Encoding::Delta, 100);
    let mut client = DeltaClient::default();
    client.want(KIND, set(&["a"]));
    server.delta_request(client.next_request().unwrap()).unwrap();
    let mut sent = 0;
    for version in 1..100 {
        server.changed(KIND, &"a".into());
        sent += answers(&mut server, &world(&[("a", version)])).len();
    }
    assert_eq!(sent, 8);
    client.received(KIND, response("8", &[], &[]));
    server.delta_request(client.next_request().unwrap()).unwrap();
    let last = answers(&mut server, &world(&[("a", 99)]));
    assert_eq!(&*last[0].resources[0].1.version, "99");
}

#[test]
fn a_stream_may_not_want_more_than_its_limit() {
    let mut server = ServerStream::new(Encoding::StateOfTheWorld, 2);
    assert!(server.sotw_request(sotw(KIND, &["a", "b"], None)).is_ok());
    let full = server.sotw_request(sotw(ResourceType::Cluster, &["c"], None));
    assert_eq!(full, Err(TooManyNames { names_max: 2 }));
}

fn response(nonce: &str, accepted: &[(&str, &str)], rejected: &[&str]) -> Response {
    let invalid = |name: &&str| InvalidResource {
        resource_type: KIND,
        name: (*name).into(),
        field: "weight".into(),
        reason: "is zero".into(),
    };
    Response {
        nonce: nonce.into(),
        accepted: accepted.iter().map(|(name, version)| (Arc::from(*name), Arc::from(*version))).collect(),
        removed: vec![],
        rejected: rejected.iter().map(invalid).collect(),
    }
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Want(BTreeSet<usize>),
    Change(usize, Option<u8>),
    /// The client writes what is due; until then several wishes may pass.
    Send,
    ToServer,
    ToClient,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let version = prop_oneof![3 => (1..5u8).prop_map(Some), 1 => Just(Some(BAD)), 1 => Just(None)];
    prop_oneof![
        2 => prop::collection::btree_set(0..NAMES.len(), 0..=NAMES.len()).prop_map(Step::Want),
        3 => (0..NAMES.len(), version).prop_map(|(name, version)| Step::Change(name, version)),
        3 => Just(Step::Send),
        4 => Just(Step::ToServer),
        4 => Just(Step::ToClient),
        1 => Just(Step::Reconnect),
    ]
}

/// Both ends and what is between them.
struct Pair {
    client: DeltaClient,
    server: ServerStream,
    world: World,
    upstream: VecDeque<Request>,
    downstream: VecDeque<Answer<()>>,
    /// What the client's snapshot holds.
    content: BTreeMap<Arc<str>, Arc<str>>,
}

impl Pair {
    fn new() -> Self {
        Self {
            client: DeltaClient::default(),
            server: ServerStream::new(Encoding::Delta, 100),
            world: World::new(),
            upstream: VecDeque::new(),
            downstream: VecDeque::new(),
            content: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Want(names) => {
                let names: BTreeSet<Arc<str>> = names.iter().map(|index| NAMES[*index].into()).collect();
                self.content.retain(|name, _| names.contains(name));
                self.client.want(KIND, names);
            }
            Step::Change(index, version) => {
                let name: Arc<str> = NAMES[index].into();
                match version {
                    Some(version) => self.world.insert(name.clone(), version),
                    None => self.world.remove(&name),
                };
                self.server.changed(KIND, &name);
            }
            Step::Send => self.upstream.extend(std::iter::from_fn(|| self.client.next_request())),
            Step::ToServer => {
                if let Some(request) = self.upstream.pop_front() {
                    self.server.delta_request(request).unwrap();
                }
            }
            Step::ToClient => {
                if let Some(answer) = self.downstream.pop_front() {
                    self.deliver(answer);
                }
            }
            Step::Reconnect => {
                self.upstream.clear();
                self.downstream.clear();
                self.server = ServerStream::new(Encoding::Delta, 100);
                self.client.connected();
            }
        }
        self.downstream.extend(answers(&mut self.server, &self.world));
    }

    fn deliver(&mut self, answer: Answer<()>) {
        let mut response = response(&answer.nonce.to_string(), &[], &[]);
        for (name, found) in answer.resources {
            if &*found.version == "9" {
                response.rejected.extend(self::response("", &[], &[&name]).rejected);
                continue;
            }
            if self.client.wants(KIND, &name) {
                self.content.insert(name.clone(), found.version.clone());
            }
            response.accepted.push((name, found.version));
        }
        for name in &answer.removed {
            self.content.remove(name);
        }
        response.removed = answer.removed;
        self.client.received(KIND, response);
    }

    fn settle(&mut self) {
        self.step(Step::Send);
        while !self.upstream.is_empty() || !self.downstream.is_empty() {
            self.step(Step::Send);
            self.step(Step::ToServer);
            self.step(Step::ToClient);
            self.step(Step::Send);
        }
    }

    fn wanted(&self) -> impl Iterator<Item = Arc<str>> {
        NAMES.iter().map(|name| Arc::from(*name)).filter(|name| self.client.wants(KIND, name))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_both_ends_agree_once_all_is_delivered(history in prop::collection::vec(step(), 0..60)) {
        let mut pair = Pair::new();
        for step in history {
            pair.step(step);
        }
        pair.settle();
        for name in pair.wanted() {
            let held = pair.client.held(KIND, &name).cloned();
            prop_assert_eq!(&held, &pair.content.get(&name).cloned(), "{}: version and content", &name);
            match pair.world.get(&name) {
                Some(&BAD) => prop_assert_ne!(held.as_deref(), Some("9"), "{} is bad", &name),
                Some(version) => prop_assert_eq!(held.as_deref(), Some(&*version.to_string()), "{}", &name),
                None => prop_assert_eq!(held, None, "{} is absent", &name),
            }
        }
        let wanted: Vec<_> = pair.wanted().collect();
        let subscribed: Vec<_> = pair.server.names().map(|(_, name)| name.clone()).collect();
        prop_assert_eq!(wanted, subscribed);
        let unanswered = pair.server.status().get(&KIND).map_or(0, |status| status.unanswered);
        prop_assert_eq!(unanswered, 0, "every answer was acknowledged or refused");
    }
}

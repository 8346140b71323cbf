//! A state-of-the-world client against the server's side, whatever is lost or delayed between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::{NAMES, World, answers};
use crate::resource::ResourceType;
use crate::subscription::{Answer, Encoding, ServerStream, SotwRequest};

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// Wants these names; refers to the last answer, or to none, as a client in the middle of subscribing does.
    Want(BTreeSet<usize>, bool),
    Change(usize, Option<u8>),
    ToServer,
    ToClient,
}

fn step() -> impl Strategy<Value = Step> {
    let names = prop::collection::btree_set(0..NAMES.len(), 1..=NAMES.len());
    let version = prop::option::weighted(0.8, 1..5u8);
    prop_oneof![
        2 => (names, any::<bool>()).prop_map(|(names, refers)| Step::Want(names, refers)),
        3 => (0..NAMES.len(), version).prop_map(|(name, version)| Step::Change(name, version)),
        4 => Just(Step::ToServer),
        4 => Just(Step::ToClient),
    ]
}

struct Pair {
    kind: ResourceType,
    server: ServerStream,
    world: World,
    wanted: BTreeSet<Arc<str>>,
    content: BTreeMap<Arc<str>, Arc<str>>,
    last_nonce: Option<Arc<str>>,
    upstream: VecDeque<SotwRequest>,
    downstream: VecDeque<Answer<()>>,
}

impl Pair {
    fn step(&mut self, step: Step) {
        match step {
            Step::Want(names, refers) => {
                self.wanted = names.iter().map(|index| NAMES[*index].into()).collect();
                self.content.retain(|name, _| self.wanted.contains(name));
                self.send(if refers { self.last_nonce.clone() } else { None });
            }
            Step::Change(index, version) => {
                let name: Arc<str> = NAMES[index].into();
                match version {
                    Some(version) => self.world.insert(name.clone(), version),
                    None => self.world.remove(&name),
                };
                self.server.changed(self.kind, &name);
            }
            Step::ToServer => {
                if let Some(request) = self.upstream.pop_front() {
                    self.server.sotw_request(request).unwrap();
                }
            }
            Step::ToClient => {
                if let Some(answer) = self.downstream.pop_front() {
                    self.deliver(answer);
                }
            }
        }
        self.downstream.extend(answers(&mut self.server, &self.world));
    }

    fn send(&mut self, nonce: Option<Arc<str>>) {
        let names = self.wanted.clone();
        self.upstream.push_back(SotwRequest { kind: self.kind, names, nonce, error: None });
    }

    /// As gRPC does: what a whole state lacks has been deleted.
    fn deliver(&mut self, answer: Answer<()>) {
        if self.kind == ResourceType::Cluster {
            self.content.clear();
        }
        let wanted = answer.resources.into_iter().filter(|(name, _)| self.wanted.contains(name));
        self.content.extend(wanted.map(|(name, found)| (name, found.version)));
        self.last_nonce = Some(answer.nonce.to_string().into());
        self.send(self.last_nonce.clone());
    }
}

fn check(kind: ResourceType, history: Vec<Step>) {
    let mut pair = Pair {
        kind,
        server: ServerStream::new(Encoding::StateOfTheWorld, 100),
        world: World::new(),
        wanted: BTreeSet::new(),
        content: BTreeMap::new(),
        last_nonce: None,
        upstream: VecDeque::new(),
        downstream: VecDeque::new(),
    };
    for step in history {
        pair.step(step);
    }
    while !pair.upstream.is_empty() || !pair.downstream.is_empty() {
        pair.step(Step::ToServer);
        pair.step(Step::ToClient);
    }
    for name in &pair.wanted {
        let (now, held) = (pair.world.get(name).map(u8::to_string), pair.content.get(name));
        // Of endpoints a state of the world cannot say that they are gone; the last ones stay.
        if now.is_some() || kind == ResourceType::Cluster {
            assert_eq!(held.map(|version| version.to_string()), now, "{kind} {name}");
        }
    }
    assert!(pair.server.is_answered());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_client_ends_with_the_world(history in prop::collection::vec(step(), 0..60)) {
        check(ResourceType::Cluster, history.clone());
        check(ResourceType::Endpoints, history);
    }
}

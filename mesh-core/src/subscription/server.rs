//! The server's side of one stream: what the client subscribed to, what it was sent, what it acknowledged or refused.
//!
//! Delta and state of the world share this bookkeeping and differ in two places: how a request changes the set of names,
//! and what an answer carries. Changes collect as names that are due; whoever writes the stream asks for the next answer
//! when there is room for one, so that a slow client gets the latest state and never a backlog.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Request;
use crate::resource::ResourceType;

/// All subscriptions of one stream.
#[derive(Debug)]
pub struct ServerStream {
    encoding: Encoding,
    names_max: usize,
    types: BTreeMap<ResourceType, TypeSubscription>,
    last_nonce: u64,
}

/// The variant of xDS that a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Single resources come and go.
    Delta,
    /// Each answer is a state.
    StateOfTheWorld,
}

/// A state-of-the-world request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SotwRequest {
    /// Of this type.
    pub kind: ResourceType,
    /// Everything that is wanted from now on.
    pub names: BTreeSet<Arc<str>>,
    /// The answer that is acknowledged or refused.
    pub nonce: Option<Arc<str>>,
    /// Why it is refused.
    pub error: Option<String>,
}

/// How a request changed the set of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscribed {
    /// New names.
    pub added: Vec<Arc<str>>,
    /// Names given up.
    pub removed: Vec<Arc<str>>,
}

/// A stream wants more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {names_max} resource names are subscribed to on one stream")]
pub struct TooManyNames {
    /// The limit.
    pub names_max: usize,
}

/// Names that must be looked up for the next answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Of this type.
    pub kind: ResourceType,
    /// These.
    pub names: Vec<Arc<str>>,
    /// The answer must carry them all; otherwise some may be left for the next.
    pub whole: bool,
}

/// A resource as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<B> {
    /// Equal versions have equal bytes.
    pub version: Arc<str>,
    /// The bytes.
    pub body: B,
}

/// An answer to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<B> {
    /// Of this type.
    pub kind: ResourceType,
    /// By which the client will refer to it.
    pub nonce: u64,
    /// What it brings.
    pub resources: Vec<(Arc<str>, Found<B>)>,
    /// What does not exist (delta only).
    pub removed: Vec<Arc<str>>,
}

/// How one type fares on a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeStatus {
    /// How many names are subscribed to.
    pub names: usize,
    /// How many answers were sent.
    pub sent: u64,
    /// How many of them await the client's word.
    pub unanswered: usize,
    /// The last refusal, until an answer after it is acknowledged.
    pub nack: Option<NackReport>,
}

/// A refusal, in the client's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NackReport {
    /// The refused answer.
    pub nonce: u64,
    /// Why.
    pub reason: String,
}

#[derive(Debug, Default)]
struct TypeSubscription {
    names: BTreeMap<Arc<str>, Known>,
    due: BTreeSet<Arc<str>>,
    /// State of the world: an answer is awaited even if it brings nothing new.
    owed: bool,
    unanswered: VecDeque<u64>,
    sent: u64,
    nack: Option<NackReport>,
}

/// What a client was told of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Nothing,
    Absent,
    Version(Arc<str>),
}

impl ServerStream {
    /// A stream with no subscription yet, which may have `names_max` of them.
    pub fn new(encoding: Encoding, names_max: usize) -> Self {
        Self { encoding, names_max, types: BTreeMap::new(), last_nonce: 0 }
    }

    /// Takes a delta request.
    ///
    /// # Errors
    /// When it wants more names than a stream may have.
    pub fn delta_request(&mut self, request: Request) -> Result<Subscribed, TooManyNames> {
        let subscription = self.types.entry(request.kind).or_default();
        subscription.answered(request.nonce.as_deref(), request.error);
        let removed: Vec<_> =
            request.unsubscribe.into_iter().filter(|name| subscription.unsubscribe(name)).collect();
        let mut added = Vec::new();
        for name in request.subscribe {
            let known = request.initial_versions.get(&name).cloned().map_or(Known::Nothing, Known::Version);
            // A name subscribed to again is sent again: the client has dropped what it had (xDS protocol, "Subscribing").
            if subscription.names.insert(name.clone(), known).is_none() {
                added.push(name.clone());
            }
            subscription.due.insert(name);
        }
        self.within_limit()?;
        Ok(Subscribed { added, removed })
    }

    /// Takes a state-of-the-world request. Its names count whatever its nonce says: a client in the middle of subscribing
    /// step by step refers to older answers, or to none.
    ///
    /// # Errors
    /// When it wants more names than a stream may have.
    pub fn sotw_request(&mut self, request: SotwRequest) -> Result<Subscribed, TooManyNames> {
        let subscription = self.types.entry(request.kind).or_default();
        subscription.answered(request.nonce.as_deref(), request.error);
        let gone = |name: &Arc<str>| !request.names.contains(name);
        let removed: Vec<_> = subscription.names.keys().filter(|name| gone(name)).cloned().collect();
        removed.iter().for_each(|name| {
            subscription.unsubscribe(name);
        });
        let new = |name: &&Arc<str>| !subscription.names.contains_key(*name);
        let added: Vec<_> = request.names.iter().filter(new).cloned().collect();
        // A first request without names is a wildcard. It is answered, so that nobody waits, though with nothing: what a
        // client dials depends on its namespace, and there is no list of "all".
        subscription.owed |= subscription.sent == 0 && request.names.is_empty();
        for name in &added {
            subscription.names.insert(name.clone(), Known::Nothing);
            subscription.due.insert(name.clone());
        }
        subscription.owed |= !added.is_empty();
        self.within_limit()?;
        Ok(Subscribed { added, removed })
    }

    /// Notes that a resource may have changed.
    pub fn changed(&mut self, kind: ResourceType, name: &Arc<str>) {
        if let Some(subscription) = self.types.get_mut(&kind)
            && subscription.names.contains_key(name)
        {
            subscription.due.insert(name.clone());
        }
    }

    /// Notes that everything may have changed.
    pub fn everything_changed(&mut self) {
        for subscription in self.types.values_mut() {
            subscription.due.extend(subscription.names.keys().cloned());
        }
    }

    /// What must be looked up for the next answer: clusters before what refers to them. None while the client owes its
    /// word on too many answers.
    pub fn due(&self) -> Option<Due> {
        let (kind, subscription) = self.types.iter().find(|(kind, subscription)| {
            let asked = !subscription.due.is_empty() || subscription.owed && self.carries_everything(**kind);
            asked && subscription.unanswered.len() < UNANSWERED_MAX
        })?;
        let whole = self.carries_everything(*kind);
        let names = if whole {
            subscription.names.keys().cloned().collect()
        } else {
            subscription.due.iter().cloned().collect()
        };
        Some(Due { kind: *kind, names, whole })
    }

    /// Makes the answer for what was due, given what was found; none if the client has all of it already.
    pub fn answer<B>(
        &mut self,
        kind: ResourceType,
        found: Vec<(Arc<str>, Option<Found<B>>)>,
    ) -> Option<Answer<B>> {
        let everything = self.carries_everything(kind);
        let delta = self.encoding == Encoding::Delta;
        let subscription = self.types.get_mut(&kind)?;
        let owed = std::mem::take(&mut subscription.owed) && everything;
        let (mut resources, mut removed, mut news) = (Vec::new(), Vec::new(), owed);
        for (name, found) in found {
            subscription.due.remove(&name);
            let Some(known) = subscription.names.get_mut(&name) else { continue };
            let now = found.as_ref().map_or(Known::Absent, |found| Known::Version(found.version.clone()));
            let differs = *known != now;
            // A client that was told nothing learns nothing from an absence in a state of the world.
            news |= differs && (delta || found.is_some() || *known != Known::Nothing);
            *known = now;
            match found {
                Some(found) if differs || everything => resources.push((name, found)),
                None if differs && delta => removed.push(name),
                _ => {}
            }
        }
        let says_something = everything || !resources.is_empty() || !removed.is_empty();
        if !news || !says_something {
            return None;
        }
        self.last_nonce += 1;
        subscription.unanswered.push_back(self.last_nonce);
        subscription.sent += 1;
        Some(Answer { kind, nonce: self.last_nonce, resources, removed })
    }

    /// Whether the client has given its word on every answer.
    pub fn is_answered(&self) -> bool {
        self.types.values().all(|subscription| subscription.unanswered.is_empty())
    }

    /// How each type fares.
    pub fn status(&self) -> BTreeMap<ResourceType, TypeStatus> {
        self.types.iter().map(|(kind, subscription)| (*kind, subscription.status())).collect()
    }

    /// All names subscribed to, to be given up when the stream ends.
    pub fn names(&self) -> impl Iterator<Item = (ResourceType, &Arc<str>)> {
        self.types.iter().flat_map(|(kind, subscription)| subscription.names.keys().map(|name| (*kind, name)))
    }

    /// In a state of the world a listener or cluster that is not in the answer counts as deleted.
    fn carries_everything(&self, kind: ResourceType) -> bool {
        self.encoding == Encoding::StateOfTheWorld
            && matches!(kind, ResourceType::Listener | ResourceType::Cluster)
    }

    fn within_limit(&self) -> Result<(), TooManyNames> {
        let names: usize = self.types.values().map(|subscription| subscription.names.len()).sum();
        if names > self.names_max { Err(TooManyNames { names_max: self.names_max }) } else { Ok(()) }
    }
}

impl TypeSubscription {
    /// True if the name was subscribed to.
    fn unsubscribe(&mut self, name: &Arc<str>) -> bool {
        self.due.remove(name);
        self.names.remove(name).is_some()
    }

    /// Takes the client's word on an answer, and with it on all before. A nonce that is not awaited says nothing.
    fn answered(&mut self, nonce: Option<&str>, error: Option<String>) {
        let Some(nonce) = nonce.and_then(|nonce| nonce.parse::<u64>().ok()) else { return };
        if !self.unanswered.contains(&nonce) {
            return;
        }
        self.unanswered.retain(|sent| *sent > nonce);
        self.nack = error.map(|reason| NackReport { nonce, reason });
    }

    fn status(&self) -> TypeStatus {
        TypeStatus {
            names: self.names.len(),
            sent: self.sent,
            unanswered: self.unanswered.len(),
            nack: self.nack.clone(),
        }
    }
}

/// How many answers of a type may await the client's word.
const UNANSWERED_MAX: usize = 8;

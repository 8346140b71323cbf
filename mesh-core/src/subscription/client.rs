//! The client's side of delta xDS: which names are wanted, which were asked for on this stream, which versions are held.
//!
//! Wishes and held versions outlive a stream; what was asked and what must be acknowledged do not. So a reconnect is one
//! call, after which the next requests name everything again, with the versions that need not be sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::NACK_BYTES_MAX;
use crate::resource::{InvalidResource, ResourceType};

/// All subscriptions of a process.
#[derive(Debug, Default)]
pub struct DeltaClient {
    types: BTreeMap<ResourceType, TypeState>,
}

/// A request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Of this type.
    pub kind: ResourceType,
    /// Newly wanted names.
    pub subscribe: Vec<Arc<str>>,
    /// Names no longer wanted.
    pub unsubscribe: Vec<Arc<str>>,
    /// Held versions; on the first request of a stream only.
    pub initial_versions: BTreeMap<Arc<str>, Arc<str>>,
    /// The response that is acknowledged or refused.
    pub nonce: Option<Arc<str>>,
    /// Why it is refused.
    pub error: Option<String>,
}

/// What became of one response.
#[derive(Debug, Default)]
pub struct Response {
    /// Its nonce.
    pub nonce: Arc<str>,
    /// Names and versions of the resources that are good.
    pub accepted: Vec<(Arc<str>, Arc<str>)>,
    /// Names that do not exist.
    pub removed: Vec<Arc<str>>,
    /// What is refused; the last good one stays.
    pub rejected: Vec<InvalidResource>,
}

#[derive(Debug, Default)]
struct TypeState {
    wanted: BTreeSet<Arc<str>>,
    held: BTreeMap<Arc<str>, Arc<str>>,
    stream: StreamState,
}

/// What belongs to one stream and ends with it.
#[derive(Debug, Default)]
struct StreamState {
    begun: bool,
    asked: BTreeSet<Arc<str>>,
    dropped: BTreeSet<Arc<str>>,
    answers: VecDeque<(Arc<str>, Option<String>)>,
}

impl DeltaClient {
    /// Takes over saved state: these versions are held already.
    pub fn hold(&mut self, kind: ResourceType, name: Arc<str>, version: Arc<str>) {
        self.types.entry(kind).or_default().held.insert(name, version);
    }

    /// Wants exactly these names of a type from now on. What is no longer wanted is no longer held.
    pub fn want(&mut self, kind: ResourceType, names: BTreeSet<Arc<str>>) {
        let state = self.types.entry(kind).or_default();
        state.held.retain(|name, _| names.contains(name));
        // Remembered until it is said: a name that is wanted again by then must be asked for again, since its content is gone.
        let StreamState { asked, dropped, .. } = &mut state.stream;
        dropped.extend(asked.extract_if(.., |name| !names.contains(name)));
        state.wanted = names;
    }

    /// A new stream: nothing was asked on it, and nothing of the old one can be acknowledged.
    pub fn connected(&mut self) {
        self.types.values_mut().for_each(|state| state.stream = StreamState::default());
    }

    /// Takes note of a response; it is answered by the next request of its type.
    pub fn received(&mut self, kind: ResourceType, response: Response) {
        let state = self.types.entry(kind).or_default();
        for (name, version) in response.accepted {
            // What was unsubscribed meanwhile comes too late to be held.
            if state.wanted.contains(&name) {
                state.held.insert(name, version);
            }
        }
        for name in &response.removed {
            state.held.remove(name);
        }
        let error = (!response.rejected.is_empty()).then(|| reasons(&response.rejected));
        state.stream.answers.push_back((response.nonce, error));
    }

    /// Whether the name is wanted.
    pub fn wants(&self, kind: ResourceType, name: &str) -> bool {
        self.types.get(&kind).is_some_and(|state| state.wanted.contains(name))
    }

    /// The version held of a resource.
    pub fn held(&self, kind: ResourceType, name: &str) -> Option<&Arc<str>> {
        self.types.get(&kind)?.held.get(name)
    }

    /// The next request that is due, until there is none.
    pub fn next_request(&mut self) -> Option<Request> {
        self.types.iter_mut().find_map(|(kind, state)| state.next_request(*kind))
    }
}

impl TypeState {
    fn next_request(&mut self, kind: ResourceType) -> Option<Request> {
        let subscribe: Vec<_> = self.wanted.difference(&self.stream.asked).cloned().collect();
        let unsubscribe: Vec<_> = std::mem::take(&mut self.stream.dropped)
            .into_iter()
            .filter(|name| !self.wanted.contains(name))
            .collect();
        let answer = self.stream.answers.pop_front();
        // A first request without names would mean "everything" to a server, so a type is not begun before it has one.
        if subscribe.is_empty() && unsubscribe.is_empty() && answer.is_none() {
            return None;
        }
        let initial_versions = if self.stream.begun { BTreeMap::new() } else { self.held.clone() };
        self.stream.begun = true;
        self.stream.asked.clone_from(&self.wanted);
        let (nonce, error) = answer.map_or((None, None), |(nonce, error)| (Some(nonce), error));
        Some(Request { kind, subscribe, unsubscribe, initial_versions, nonce, error })
    }
}

/// The reasons of a NACK, one after the other, cut at a limit that no header or log line suffers from.
fn reasons(rejected: &[InvalidResource]) -> String {
    let mut text = String::new();
    for (number, invalid) in rejected.iter().enumerate() {
        let reason = invalid.to_string();
        if text.len() + reason.len() + 32 > NACK_BYTES_MAX {
            let cut: String =
                reason.chars().take((NACK_BYTES_MAX - 64).saturating_sub(text.len()) / 4).collect();
            text.push_str(&cut);
            text.push_str(&format!("… ({} more)", rejected.len() - number - 1));
            break;
        }
        if number > 0 {
            text.push_str("; ");
        }
        text.push_str(&reason);
    }
    text
}

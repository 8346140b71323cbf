//! Who subscribes to what: from a resource to the streams that must hear of its change.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mesh_core::resource::ResourceType;

/// Names one stream among all.
pub(super) type StreamId = u64;

/// Resource → subscribers.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<ResourceType, HashMap<Arc<str>, BTreeSet<StreamId>>>);

impl Index {
    pub(super) fn insert(&mut self, kind: ResourceType, name: &Arc<str>, stream: StreamId) {
        self.0.entry(kind).or_default().entry(name.clone()).or_default().insert(stream);
    }

    /// True if nobody subscribes to the resource any more.
    pub(super) fn remove(&mut self, kind: ResourceType, name: &str, stream: StreamId) -> bool {
        let Some(by_name) = self.0.get_mut(&kind) else { return true };
        let Some(streams) = by_name.get_mut(name) else { return true };
        streams.remove(&stream);
        if streams.is_empty() {
            by_name.remove(name);
            return true;
        }
        false
    }

    /// Every resource that is subscribed to and that `touched` picks, with its subscribers.
    pub(super) fn touched(
        &self,
        touched: impl Fn(ResourceType, &str) -> bool,
    ) -> impl Iterator<Item = (ResourceType, &Arc<str>, &BTreeSet<StreamId>)> {
        let all = self
            .0
            .iter()
            .flat_map(|(kind, by_name)| by_name.iter().map(|(name, streams)| (*kind, name, streams)));
        all.filter(move |(kind, name, _)| touched(*kind, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_subscriber_takes_the_resource_along() {
        let mut index = Index::default();
        let (kind, name) = (ResourceType::Cluster, Arc::from("a"));
        index.insert(kind, &name, 1);
        index.insert(kind, &name, 2);
        assert!(!index.remove(kind, "a", 1));
        assert_eq!(index.touched(|_, _| true).count(), 1);
        assert!(index.remove(kind, "a", 2));
        assert_eq!(index.touched(|_, _| true).count(), 0);
    }
}

//! The configuration of a mesh whose control plane is in the same process: what the ADS stream says, without a stream.
//!
//! Both ends are those that otherwise sit at the ends of the wire. What is wanted is subscribed to, answers are encoded
//! messages, which are parsed, and acknowledged or refused by name; but all of it happens within one call, so that whoever changes
//! the configuration knows when it is here.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::ads::{Config, View};
use crate::resource::ResourceType;
use crate::subscription::{Encoding, Found, ServerStream, wire};

/// Keeps a mesh made by hand current; made by [`Publisher::stream`](super::Publisher::stream).
#[derive(Debug)]
pub struct LocalStream {
    view: Arc<View>,
    config: Config,
    server: ServerStream,
}

impl LocalStream {
    pub(super) fn new(view: Arc<View>) -> Self {
        Self { view, config: Config::default(), server: ServerStream::new(Encoding::Delta, usize::MAX) }
    }

    /// Any resource may be another one now; the next [`exchange`](Self::exchange) looks them up again.
    pub fn everything_changed(&mut self) {
        self.server.everything_changed();
    }

    /// Subscribes to what the mesh wants, asks `look_up` for each resource that it comes to, as it is now, and publishes what
    /// they make together.
    pub fn exchange(&mut self, mut look_up: impl FnMut(ResourceType, &Arc<str>) -> Option<Found<Bytes>>) {
        let hosts: BTreeSet<_> = self.view.demand.hosts().into_iter().collect();
        let inbound: BTreeSet<_> = self.view.demand.inbound().into_iter().collect();
        let mut snapshot = self.config.want(hosts, inbound);
        loop {
            while let Some(request) = self.config.next_request() {
                // More names than there can be would be refused.
                let _ = self.server.delta_request(request);
            }
            let Some(due) = self.server.due() else { break };
            let found = due.names.into_iter().map(|name| {
                let found = look_up(due.kind, &name);
                (name, found)
            });
            if let Some(answer) = self.server.answer(due.kind, found.collect()) {
                snapshot = self.config.received(wire::encode_delta_answer(answer)).or(snapshot);
            }
        }
        for name in self.config.names().into_keys() {
            let reason = format!("{name}: a test mesh looks no names up").into();
            snapshot = self.config.resolved(name, Err(reason)).or(snapshot);
        }
        self.view.take(&self.config, snapshot);
    }

    /// The resources that the mesh refuses, each with the field and the reason; it goes on with those before them.
    pub fn refused(&self) -> Vec<String> {
        self.config.refused()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::ads::tests::{endpoints, host, named_host};
    use crate::canonical::HostPort;
    use crate::mesh::{Mesh, Parts};
    use crate::snapshot::HostState;

    type Resources = BTreeMap<(ResourceType, String), Found<Bytes>>;

    fn set(
        resources: &mut Resources,
        all: impl IntoIterator<Item = (ResourceType, String, String, Vec<u8>)>,
    ) {
        for (kind, name, version, body) in all {
            resources.insert((kind, name), Found { version: version.into(), body: body.into() });
        }
    }

    fn ports(mesh: &Mesh) -> Vec<u16> {
        let snapshot = mesh.snapshot();
        let Some(HostState::Ready(config)) = snapshot.hosts.get("a:80") else { return Vec::new() };
        let endpoints = config.clusters.iter().flatten().flat_map(|cluster| cluster.endpoints.iter());
        endpoints.map(|endpoint| endpoint.spec.address.port()).collect()
    }

    #[tokio::test]
    async fn what_is_wanted_is_there_when_the_exchange_ends_and_what_is_bad_is_refused_by_name() {
        let (mesh, publisher) = Mesh::from_parts(Parts::default());
        let mut stream = publisher.stream();
        let mut resources = Resources::new();
        set(&mut resources, host("a", 1));
        let look_up = |resources: &Resources| {
            let resources = resources.clone();
            move |kind, name: &Arc<str>| resources.get(&(kind, name.to_string())).cloned()
        };
        let call = |name: &str| {
            let (mesh, host) = (mesh.clone(), HostPort::parse(name, 80).unwrap());
            tokio::spawn(async move { mesh.resolve(&host, Duration::from_secs(20)).await.unwrap() })
        };
        for (name, ready) in [("a", true), ("nowhere", false)] {
            let call = call(name);
            publisher.wanted().await;
            stream.exchange(look_up(&resources));
            assert_eq!(matches!(call.await.unwrap(), HostState::Ready(_)), ready, "{name}");
        }
        set(&mut resources, [endpoints("a", 2)]);
        stream.exchange(look_up(&resources));
        assert_eq!(ports(&mesh), [1], "nobody said that anything changed");
        stream.everything_changed();
        stream.exchange(look_up(&resources));
        assert_eq!(ports(&mesh), [2]);

        set(&mut resources, [endpoints("a", 0)]);
        stream.everything_changed();
        stream.exchange(look_up(&resources));
        assert_eq!(ports(&mesh), [2], "the last good one stays");
        let refused = stream.refused();
        assert!(refused.len() == 1 && refused[0].starts_with("endpoints `a`: "), "{refused:?}");
    }

    #[tokio::test]
    async fn a_name_leads_nowhere_in_a_test_and_says_so() {
        let (mesh, publisher) = Mesh::from_parts(Parts::default());
        let mut stream = publisher.stream();
        let mut resources = Resources::new();
        set(&mut resources, named_host("a", "api.example"));
        let call = tokio::spawn({
            let (mesh, host) = (mesh.clone(), HostPort::parse("a", 80).unwrap());
            async move { mesh.resolve(&host, Duration::from_secs(20)).await.unwrap() }
        });
        publisher.wanted().await;
        stream.exchange(|kind, name| resources.get(&(kind, name.to_string())).cloned());
        let HostState::Ready(config) = call.await.unwrap() else { panic!("known") };
        let unresolved = config.clusters[0].as_ref().unwrap().unresolved.clone();
        assert!(unresolved.is_some_and(|reason| reason.starts_with("api.example: ")));
    }
}

//! The choices of a split as the answer lists them: who serves each, how it is spoken to, and whether it takes anything.

use http::StatusCode;
use mesh_core::resource::{
    BalancerPolicy, EndpointSource, EndpointSpec, Health, ServerVerification, UpstreamTls as WireTls,
};
use mesh_core::route::{HashTableKind, Split, WeightedDestination};
use mesh_core::snapshot::Cluster;
use mesh_core::status::Fault;

use super::hash::Hashing;
use super::outbound::owned;
use super::{Decision, Destination, DocumentAt, EndpointSeen, UpstreamTls};
use crate::model::{address_of_name, is_untold};
use crate::translate::name::{ClusterName, FORBIDDEN};

/// Lists a split's choices, and takes the one that is followed further: the sure one, else the first that takes requests.
pub(super) fn sample<'s, 'c>(
    split: &'s Split,
    cluster: impl Fn(&WeightedDestination) -> Option<&'c Cluster>,
    no_cluster: StatusCode,
    hashing: &Hashing<'_>,
    decision: &mut Decision,
) -> &'s WeightedDestination {
    let destinations = &split.destinations;
    let total: u64 = destinations.iter().map(|one| u64::from(one.weight)).sum();
    decision.destinations =
        destinations.iter().map(|one| destination(one, cluster(one), total, hashing)).collect();
    if let Some(chosen) = decision.chosen {
        return &destinations[chosen];
    }
    let usable = |one: &WeightedDestination| fault_of(cluster(one), no_cluster).is_none();
    let drawn = || destinations.iter().filter(|one| one.weight > 0);
    let lost = drawn().filter(|one| !usable(one));
    decision.warnings.extend(lost.map(|one| format!("{} takes no requests", one.cluster)));
    drawn().find(|one| usable(one)).or_else(|| drawn().next()).unwrap_or(&destinations[0])
}

/// Why a destination would answer nothing.
pub(super) fn fault_of(cluster: Option<&Cluster>, no_cluster: StatusCode) -> Option<Fault> {
    let Some(cluster) = cluster else { return Some(Fault::NoCluster(no_cluster)) };
    let healthy = cluster.endpoints.iter().any(|endpoint| endpoint.spec.health == Health::Healthy);
    (!healthy).then_some(Fault::NoHealthyEndpoint)
}

fn destination(
    one: &WeightedDestination,
    cluster: Option<&Cluster>,
    total: u64,
    hashing: &Hashing<'_>,
) -> Destination {
    let name = ClusterName::parse(&one.cluster);
    let named = Destination {
        host: name.map_or(&*one.cluster, |name| name.host).to_owned(),
        subset: name
            .map(|name| name.subset)
            .filter(|subset| !subset.is_empty() && *subset != FORBIDDEN)
            .map(str::to_owned),
        port: name.map_or(0, |name| name.port),
        weight: one.weight,
        odds: if total == 0 { 1.0 } else { f64::from(one.weight) / total as f64 },
        ..Destination::default()
    };
    let Some(cluster) = cluster else { return named };
    let Cluster { spec, endpoints, .. } = cluster;
    let all_plaintext = !endpoints.is_empty() && endpoints.iter().all(|endpoint| !endpoint.spec.mesh_mtls);
    let (upstream_tls, identities) = match &spec.tls {
        WireTls::MeshMtls { identities, .. } if !all_plaintext => {
            (UpstreamTls::MeshMtls, identities.to_vec())
        }
        WireTls::Outside(tls) => {
            let kind = if tls.certificate.is_some() { UpstreamTls::MutualTls } else { UpstreamTls::Tls };
            let names = match &tls.verification {
                ServerVerification::Named { names, .. } => {
                    names.iter().map(|name| name.to_string().into()).collect()
                }
                ServerVerification::Skipped => Vec::new(),
            };
            (kind, names)
        }
        WireTls::MeshMtls { .. } | WireTls::Plaintext => (UpstreamTls::Plaintext, Vec::new()),
    };
    let balancer = match &spec.balancer {
        BalancerPolicy::LeastRequest => "least_request",
        BalancerPolicy::RoundRobin => "round_robin",
        BalancerPolicy::Random => "random",
        BalancerPolicy::Hash(policy) => match policy.table {
            HashTableKind::Ring { .. } => "ring_hash",
            HashTableKind::Maglev { .. } => "maglev",
        },
    };
    let rules = spec
        .destination_rules
        .iter()
        .map(|rule| DocumentAt { document: owned(&rule.document), at: owned(&rule.at) });
    let seen = endpoints.iter().map(|endpoint| EndpointSeen {
        address: told(&spec.endpoints, &endpoint.spec),
        workload: owned(&endpoint.spec.workload),
        locality: owned(&endpoint.spec.locality),
        priority: endpoint.spec.priority,
        weight: endpoint.spec.weight,
        locality_weight: spec.localities_weighted.then_some(endpoint.spec.locality_weight),
        healthy: endpoint.spec.health == Health::Healthy,
    });
    Destination {
        destination_rule: rules.collect(),
        endpoints: seen.collect(),
        load_balancer: Some(balancer.to_owned()),
        hash: cluster.hash_policy().map(|policy| hashing.seen(policy)),
        upstream_tls: Some(upstream_tls),
        server_identities: identities
            .iter()
            .map(|id| id.trim_start_matches("spiffe://").to_owned())
            .collect(),
        ..named
    }
}

/// An endpoint's address, or the name that leads to it; none where no document tells either.
fn told(source: &EndpointSource, endpoint: &EndpointSpec) -> Option<String> {
    let address = endpoint.address;
    let targets = match source {
        EndpointSource::Dns(dns) => &*dns.targets,
        EndpointSource::ControlPlane(_) => &[],
    };
    let mut names = targets.iter().map(|target| &target.host);
    let name = names.find(|name| address_of_name(name, address.port()) == address);
    let named = name.map(|name| format!("{name}:{}", address.port()));
    named.or_else(|| (!is_untold(address)).then(|| endpoint.to_string()))
}

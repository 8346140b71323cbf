use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::authz::Policy;
use crate::canonical::PathNormalization;
use crate::context::PROPAGATED_BY_DEFAULT;
use crate::resource::{
    BLOCK_ALL, BalancerPolicy, ConnectionPool, DnsAddresses, DnsEndpoints, DnsTarget, EndpointSpec,
    EndpointsSpec, Health, MtlsMode, OpaqueSpec, Provenance, RequestSpec, Takes, UpstreamProtocol,
    UpstreamTls,
};
use crate::route::RouteTable;

fn listener(host: &str, routes: &str) -> Update {
    Update::Here(Resource::Outbound(Arc::new(OutboundListener {
        name: host.into(),
        host: None,
        takes: Takes::Requests(requests(routes)),
    })))
}

fn requests(routes: &str) -> RequestSpec {
    RequestSpec { route_configuration: routes.into(), path_normalization: PathNormalization::Base }
}

/// A listener that takes connections to these clusters, and requests too where routes are named.
fn opaque(host: &str, clusters: &[&str], routes: Option<&str>) -> Update {
    let clusters = clusters.iter().map(|name| Arc::from(*name)).collect();
    let connections = Arc::new(OpaqueSpec { table: Arc::default(), clusters });
    let takes = match routes {
        Some(routes) => Takes::Both(requests(routes), connections),
        None => Takes::Connections(connections),
    };
    let listener = OutboundListener { name: host.into(), host: Some("full".into()), takes };
    Update::Here(Resource::Outbound(Arc::new(listener)))
}

fn routes(name: &str, clusters: &[&str]) -> Update {
    Update::Here(Resource::RouteConfiguration(Arc::new(RouteSpec {
        name: name.into(),
        host: name.into(),
        routes: Arc::new(RouteTable::default()),
        clusters: clusters.iter().map(|name| Arc::from(*name)).collect(),
    })))
}

fn cluster(name: &str) -> Update {
    cluster_with(name, BalancerPolicy::RoundRobin)
}

fn cluster_with(name: &str, balancer: BalancerPolicy) -> Update {
    Update::Here(Resource::Cluster(Arc::new(ClusterSpec {
        name: name.into(),
        host: name.into(),
        port: 80,
        subset: None,
        endpoints: EndpointSource::ControlPlane(name.into()),
        tls: UpstreamTls::Plaintext,
        plaintext_endpoints: false,
        protocol: UpstreamProtocol::Http1,
        balancer,
        outlier_detection: None,
        panic_threshold_percent: None,
        localities_weighted: false,
        health_check: None,
        connection_pool: ConnectionPool::default(),
        destination_rules: Vec::new(),
    })))
}

fn endpoints(cluster: &str, ports: &[u16]) -> Update {
    let endpoint = |port: &u16| EndpointSpec {
        address: SocketAddr::from(([10, 0, 0, 1], *port)),
        pipe: None,
        workload: None,
        locality: None,
        locality_weight: 1,
        priority: 0,
        weight: 1,
        health: Health::Healthy,
        mesh_mtls: false,
    };
    let endpoints = ports.iter().map(endpoint).collect();
    Update::Here(Resource::Endpoints(Arc::new(EndpointsSpec { name: cluster.into(), endpoints })))
}

fn absent(resource_type: ResourceType, name: &str) -> Update {
    Update::Absent(resource_type, name.into())
}

fn wanting(hosts: &[&str]) -> Closures {
    let mut closures = Closures::default();
    closures.want(hosts.iter().map(|host| Arc::from(*host)), []);
    closures
}

/// Closures in which every host is published: `a:80` with clusters `a1` and `a2`, `b:80` with `b1` and `a1`.
fn published() -> (Closures, Snapshot) {
    let mut closures = wanting(&["a:80", "b:80"]);
    let all = [
        listener("a:80", "ra"),
        listener("b:80", "rb"),
        routes("ra", &["a1", "a2"]),
        routes("rb", &["b1", "a1"]),
        cluster("a1"),
        cluster("a2"),
        cluster("b1"),
        endpoints("a1", &[1]),
        endpoints("a2", &[2]),
        endpoints("b1", &[3]),
    ];
    let snapshot = closures.apply(all).expect("all is here");
    (closures, snapshot)
}

fn config(snapshot: &Snapshot, host: &str) -> Arc<HostConfig> {
    match snapshot.hosts.get(host) {
        Some(HostState::Ready(config)) => Arc::clone(config),
        other => panic!("{host} is {other:?}"),
    }
}

fn ports(config: &HostConfig) -> Vec<Option<Vec<u16>>> {
    let ports = |cluster: &Arc<Cluster>| {
        cluster.endpoints.iter().map(|endpoint| endpoint.spec.address.port()).collect()
    };
    config.clusters.iter().map(|cluster| cluster.as_ref().map(ports)).collect()
}

fn names(list: &[&str]) -> BTreeSet<Arc<str>> {
    list.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn a_host_is_published_when_its_last_piece_is_here() {
    let mut closures = wanting(&["a:80"]);
    let pieces = [
        (listener("a:80", "ra"), "listener `a:80`"),
        (routes("ra", &["a1"]), "route configuration `ra`"),
        (cluster("a1"), "cluster `a1`"),
    ];
    for (piece, missing) in pieces {
        assert_eq!(closures.missing("a:80"), [missing]);
        assert!(closures.apply([piece]).is_none(), "published without {missing}");
    }
    assert_eq!(closures.missing("a:80"), ["endpoints `a1`"]);
    let snapshot = closures.apply([endpoints("a1", &[1])]).expect("published");
    assert_eq!(ports(&config(&snapshot, "a:80")), [Some(vec![1])]);
    assert!(closures.missing("a:80").is_empty());
}

#[test]
fn names_are_wanted_step_by_step() {
    let mut closures = wanting(&["a:80"]);
    let check = |closures: &Closures, expected: [&[&str]; 4]| {
        let order = [
            ResourceType::Listener,
            ResourceType::RouteConfiguration,
            ResourceType::Cluster,
            ResourceType::Endpoints,
        ];
        assert_eq!(order.map(|kind| closures.subscriptions(kind)), expected.map(names));
    };
    check(&closures, [&["a:80"], &[], &[], &[]]);
    closures.apply([listener("a:80", "ra")]);
    check(&closures, [&["a:80"], &["ra"], &[], &[]]);
    closures.apply([routes("ra", &["a1", "a2"])]);
    check(&closures, [&["a:80"], &["ra"], &["a1", "a2"], &[]]);
    closures.apply([cluster("a1")]);
    check(&closures, [&["a:80"], &["ra"], &["a1", "a2"], &["a1"]]);
}

#[test]
fn a_host_that_never_completes_holds_up_no_other() {
    let mut closures = wanting(&["a:80", "b:80"]);
    closures.apply([listener("b:80", "rb"), routes("rb", &["b1"]), cluster("b1")]);
    let complete = [listener("a:80", "ra"), routes("ra", &["a1"]), cluster("a1"), endpoints("a1", &[1])];
    let snapshot = closures.apply(complete).expect("a is whole");
    assert_eq!(ports(&config(&snapshot, "a:80")), [Some(vec![1])]);
    assert!(!snapshot.hosts.contains_key("b:80"));
    assert_eq!(closures.missing("b:80"), ["endpoints `b1`"]);
}

#[test]
fn an_endpoint_change_rebuilds_its_cluster_only() {
    let (mut closures, before) = published();
    let after = closures.apply([endpoints("a2", &[2, 22])]).expect("changed");
    let (one, other) = (config(&before, "a:80"), config(&after, "a:80"));
    let routes = |config: &HostConfig| Arc::clone(config.routes.as_ref().expect("takes requests"));
    assert!(Arc::ptr_eq(&routes(&one), &routes(&other)));
    let cluster = |config: &HostConfig, at: usize| Arc::clone(config.clusters[at].as_ref().expect("there"));
    assert!(Arc::ptr_eq(&cluster(&one, 0), &cluster(&other, 0)));
    assert!(!Arc::ptr_eq(&cluster(&one, 1), &cluster(&other, 1)));
    let state = |config: &HostConfig| Arc::clone(&cluster(config, 1).endpoints[0].state);
    assert!(Arc::ptr_eq(&state(&one), &state(&other)), "the endpoint that stays keeps its state");
    assert!(Arc::ptr_eq(&config(&before, "b:80"), &config(&after, "b:80")), "the other host is untouched");
}

#[test]
fn hosts_share_their_clusters() {
    let (mut closures, before) = published();
    let shared = |snapshot: &Snapshot| {
        let of =
            |host: &str, at: usize| Arc::clone(config(snapshot, host).clusters[at].as_ref().expect("there"));
        Arc::ptr_eq(&of("a:80", 0), &of("b:80", 1))
    };
    assert!(shared(&before));
    let after = closures.apply([endpoints("a1", &[7])]).expect("changed");
    assert!(shared(&after));
    assert_eq!(ports(&config(&after, "b:80")), [Some(vec![3]), Some(vec![7])]);
}

#[test]
fn what_says_nothing_new_publishes_nothing() {
    let (mut closures, _) = published();
    assert!(closures.apply([cluster("a1"), endpoints("a1", &[1]), listener("a:80", "ra")]).is_none());
    assert!(closures.want([Arc::from("a:80"), Arc::from("b:80")], []).is_none());
}

#[test]
fn a_published_host_keeps_its_closure_until_the_next_is_whole() {
    let (mut closures, _) = published();
    assert!(closures.apply([routes("ra", &["a1", "a3"])]).is_none());
    assert_eq!(closures.missing("a:80"), ["cluster `a3`"]);
    assert!(closures.subscriptions(ResourceType::Cluster).contains("a2"), "the old routes still need it");
    let meanwhile = closures.apply([endpoints("a2", &[20])]).expect("old clusters go on changing");
    assert_eq!(ports(&config(&meanwhile, "a:80")), [Some(vec![1]), Some(vec![20])]);
    assert!(closures.apply([cluster("a3")]).is_none());
    let after = closures.apply([endpoints("a3", &[30])]).expect("whole");
    assert_eq!(ports(&config(&after, "a:80")), [Some(vec![1]), Some(vec![30])]);
    assert!(!closures.subscriptions(ResourceType::Cluster).contains("a2"));
}

#[test]
fn a_changed_cluster_keeps_its_endpoints() {
    let (mut closures, _) = published();
    let after = closures.apply([cluster_with("a1", BalancerPolicy::Random)]).expect("changed");
    let cluster = Arc::clone(config(&after, "a:80").clusters[0].as_ref().expect("there"));
    assert_eq!((&cluster.spec.balancer, cluster.endpoints.len()), (&BalancerPolicy::Random, 1));
}

#[test]
fn what_is_known_absent_is_waited_for_no_longer() {
    let mut closures = wanting(&["a:80", "b:80", "c:80"]);
    let said = [
        absent(ResourceType::Listener, "a:80"),
        listener("b:80", "rb"),
        absent(ResourceType::RouteConfiguration, "rb"),
        listener("c:80", "rc"),
        routes("rc", &["c1", "c2"]),
        absent(ResourceType::Cluster, "c1"),
        cluster("c2"),
        absent(ResourceType::Endpoints, "c2"),
    ];
    let snapshot = closures.apply(said).expect("all is known");
    assert!(matches!(snapshot.hosts["a:80"], HostState::Absent));
    assert!(config(&snapshot, "b:80").routes.as_ref().expect("takes requests").routes().is_empty());
    assert_eq!(ports(&config(&snapshot, "c:80")), [None, Some(vec![])]);
    for host in ["a:80", "b:80", "c:80"] {
        assert!(closures.missing(host).is_empty(), "{host}");
    }
    let again = closures.apply([cluster("c1")]);
    assert!(again.is_none(), "a cluster that begins to exist waits for its endpoints");
    let whole = closures.apply([endpoints("c1", &[1])]).expect("changed");
    assert_eq!(ports(&config(&whole, "c:80")), [Some(vec![1]), Some(vec![])]);
}

#[test]
fn a_host_outside_a_mesh_that_lets_nothing_out_is_refused() {
    let mut closures = wanting(&["a:80"]);
    let snapshot = closures.apply([listener("a:80", BLOCK_ALL)]).expect("all is known");
    assert!(matches!(snapshot.hosts["a:80"], HostState::Refused));
    assert!(closures.missing("a:80").is_empty());
    assert!(closures.subscriptions(ResourceType::RouteConfiguration).is_empty());
    let opened = closures.apply([absent(ResourceType::Listener, "a:80")]).expect("changed");
    assert!(matches!(opened.hosts["a:80"], HostState::Absent));
}

#[test]
fn a_host_that_ceases_to_exist_is_absent() {
    let (mut closures, _) = published();
    let after = closures.apply([absent(ResourceType::Listener, "a:80")]).expect("changed");
    assert!(matches!(after.hosts["a:80"], HostState::Absent));
    assert!(matches!(after.hosts["b:80"], HostState::Ready(_)));
    assert!(!closures.subscriptions(ResourceType::Cluster).contains("a2"));
    let back = [listener("a:80", "ra"), routes("ra", &["a1", "a2"]), cluster("a2"), endpoints("a2", &[2])];
    let back = closures.apply(back).expect("changed");
    assert_eq!(ports(&config(&back, "a:80")), [Some(vec![1]), Some(vec![2])]);
}

#[test]
fn a_host_nobody_wants_is_forgotten_with_all_that_only_it_needed() {
    let (mut closures, _) = published();
    let after = closures.want([Arc::from("b:80")], []).expect("changed");
    assert!(!after.hosts.contains_key("a:80"));
    assert_eq!(closures.subscriptions(ResourceType::Endpoints), names(&["a1", "b1"]));
    closures.want([Arc::from("a:80"), Arc::from("b:80")], []);
    assert_eq!(closures.missing("a:80"), ["listener `a:80`"], "what was known is not believed again");
}

#[test]
fn an_inbound_listener_is_there_while_it_is_wanted_and_exists() {
    let name: Arc<str> = "inbound/10.0.0.1:80".into();
    let inbound = InboundListener {
        name: Arc::clone(&name),
        workload: None,
        mtls_mode: MtlsMode::Strict,
        mtls_provenance: Provenance::default(),
        path_normalization: PathNormalization::Base,
        propagated_headers: PROPAGATED_BY_DEFAULT.clone().into(),
        policy: Policy::default(),
    };
    let here = || [Update::Here(Resource::Inbound(Arc::new(inbound.clone())))];
    let mut closures = Closures::default();
    assert!(closures.apply(here()).is_some_and(|snapshot| snapshot.inbound.is_empty()), "nobody wants it");
    closures.want([], [Arc::clone(&name)]);
    assert_eq!(closures.subscriptions(ResourceType::Listener), names(&[&name]));
    assert!(closures.apply(here()).expect("changed").inbound.contains_key(&name));
    let gone = closures.apply([absent(ResourceType::Listener, &name)]).expect("changed");
    assert!(gone.inbound.is_empty());
    closures.apply(here());
    assert!(closures.want([], []).expect("changed").inbound.is_empty());
}

fn opaque_ports(config: &HostConfig) -> Option<Vec<Vec<u16>>> {
    let ports = |cluster: &Option<Arc<Cluster>>| {
        let endpoints = cluster.iter().flat_map(|cluster| &cluster.endpoints);
        endpoints.map(|endpoint| endpoint.spec.address.port()).collect()
    };
    config.opaque.as_ref().map(|opaque| opaque.clusters.iter().map(ports).collect())
}

#[test]
fn a_listener_for_connections_names_its_clusters_itself() {
    let mut closures = wanting(&["a:80"]);
    assert!(closures.apply([opaque("a:80", &["a1", "a2"], None)]).is_none());
    assert_eq!(closures.missing("a:80"), ["cluster `a1`", "cluster `a2`"]);
    assert!(closures.subscriptions(ResourceType::RouteConfiguration).is_empty());
    let pieces = [cluster("a1"), endpoints("a1", &[1]), absent(ResourceType::Cluster, "a2")];
    let config = config(&closures.apply(pieces).expect("whole"), "a:80");
    assert_eq!((&*config.host, opaque_ports(&config)), ("full", Some(vec![vec![1], vec![]])));
    assert!(config.routes.is_none());
}

#[test]
fn a_listener_for_both_waits_for_both() {
    let mut closures = wanting(&["a:80"]);
    let first = [opaque("a:80", &["a1"], Some("ra")), cluster("a1"), endpoints("a1", &[1])];
    assert!(closures.apply(first).is_none());
    assert_eq!(closures.missing("a:80"), ["route configuration `ra`"]);
    assert!(closures.apply([routes("ra", &["a2"]), cluster("a2")]).is_none());
    let config = config(&closures.apply([endpoints("a2", &[2])]).expect("whole"), "a:80");
    assert_eq!((ports(&config), opaque_ports(&config)), (vec![Some(vec![2])], Some(vec![vec![1]])));
}

#[test]
fn a_host_that_becomes_opaque_takes_requests_until_the_new_rules_are_whole() {
    let (mut closures, before) = published();
    assert!(closures.apply([opaque("a:80", &["a3"], None), cluster("a3")]).is_none());
    let meanwhile = closures.apply([endpoints("a2", &[20])]).expect("old clusters go on changing");
    assert_eq!(ports(&config(&meanwhile, "a:80")), [Some(vec![1]), Some(vec![20])]);
    let after = closures.apply([endpoints("a3", &[30])]).expect("whole");
    let config_now = config(&after, "a:80");
    assert!(config_now.routes.is_none());
    assert_eq!(opaque_ports(&config_now), Some(vec![vec![30]]));
    assert!(config(&before, "a:80").routes.is_some(), "who has begun goes on by the rules it read");
    assert!(!closures.subscriptions(ResourceType::Cluster).contains("a2"));
}

/// A cluster whose endpoints are names.
fn named_cluster(name: &str, addresses: DnsAddresses, hosts: &[&str]) -> Update {
    let Update::Here(Resource::Cluster(cluster)) = cluster(name) else { panic!("a cluster") };
    let Update::Here(Resource::Endpoints(one)) = endpoints(name, &[7]) else { panic!("endpoints") };
    let target = |host: &&str| DnsTarget { host: (*host).into(), endpoint: one.endpoints[0].clone() };
    let targets = hosts.iter().map(target).collect();
    let dns = DnsEndpoints { addresses, refresh: Duration::from_secs(60), targets };
    let endpoints = EndpointSource::Dns(dns.into());
    Update::Here(Resource::Cluster(Arc::new(ClusterSpec { endpoints, ..ClusterSpec::clone(&cluster) })))
}

fn resolved(name: &str, last_octets: &[u8]) -> Update {
    Update::Resolved(
        name.into(),
        Ok(last_octets.iter().map(|octet| IpAddr::from([10, 0, 0, *octet])).collect()),
    )
}

fn addresses(snapshot: &Snapshot) -> Vec<String> {
    let config = config(snapshot, "a:80");
    let cluster = config.clusters[0].as_ref().expect("a cluster");
    cluster.endpoints.iter().map(|endpoint| endpoint.spec.address.to_string()).collect()
}

#[test]
fn a_host_of_names_is_published_once_each_has_an_answer() {
    let mut closures = wanting(&["a:80"]);
    let hosts = ["one.example", "10.0.0.9", "two.example"];
    let all = [listener("a:80", "ra"), routes("ra", &["a1"]), named_cluster("a1", DnsAddresses::All, &hosts)];
    assert!(closures.apply(all).is_none());
    assert_eq!(closures.subscriptions(ResourceType::Endpoints), names(&[]), "nobody else is asked");
    assert_eq!(closures.names().into_keys().collect::<BTreeSet<_>>(), names(&["one.example", "two.example"]));
    assert!(closures.apply([resolved("one.example", &[2, 1])]).is_none());
    assert_eq!(closures.missing("a:80"), ["address of `two.example`"]);
    let snapshot = closures.apply([resolved("two.example", &[2])]).expect("all is known");
    assert_eq!(addresses(&snapshot), ["10.0.0.1:7", "10.0.0.2:7", "10.0.0.9:7"]);
    assert!(closures.apply([resolved("one.example", &[1, 2])]).is_none(), "another order is no change");
    let snapshot = closures.apply([resolved("one.example", &[1])]).expect("an address has gone");
    assert_eq!(addresses(&snapshot), ["10.0.0.1:7", "10.0.0.9:7", "10.0.0.2:7"]);
    closures.want([], []);
    assert!(closures.names().is_empty());
}

#[test]
fn a_look_up_that_fails_takes_nothing_away_and_at_first_says_why() {
    let mut closures = wanting(&["a:80"]);
    let cluster = named_cluster("a1", DnsAddresses::First, &["one.example"]);
    closures.apply([listener("a:80", "ra"), routes("ra", &["a1"]), cluster]);
    let failed = || Update::Resolved("one.example".into(), Err("one.example: unknown".into()));
    let snapshot = closures.apply([failed()]).expect("known to be nowhere");
    let config = config(&snapshot, "a:80");
    let cluster = config.clusters[0].as_ref().expect("a cluster");
    assert_eq!((cluster.endpoints.len(), cluster.unresolved.as_deref()), (0, Some("one.example: unknown")));
    let snapshot = closures.apply([resolved("one.example", &[3, 1])]).expect("found");
    assert_eq!(addresses(&snapshot), ["10.0.0.3:7"], "the first is the endpoint");
    assert!(closures.apply([failed()]).is_none(), "what was found last goes on");
}

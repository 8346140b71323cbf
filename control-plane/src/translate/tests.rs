//! Translation as a whole: documents in, messages out.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::config::route::v3::route as route_v3;
use prost::Message;

use super::*;
use crate::document::{DocumentSet, Source};
use crate::model::{Binding, Config, Fleet, GrantedService, Listening, Workload};
use http::StatusCode;
use mesh_core::resource::{self, Consecutive, EndpointSource, Health, OutlierDetection, Resource};

const HOST: &str = "reviews.default.svc.cluster.local";

fn reviews(version: &str, ip: [u8; 4]) -> Workload {
    let labels = [("app", "reviews"), ("version", version)];
    Workload {
        name: format!("reviews-{version}").into(),
        namespace: "default".into(),
        service_account: Some("bookinfo-reviews".into()),
        labels: Arc::new(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        listening: Listening::Registered(vec![Binding {
            host: HOST.into(),
            service_port: 9080,
            workload_port: 41001,
            address: (ip, 41001).into(),
        }]),
        locality: None,
        weight: 1,
        health: Health::Healthy,
        in_mesh: true,
    }
}

fn world(documents: &str) -> World {
    let reading = DocumentSet::read(&[Source::file("documents.yaml", documents)]);
    let findings: Vec<_> = reading.reports.iter().flat_map(|report| &report.findings).collect();
    assert!(findings.is_empty(), "{findings:?}");
    let granted = GrantedService { host: HOST.into(), namespace: "default".into(), ports: vec![9080] };
    let fleet = Fleet::new(vec![reviews("v1", [10, 0, 0, 1]), reviews("v2", [10, 0, 0, 2])], vec![granted]);
    World::new(Arc::new(Config::new(&reading.documents)), fleet)
}

fn caller(namespace: &str) -> Caller {
    Caller { namespace: namespace.into(), ..Caller::default() }
}

fn decoded<M: Message + Default>(
    world: &World,
    caller: &Caller,
    kind: ResourceType,
    name: &str,
) -> Option<M> {
    let message = translate(world, caller, kind, name).message?;
    assert_eq!(message.type_url, kind.url());
    Some(M::decode(&*message.value).expect("what we encode can be decoded"))
}

#[test]
fn a_granted_service_needs_no_document() {
    let world = world("");
    let caller = caller("default");
    let listener: Option<Listener> = decoded(&world, &caller, ResourceType::Listener, "reviews:9080");
    let listener = listener.expect("listener");
    assert!(listener.api_listener.is_some() && listener.filter_chains.len() == 1, "either is taken");
    let routes = decoded(&world, &caller, ResourceType::RouteConfiguration, &format!("{HOST}:9080"));
    let routes: RouteConfiguration = routes.expect("routes");
    assert_eq!(routes.virtual_hosts[0].routes.len(), 1);
    let name = format!("outbound|9080||{HOST}");
    let cluster: Cluster = decoded(&world, &caller, ResourceType::Cluster, &name).expect("cluster");
    assert!(cluster.transport_socket.is_some(), "registered instances are spoken to in mTLS");
    let endpoints: ClusterLoadAssignment =
        decoded(&world, &caller, ResourceType::Endpoints, &name).expect("endpoints");
    assert_eq!(endpoints.endpoints[0].lb_endpoints.len(), 2);
}

#[test]
fn what_does_not_exist_has_no_message() {
    let world = world("");
    let check = |namespace: &str, kind, name: &str| {
        let translated = translate(&world, &caller(namespace), kind, name);
        assert!(translated.message.is_none(), "{kind} {name}");
    };
    check("other", ResourceType::Listener, "reviews:9080");
    check("default", ResourceType::Listener, "reviews:80");
    check("default", ResourceType::Listener, "reviews");
    check("default", ResourceType::RouteConfiguration, "reviews:9080");
    check("default", ResourceType::Cluster, &format!("outbound|9080|v1|{HOST}"));
    check("default", ResourceType::Endpoints, &format!("outbound|80||{HOST}"));
    check("default", ResourceType::Listener, "inbound/reviews:80");
}

#[test]
fn callers_share_what_does_not_depend_on_them() {
    let world = world("");
    let [web, db] = [caller("web"), caller("db")];
    let check = |kind, name: &str, shared: bool| {
        let translated = translate(&world, &web, kind, name);
        assert_eq!(web.key(translated.inputs) == db.key(translated.inputs), shared, "{kind} {name}");
    };
    check(ResourceType::Listener, &format!("{HOST}:9080"), true);
    check(ResourceType::Listener, "reviews:9080", false);
    check(ResourceType::Cluster, &format!("outbound|9080||{HOST}"), true);
    check(ResourceType::Endpoints, &format!("outbound|9080||{HOST}"), true);
    check(ResourceType::Listener, "inbound/10.0.0.1:80", false);
}

#[test]
fn labels_divide_callers_only_where_a_rule_selects_by_them() {
    let rule = |host: &str, more: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec: {{host: {host}, {more}subsets: [{{name: v1}}]}}\n"
        )
    };
    const SELECTOR: &str = "workloadSelector: {matchLabels: {app: web}}, ";
    let check = |namespace: &str, rule: &str, shared: bool| {
        let world = world(rule);
        let labelled = |app: &str| Caller {
            labels: Arc::new([("app".to_owned(), app.to_owned())].into()),
            ..caller(namespace)
        };
        let [web, db] = ["web", "db"].map(labelled);
        let translated = translate(&world, &web, ResourceType::Cluster, &format!("outbound|9080||{HOST}"));
        assert_eq!(web.key(translated.inputs) == db.key(translated.inputs), shared, "{namespace}: {rule}");
    };
    check("default", &rule("reviews", SELECTOR), false);
    check("default", &rule("reviews", ""), true);
    check("default", &rule("ratings", SELECTOR), true);
    check("other", &rule("reviews", SELECTOR), true);
}

#[test]
fn subsets_are_clusters_of_their_own_with_their_own_endpoints() {
    let world = world(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v2, labels: {version: v2}}
",
    );
    let name = format!("outbound|9080|v2|{HOST}");
    let endpoints: Option<ClusterLoadAssignment> =
        decoded(&world, &caller("web"), ResourceType::Endpoints, &name);
    assert_eq!(endpoints.expect("endpoints").endpoints[0].lb_endpoints.len(), 1);
}

#[test]
fn endpoints_that_are_names_stand_in_their_cluster() {
    let check = |spec: &str, kind: DiscoveryType, hosts: &[&str]| {
        let world = world(&format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: api}}\nspec: {{hosts: [api.example.com], ports: [{{number: 80, name: http}}], {spec}}}\n---\napiVersion: proxyless.mesh/v1alpha1\nkind: MeshSettings\nmetadata: {{name: a}}\nspec: {{dnsRefreshRate: 90s}}\n"
        ));
        let name = "outbound|80||api.example.com";
        let cluster: Cluster = decoded(&world, &caller("web"), ResourceType::Cluster, name).expect("cluster");
        assert_eq!(cluster.cluster_discovery_type, Some(ClusterDiscoveryType::Type(kind.into())), "{spec}");
        let parsed = mesh_core::resource::parse(ResourceType::Cluster, &cluster.encode_to_vec());
        let Ok(mesh_core::resource::Resource::Cluster(parsed)) = parsed else { panic!("{parsed:?}") };
        match &parsed.endpoints {
            EndpointSource::Dns(dns) => {
                let found: Vec<&str> = dns.targets.iter().map(|target| &*target.host).collect();
                assert_eq!((found, dns.refresh.as_secs()), (hosts.to_vec(), 90), "{spec}");
            }
            EndpointSource::ControlPlane(name) => assert!(hosts.is_empty(), "{spec}: {name}"),
        }
        let apart = translate(&world, &caller("web"), ResourceType::Endpoints, name).message;
        assert_eq!(apart.is_some(), hosts.is_empty(), "{spec}: its endpoints stand in one place");
    };
    check("resolution: NONE", DiscoveryType::StrictDns, &["api.example.com"]);
    check("resolution: DNS_ROUND_ROBIN", DiscoveryType::LogicalDns, &["api.example.com"]);
    let mixed = "resolution: DNS, endpoints: [{address: b.com}, {address: 10.0.0.1}]";
    check(mixed, DiscoveryType::StrictDns, &["b.com", "10.0.0.1"]);
    check("resolution: DNS, endpoints: [{address: 10.0.0.1}]", DiscoveryType::Eds, &[]);
}

#[test]
fn registered_instances_serve_whom_selectors_and_grants_say() {
    let check = |host: &str, port: u16, kind: &str, metadata: &str, spec: &str, expected: &[&str]| {
        let world = world(&format!("{kind}\nmetadata: {metadata}\nspec: {spec}\n"));
        let name = format!("outbound|{port}||{host}");
        let endpoints: Option<ClusterLoadAssignment> =
            decoded(&world, &caller("default"), ResourceType::Endpoints, &name);
        let parsed = mesh_core::resource::parse(
            ResourceType::Endpoints,
            &endpoints.unwrap_or_else(|| panic!("{spec}: no endpoints")).encode_to_vec(),
        );
        let Ok(mesh_core::resource::Resource::Endpoints(endpoints)) = parsed else { panic!("{parsed:?}") };
        let found: Vec<String> = endpoints.endpoints.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(found, expected, "{spec}");
    };
    const SERVICE: &str = "apiVersion: v1\nkind: Service";
    const CANARY: &str = "canary.default.svc.cluster.local";
    const V1: &str = "10.0.0.1:41001";
    const V2: &str = "10.0.0.2:41001";
    let canary = |port: u16, spec: &str, expected: &[&str]| {
        check(CANARY, port, SERVICE, "{name: canary}", spec, expected)
    };
    canary(9080, "{selector: {app: reviews, version: v2}, ports: [{port: 9080}]}", &[V2]);
    canary(9080, "{selector: {app: other}, ports: [{port: 9080}]}", &[]);
    // A target is the instance's own port, or the one that its grant calls by.
    canary(80, "{selector: {app: reviews}, ports: [{port: 80, targetPort: 41001}]}", &[V1, V2]);
    canary(80, "{selector: {app: reviews}, ports: [{port: 80, targetPort: 9080}]}", &[V1, V2]);
    canary(80, "{selector: {app: reviews}, ports: [{port: 80, targetPort: 8080}]}", &[]);
    let other = "{selector: {app: other}, ports: [{port: 9080}]}";
    check(HOST, 9080, SERVICE, "{name: reviews}", other, &[V1, V2]);
    let elsewhere = "{selector: {app: reviews}, ports: [{port: 9080}]}";
    check("canary.shop.svc.cluster.local", 9080, SERVICE, "{name: canary, namespace: shop}", elsewhere, &[]);
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry";
    let selecting = "{hosts: [canary.example.com], location: MESH_INTERNAL, resolution: STATIC, \
                     ports: [{number: 9080, name: http, protocol: HTTP}], workloadSelector: {labels: {version: v2}}}";
    check("canary.example.com", 9080, entry, "{name: canary}", selecting, &[V2]);
}

#[test]
fn the_same_world_translates_to_the_same_version() {
    let name = "inbound/10.0.0.1:9080";
    let documents = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews}
spec:
  rules:
  - {}
  - {}
  - {}
";
    let once = || translate(&world(documents), &caller("default"), ResourceType::Listener, name).message;
    let first = version(&once().expect("listener"));
    for _ in 0..5 {
        assert_eq!(version(&once().expect("listener")), first);
    }
}

#[test]
fn a_mesh_that_lets_nothing_out_answers_for_every_other_host() {
    let settings = "apiVersion: proxyless.mesh/v1alpha1\nkind: MeshSettings\nmetadata: {name: mesh}\n\
                    spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n";
    let routes = |documents: &str, name: &str| {
        let translated = translate(&world(documents), &caller("default"), ResourceType::Listener, name);
        let parsed = mesh_core::resource::parse(ResourceType::Listener, &translated.message?.value).unwrap();
        match parsed {
            mesh_core::resource::Resource::Outbound(listener) => {
                listener.requests().map(|requests| requests.route_configuration.to_string())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(routes("", "elsewhere:80"), None);
    assert_eq!(routes(settings, "elsewhere:80").as_deref(), Some("block_all"));
    assert_eq!(routes(settings, "reviews:9080"), Some(format!("{HOST}:9080")));
    let block: RouteConfiguration =
        decoded(&world(settings), &caller("default"), ResourceType::RouteConfiguration, "block_all").unwrap();
    let action = block.virtual_hosts[0].routes[0].action.clone();
    assert!(matches!(action, Some(route_v3::Action::DirectResponse(answer)) if answer.status == 502));
}

#[test]
fn a_wildcard_that_services_meet_means_those_services_alone() {
    let world = world(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wild, namespace: other}
spec: {hosts: ['*.cluster.local', '*.example.com'], http: [{directResponse: {status: 200}}]}
",
    );
    let check = |host: &str, expected: bool| {
        let name = format!("{host}:80");
        let translated = translate(&world, &caller("default"), ResourceType::Listener, &name);
        assert_eq!(translated.message.is_some(), expected, "{host}");
    };
    check("nobody.cluster.local", false);
    check("nobody.example.com", true);
}

#[test]
fn weights_are_relative_and_as_fine_as_they_are_written() {
    let parsed = |documents: &str| {
        let name = format!("{HOST}:9080");
        let message =
            translate(&world(documents), &caller("default"), ResourceType::RouteConfiguration, &name).message;
        match mesh_core::resource::parse(ResourceType::RouteConfiguration, &message.expect("routes").value) {
            Ok(mesh_core::resource::Resource::RouteConfiguration(routes)) => routes,
            other => panic!("{other:?}"),
        }
    };
    let check = |weights: &[u32], expected: Option<&[u32]>| {
        let backends =
            weights.iter().map(|weight| format!("{{name: reviews, port: 9080, weight: {weight}}}"));
        let backends = backends.collect::<Vec<_>>().join(", ");
        let routes = parsed(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: reviews}}\nspec:\n  \
             parentRefs: [{{group: '', kind: Service, name: reviews}}]\n  rules: [{{backendRefs: [{backends}]}}]\n"
        ));
        match (&routes.routes.routes()[0].action, expected) {
            (mesh_core::route::RouteAction::Forward(forward), Some(expected)) => {
                let read: Vec<u32> = forward.split.destinations.iter().map(|one| one.weight).collect();
                assert_eq!(read, expected);
            }
            // Nobody has a share, which the Gateway API answers with 500.
            (mesh_core::route::RouteAction::DirectResponse(answer), None) => assert_eq!(answer.status, 500),
            (other, _) => panic!("{weights:?}: {other:?}"),
        }
    };
    check(&[999, 1], Some(&[999, 1]));
    check(&[1_000_000, 1], Some(&[1_000_000, 1]));
    check(&[3, 0, 4], Some(&[3, 0, 4]));
    check(&[0], None);
    check(&[0, 0], None);
}

#[test]
fn external_authorization_waits_for_a_route_and_is_optional_for_nobody() {
    use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthzPerRoute;
    use mesh_core::resource::{Resource, parse};
    use mesh_core::route::AuthProtocol;

    let world = world(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n  parentRefs: [{{group: '', kind: Service, \
         name: reviews}}]\n  rules:\n  - backendRefs: [{{name: reviews, port: 9080}}]\n    filters:\n    - type: ExternalAuth\n      \
         externalAuth: {{protocol: HTTP, backendRef: {{kind: Hostname, group: networking.istio.io, name: {HOST}, port: 9080}}, \
         http: {{path: check/, allowedHeaders: [X-Told]}}}}\n"
    ));
    let caller = caller("default");
    let name = format!("{HOST}:9080");
    let routes = translate(&world, &caller, ResourceType::RouteConfiguration, &name).message.expect("routes");
    let wire = RouteConfiguration::decode(&*routes.value).expect("a configuration");
    let config = &wire.virtual_hosts[0].routes[0].typed_per_filter_config[EXT_AUTHZ];
    // Not within a FilterConfig that could make it optional.
    assert_eq!(config.type_url, <ExtAuthzPerRoute as prost::Name>::type_url());

    let read = parse(ResourceType::RouteConfiguration, &routes.value);
    let Ok(Resource::RouteConfiguration(spec)) = read else { panic!("{read:?}") };
    let auth = spec.routes.routes()[0].filters.external_auth.as_ref().expect("a service");
    assert_eq!(&*spec.clusters[auth.cluster_index], &*format!("outbound|9080||{HOST}"));
    let AuthProtocol::Http(http) = &auth.protocol else { panic!("{auth:?}") };
    assert_eq!(&*http.path_prefix, "/check");
    assert!(http.request_headers.iter().any(|pattern| pattern.matches(b"x-told")));
    assert!(http.answer_headers.iter().any(|pattern| pattern.matches(b"x-anything")), "an empty list is all");

    let listener =
        translate(&world, &caller, ResourceType::Listener, "reviews:9080").message.expect("listener");
    assert!(matches!(parse(ResourceType::Listener, &listener.value), Ok(Resource::Outbound(_))));
}

#[test]
fn a_hashing_cluster_prefers_its_table_and_ends_in_what_every_client_has() {
    let preferred = |hash: &str| {
        let world = world(&format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: reviews}}\n\
             spec: {{host: reviews, trafficPolicy: {{loadBalancer: {{consistentHash: {{{hash}}}}}}}}}\n"
        ));
        let name = format!("outbound|9080||{HOST}");
        let cluster: Cluster =
            decoded(&world, &caller("default"), ResourceType::Cluster, &name).expect("a cluster");
        let policies = cluster.load_balancing_policy.expect("balancers").policies.into_iter();
        let named = policies.filter_map(|policy| policy.typed_extension_config);
        named.map(|config| config.name.rsplit('.').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(preferred("httpHeaderName: x"), ["ring_hash", "round_robin"]);
    assert_eq!(preferred("httpHeaderName: x, maglev: {}"), ["maglev", "ring_hash", "round_robin"]);
}

#[test]
fn outlier_detection_arrives_as_documents_say_it() {
    let check = |said: &str, expected: OutlierDetection, min_health: u8| {
        let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\n";
        let spec =
            format!("{rule}spec: {{host: reviews, trafficPolicy: {{outlierDetection: {{{said}}}}}}}\n");
        let name = format!("outbound|9080||{HOST}");
        let message = translate(&world(&spec), &caller("default"), ResourceType::Cluster, &name).message;
        let parsed = resource::parse(ResourceType::Cluster, &message.expect("a cluster").value);
        let Ok(Resource::Cluster(cluster)) = parsed else { panic!("{parsed:?}") };
        assert_eq!(cluster.outlier_detection, Some(expected), "{said}");
        assert_eq!(cluster.panic_threshold_percent, Some(min_health), "{said}");
    };
    let istio =
        OutlierDetection { success_rate: None, always_ejects_one: true, ..OutlierDetection::default() };
    check("interval: 10s", istio.clone(), 0);
    let all = "consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, splitExternalLocalOriginErrors: true, \
        consecutiveLocalOriginFailures: 7, interval: 1m30s, baseEjectionTime: 10m, maxEjectionPercent: 100, \
        minHealthPercent: 40, outlierDetectionHttpErrorCodes: [429, 503]";
    let expected = OutlierDetection {
        interval: Duration::from_secs(90),
        base_ejection_time: Duration::from_secs(600),
        ejection_time_max: Duration::from_secs(600),
        ejection_percent_max: 100,
        splits_local_origin: true,
        error_statuses: vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE],
        consecutive_5xx: None,
        consecutive_gateway_failure: Consecutive::always(3),
        consecutive_local_origin_failure: Consecutive::always(7),
        ..istio.clone()
    };
    check(all, expected, 40);
    let one = OutlierDetection { error_statuses: vec![StatusCode::IM_A_TEAPOT], ..istio };
    check("outlierDetectionHttpErrorCodes: [418]", one, 0);
}

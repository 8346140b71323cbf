//! The four services in one process, each in a mesh of its own making: what a split and a policy do to the page, over mutual
//! TLS, without any control plane.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use clap::CommandFactory;
use http::StatusCode;
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_core::authz::{Action, Policy, Stage};
use mesh_core::balance::EndpointStates;
use mesh_core::canonical::PathNormalization;
use mesh_core::context::PROPAGATED_BY_DEFAULT;
use mesh_core::identity::{Identity, IdentitySource, Svid, TrustBundle, TrustDomain};
use mesh_core::mesh::{Parts, Publisher};
use mesh_core::resource::{
    BalancerPolicy, ClusterSpec, ConnectionPool, EndpointSource, EndpointSpec, Health, InboundListener,
    MtlsMode, Provenance, UpstreamProtocol, UpstreamTls,
};
use mesh_core::route::{
    Forward, HeaderOperations, Rewrite, Route, RouteAction, RouteFilters, RouteMatch, RouteTable, Split,
    WeightedDestination,
};
use mesh_core::snapshot::{Cluster, HostConfig, HostState, Snapshot};
use mesh_server::Server;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::Value;
use tokio::task::AbortHandle;

use crate::call;
use crate::instance::{Instance, finished};

/// One trust domain and what runs in it.
struct Town {
    root: CertifiedIssuer<'static, KeyPair>,
    running: Vec<AbortHandle>,
}

/// A member of the town.
struct Member {
    mesh: Mesh,
    publisher: Publisher,
}

/// Where a service's copies are, under which weights.
type Weighted<'a> = &'a [(SocketAddr, u32)];

impl Drop for Town {
    fn drop(&mut self) {
        self.running.iter().for_each(AbortHandle::abort);
    }
}

impl Town {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self {
            root: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            running: Vec::new(),
        }
    }

    fn member(&self, service: &str) -> Member {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(spiffe_id(service).try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.root).unwrap();
        let svid = Svid::new(vec![leaf.into()], key.into()).unwrap();
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let bundle = TrustBundle::new(domain, [self.root.der().clone()]).unwrap();
        let identity = Some(IdentitySource::new(Identity { svid, bundle }));
        let (mesh, publisher) = Mesh::from_parts(Parts { identity, ..Parts::default() });
        Member { mesh, publisher }
    }

    /// Starts a copy of `service` that calls `outbound` and lets in whom `policy` says, by mutual TLS alone.
    async fn start(
        &mut self,
        service: &'static str,
        version: &str,
        app: fn(&Mesh, &Instance) -> Router,
        outbound: &[(&str, Weighted<'_>)],
        policy: Policy,
    ) -> SocketAddr {
        let member = self.member(service);
        let instance = Instance::new(service, version.to_owned(), Some(format!("{service}-{version}")));
        let server = Server::builder(&member.mesh).bind("127.0.0.1:0").await.unwrap();
        let address = server.address();
        let name: Arc<str> = format!("inbound/{address}").into();
        let listener = InboundListener {
            name: Arc::clone(&name),
            workload: None,
            mtls_mode: MtlsMode::Strict,
            mtls_provenance: Provenance::default(),
            path_normalization: PathNormalization::default(),
            propagated_headers: PROPAGATED_BY_DEFAULT.clone().into(),
            policy,
        };
        let mut snapshot = hosts(outbound);
        snapshot.inbound.insert(name, Arc::new(listener));
        member.publisher.publish(snapshot);
        let app = finished(app(&member.mesh, &instance), &instance, &Arc::default());
        self.running
            .push(tokio::spawn(server.serve_with_shutdown(app, std::future::pending())).abort_handle());
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        address
    }
}

fn spiffe_id(service: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/bookinfo-{service}")
}

fn hosts(outbound: &[(&str, Weighted<'_>)]) -> Snapshot {
    let mut hosts = HashMap::new();
    for (service, copies) in outbound {
        let config = Arc::new(host(service, copies));
        hosts.insert(Arc::clone(&config.name), HostState::Ready(config));
    }
    Snapshot { hosts, ..Snapshot::default() }
}

fn host(service: &str, copies: Weighted<'_>) -> HostConfig {
    let clusters =
        copies.iter().enumerate().map(|(index, &(address, _))| Some(cluster(service, index, address)));
    let destinations = copies.iter().enumerate().map(|(index, &(_, weight))| WeightedDestination {
        cluster: format!("{service}-{index}").into(),
        cluster_index: index,
        weight,
        authority: None,
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    });
    let forward = Forward {
        split: Split::new(destinations.collect()),
        timeout: None,
        retry: None,
        no_cluster_status: StatusCode::SERVICE_UNAVAILABLE,
        rewrite: Rewrite::default(),
        mirrors: Vec::new(),
    };
    let route = Route {
        condition: RouteMatch::everything(),
        provenance: Provenance::default(),
        filters: RouteFilters::default(),
        action: RouteAction::Forward(forward),
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    };
    HostConfig {
        name: format!("{service}:9080").into(),
        host: format!("{service}.default.svc.cluster.local").into(),
        path_normalization: PathNormalization::default(),
        routes: Some(Arc::new(RouteTable::new(vec![route]))),
        opaque: None,
        clusters: clusters.collect(),
    }
}

fn cluster(service: &str, index: usize, address: SocketAddr) -> Arc<Cluster> {
    let name: Arc<str> = format!("{service}-{index}").into();
    let spec = ClusterSpec {
        name: Arc::clone(&name),
        host: format!("{service}.default.svc.cluster.local").into(),
        port: 9080,
        subset: None,
        endpoints: EndpointSource::ControlPlane(name),
        tls: UpstreamTls::MeshMtls {
            identities: [spiffe_id(service).into()].into(),
            sni: format!("outbound_.9080_._.{service}.default.svc.cluster.local").into(),
        },
        plaintext_endpoints: false,
        protocol: UpstreamProtocol::Auto,
        balancer: BalancerPolicy::default(),
        outlier_detection: None,
        panic_threshold_percent: None,
        localities_weighted: false,
        health_check: None,
        connection_pool: ConnectionPool::default(),
        destination_rules: Vec::new(),
    };
    let endpoint = EndpointSpec {
        address,
        pipe: None,
        workload: None,
        locality: None,
        locality_weight: 1,
        priority: 0,
        weight: 1,
        health: Health::Healthy,
        mesh_mtls: true,
    };
    let (state, endpoints) = EndpointStates::default().join(&spec, &[endpoint]);
    Arc::new(Cluster::new(Arc::new(spec), endpoints, state))
}

/// ALLOW without a rule lets nobody in.
fn nobody() -> Policy {
    Policy::new(vec![Stage { action: Action::Allow, rules: Vec::new() }])
}

async fn page(client: &MeshClient) -> String {
    let page = call::bytes(client, "http://productpage:9080/productpage?u=jason", None).await.unwrap();
    String::from_utf8(page.to_vec()).unwrap()
}

#[test]
fn the_arguments_fit_together() {
    crate::Arguments::command().debug_assert();
}

#[tokio::test]
async fn the_page_shows_details_and_reviews_with_stars() {
    let mut town = Town::new();
    let everybody = Policy::default;
    let ratings = town.start("ratings", "v1", crate::ratings::app, &[], everybody()).await;
    let details = town.start("details", "v1", crate::details::app, &[], everybody()).await;
    let to_ratings: &[(&str, Weighted<'_>)] = &[("ratings", &[(ratings, 1)])];
    let reviews = town.start("reviews", "v3", crate::reviews::app, to_ratings, everybody()).await;
    let outbound: &[(&str, Weighted<'_>)] = &[("details", &[(details, 1)]), ("reviews", &[(reviews, 1)])];
    let front = town.start("productpage", "v1", crate::productpage::app, outbound, everybody()).await;

    let user = town.member("user");
    user.publisher.publish(hosts(&[("productpage", &[(front, 1)])]));
    let page = page(&MeshClient::new(&user.mesh)).await;
    assert!(page.contains("William Shakespeare"), "{page}");
    assert!(page.contains("class=\"stars red\" aria-label=\"5 of 5 stars\""), "{page}");
    assert!(page.contains("answered by reviews-v3"));
    assert!(page.contains("jason"));
}

#[tokio::test]
async fn a_policy_closes_ratings_and_the_page_goes_on() {
    let mut town = Town::new();
    let ratings = town.start("ratings", "v1", crate::ratings::app, &[], nobody()).await;
    let to_ratings: &[(&str, Weighted<'_>)] = &[("ratings", &[(ratings, 1)])];
    let reviews = town.start("reviews", "v2", crate::reviews::app, to_ratings, Policy::default()).await;
    let user = town.member("user");
    user.publisher.publish(hosts(&[("reviews", &[(reviews, 1)]), ("ratings", &[(ratings, 1)])]));
    let client = MeshClient::new(&user.mesh);
    let reviews: Value = call::get(&client, "http://reviews:9080/reviews/0", None).await.unwrap();
    assert_eq!(reviews["reviews"][0]["rating"]["error"], "Ratings are currently unavailable");
    let refused = call::get::<Value>(&client, "http://ratings:9080/ratings/0", None).await.unwrap_err();
    assert!(refused.to_string().ends_with("403 Forbidden: RBAC: access denied"), "{refused}");
}

#[tokio::test]
async fn a_new_split_moves_the_next_requests_of_the_same_client() {
    let mut town = Town::new();
    let mut copies = Vec::new();
    for version in ["v1", "v2"] {
        copies.push(town.start("reviews", version, crate::reviews::app, &[], Policy::default()).await);
    }
    let user = town.member("user");
    let client = MeshClient::new(&user.mesh);
    for (weights, expected) in [([1, 0], "v1"), ([0, 1], "v2"), ([1, 0], "v1")] {
        let split = [(copies[0], weights[0]), (copies[1], weights[1])];
        user.publisher.publish(hosts(&[("reviews", &split)]));
        for _ in 0..10 {
            let answer: Value = call::get(&client, "http://reviews:9080/", None).await.unwrap();
            assert_eq!(answer["version"], expected);
        }
    }
}

//! Where a destination's requests go and how it is spoken to, over real sockets: DestinationRules, ServiceEntries and
//! WorkloadEntries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_tests::ControlPlane;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// How long a change may take to reach a caller on a busy machine.
const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

const CLIENTS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: all}
spec:
  host: echo
  subsets: [{name: ours, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: beta}
spec:
  host: echo
  workloadSelector: {matchLabels: {ring: beta}}
  subsets: [{name: ours, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec: {hosts: [echo], http: [{route: [{destination: {host: echo, subset: ours}}]}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_selects_clients_sends_them_elsewhere() {
    let control_plane = ControlPlane::start();
    let _v1 = control_plane.serve("echo:9080", "v1", "v1").await;
    let _v2 = control_plane.serve("echo:9080", "v2", "v2").await;
    control_plane.apply("clients.yaml", CLIENTS);
    let stable = control_plane.join(&["--service-account", "caller"]).await;
    let beta = control_plane.join(&["--service-account", "caller", "--label", "ring=beta"]).await;
    until_told(&stable, "http://echo:9080/", StatusCode::OK).await;
    until_told(&beta, "http://echo:9080/", StatusCode::OK).await;
    for _ in 0..20 {
        assert_eq!(told(&stable, "http://echo:9080/").await, (StatusCode::OK, "v1".to_owned()));
        assert_eq!(told(&beta, "http://echo:9080/").await, (StatusCode::OK, "v2".to_owned()));
    }
}

const PORTS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL}
    portLevelSettings: [{port: {number: 9081}, tls: {mode: DISABLE}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_port_with_settings_of_its_own_is_spoken_to_by_them() {
    let control_plane = ControlPlane::start();
    let _first = control_plane.serve("echo:9080", "v1", "first").await;
    let second = control_plane.serve("echo:9081", "v1", "second").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    until_told(&caller, "http://echo:9080/", StatusCode::OK).await;
    until_told(&caller, "http://echo:9081/", StatusCode::OK).await;
    control_plane.apply("ports.yaml", PORTS);
    until_told(&caller, "http://echo:9081/", StatusCode::SERVICE_UNAVAILABLE).await;
    let before = second.echo.requests();
    assert_eq!(told(&caller, "http://echo:9080/").await, (StatusCode::OK, "first".to_owned()));
    assert_eq!(second.echo.requests(), before, "plaintext where mTLS is demanded reaches nobody");
}

/// A service outside the mesh that anybody runs: it answers with the host that it was called by.
async fn outside(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => answer(io).await,
                    Some(tls) => {
                        // A client that does not like the certificate goes away.
                        if let Ok(io) = tls.accept(io).await {
                            answer(io).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn answer(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = hyper::service::service_fn(async |request: Request<hyper::body::Incoming>| {
        let said = || request.headers().get("host")?.to_str().ok();
        let host = request.uri().authority().map(|host| host.as_str()).or_else(said);
        Ok::<_, std::convert::Infallible>(http::Response::new(host.unwrap_or_default().to_owned()))
    });
    let executor = hyper_util::rt::TokioExecutor::new();
    let connection = hyper_util::server::conn::auto::Builder::new(executor);
    // It ends with its client.
    let _ = connection.serve_connection(hyper_util::rt::TokioIo::new(io), service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_where_a_service_entry_says_so() {
    let control_plane = ControlPlane::start();
    let port = outside(None).await.port();
    let entry = |name: &str, host: &str, spec: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: [{host}], ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}], {spec}}}\n"
        )
    };
    let documents = [
        entry("given", "given.example", "resolution: DNS, endpoints: [{address: localhost}]"),
        entry("one", "one.example", "resolution: DNS_ROUND_ROBIN, endpoints: [{address: localhost}]"),
        entry("none", "localhost", "resolution: NONE"),
        entry("picked", "picked.example", "location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {app: api}}"),
        "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: api, labels: {app: api}}\nspec: {address: LOCALHOST}\n".to_owned(),
    ];
    control_plane.apply("names.yaml", &documents.concat());
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    for host in ["given.example", "localhost", "picked.example"] {
        let answer = told(&caller, &format!("http://{host}/")).await;
        assert_eq!(answer, (StatusCode::OK, host.to_owned()), "the first call waits for the look-up");
    }
    // The first address of the name may be one where nobody listens, and then it is the only one.
    let (status, body) = told(&caller, "http://one.example/").await;
    assert!(status == StatusCode::OK || body.contains("[::1]"), "{status}: {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_outside_is_spoken_to_in_tls_under_the_name_that_documents_give() {
    let control_plane = ControlPlane::start();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    let roots = control_plane.scratch().join("roots.pem");
    std::fs::write(&roots, authority.pem()).expect("the temporary directory can be written");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["api.example".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &authority).expect("a certificate");
    let config = rustls::ServerConfig::builder_with_provider(mesh_core::identity::provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has both versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.into()], key.into())
        .expect("a good certificate");
    let port = outside(Some(TlsAcceptor::from(Arc::new(config)))).await.port();
    let documents = |names: &str| {
        let roots = roots.display();
        format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api}}
spec:
  hosts: [api.example]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  resolution: DNS
  endpoints: [{{address: localhost}}]
  subjectAltNames: [{names}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: api}}
spec: {{host: api.example, trafficPolicy: {{tls: {{mode: SIMPLE, caCertificates: {roots}}}}}}}
"
        )
    };
    control_plane.apply("tls.yaml", &documents(""));
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    assert_eq!(told(&caller, "http://api.example/").await, (StatusCode::OK, "api.example".to_owned()));
    control_plane.apply("tls.yaml", &documents("other.example"));
    until_told(&caller, "http://api.example/", StatusCode::SERVICE_UNAVAILABLE).await;
    control_plane.apply("tls.yaml", &documents("other.example, api.example"));
    until_told(&caller, "http://api.example/", StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_into_the_mesh_where_the_entry_says_who_answers() {
    let control_plane = ControlPlane::start();
    let served = control_plane.serve("echo:9080", "v1", "echo").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    until_told(&caller, "http://echo:9080/", StatusCode::OK).await;
    let port = served.address.port();
    let entry = |names: &str| {
        format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: alias}}
spec:
  hosts: [alias.example]
  location: MESH_INTERNAL
  resolution: DNS
  ports: [{{number: 80, name: http}}]
  endpoints: [{{address: localhost, ports: {{http: {port}}}, labels: {{security.istio.io/tlsMode: istio}}}}]
  subjectAltNames: [{names}]
"
        )
    };
    control_plane.apply("alias.yaml", &entry(""));
    let (status, body) = told(&caller, "http://alias.example/").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nobody is said to answer: {body}");
    let explained = control_plane.mesh(&["explain", "GET", "http://echo:9080/", "-o", "json"]).success();
    let explained: serde_json::Value = serde_json::from_str(&explained).expect("JSON");
    let identity = explained["destinations"][0]["server_identities"][0].as_str().expect("an identity");
    control_plane.apply("alias.yaml", &entry(&format!("'spiffe://{identity}'")));
    until_told(&caller, "http://alias.example/", StatusCode::OK).await;
    assert_eq!(told(&caller, "http://alias.example/").await, (StatusCode::OK, "echo".to_owned()));
}

/// What a GET is answered: status and body.
async fn told(caller: &Mesh, url: &str) -> (StatusCode, String) {
    let request = Request::get(url).body(Empty::<Bytes>::new()).expect("a request");
    let answer = MeshClient::new(caller).oneshot(request).await.expect("failures are responses");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Waits until a change has reached the caller.
async fn until_told(caller: &Mesh, url: &str, wanted: StatusCode) {
    let start = tokio::time::Instant::now();
    loop {
        let (status, body) = told(caller, url).await;
        if status == wanted {
            return;
        }
        assert!(start.elapsed() < START, "{url} still answers {status}: {body}");
        tokio::time::sleep(POLL).await;
    }
}

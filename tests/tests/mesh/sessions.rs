//! `sessionPersistence` of a Gateway API's HTTPRoute: a caller comes back to the version and to the very instance.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::{COOKIE, SET_COOKIE};
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_tests::ControlPlane;
use tower::ServiceExt;

/// Two services behind the name of one, half and half.
const DOCUMENT: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: echo}
spec:
  parentRefs: [{group: '', kind: Service, name: echo}]
  rules:
  - backendRefs: [{name: echo, port: 9080}, {name: echo-next, port: 9080}]
    sessionPersistence: {sessionName: uid}
";
const SESSIONS: usize = 40;
const VISITS: usize = 5;
const SETTLED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_version_and_its_instance() {
    let control_plane = ControlPlane::start();
    let mut served = Vec::new();
    for (service, name) in
        [("echo:9080", "a"), ("echo:9080", "b"), ("echo-next:9080", "c"), ("echo-next:9080", "d")]
    {
        served.push(control_plane.serve(service, "v1", name).await);
    }
    control_plane.apply("session.yaml", DOCUMENT);
    let client = MeshClient::new(&control_plane.join(&["--service-account", "caller"]).await);
    let start = Instant::now();
    let mut met = BTreeSet::new();
    // Until every instance has been met, which says that all of them are known.
    while met.len() < served.len() {
        assert!(start.elapsed() < SETTLED, "only {met:?} answered");
        met.insert(ask(&client, None).await.0);
    }
    let mut begun = BTreeSet::new();
    for _ in 0..SESSIONS {
        let (instance, told) = ask(&client, None).await;
        let told = told.expect("a new session is told its cookie");
        let cookie = told.strip_suffix("; Path=/; HttpOnly").expect("the attributes");
        for _ in 0..VISITS {
            assert_eq!(ask(&client, Some(cookie)).await, (instance.clone(), None));
        }
        begun.insert(instance);
    }
    assert_eq!(begun.len(), served.len(), "sessions begin everywhere");
}

/// The instance that answered, and the cookie that came with it.
async fn ask(client: &MeshClient, cookie: Option<&str>) -> (String, Option<String>) {
    let request = Request::get("http://echo:9080/");
    let request = cookie.into_iter().fold(request, |request, cookie| request.header(COOKIE, cookie));
    let Ok(response) = client.clone().oneshot(request.body(Empty::<Bytes>::new()).expect("a request")).await;
    let status = response.status();
    let told = response.headers().get(SET_COOKIE).map(|told| told.to_str().expect("text").to_owned());
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    (String::from_utf8_lossy(&body).into_owned(), told)
}

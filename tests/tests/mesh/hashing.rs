//! `consistentHash` of a DestinationRule: five instances on sockets, of which a key meets one, whoever brings it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_tests::ControlPlane;
use tower::ServiceExt;

const INSTANCES: [&str; 5] = ["a", "b", "c", "d", "e"];
const USERS: usize = 60;
const SETTLED: Duration = Duration::from_secs(20);

fn rule(consistent_hash: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: echo}}\n\
         spec: {{host: echo, trafficPolicy: {{loadBalancer: {{consistentHash: {{{consistent_hash}}}}}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_meets_one_of_five_instances_from_wherever_it_comes() {
    let control_plane = ControlPlane::start();
    let mut served = Vec::new();
    for name in INSTANCES {
        served.push(control_plane.serve("echo:9080", "v1", name).await);
    }
    control_plane.apply("hash.yaml", &rule("httpHeaderName: x-user"));
    let mut clients = Vec::new();
    for caller in ["first", "second"] {
        let client = MeshClient::new(&control_plane.join(&["--service-account", caller]).await);
        let start = Instant::now();
        let mut met = BTreeSet::new();
        // Without a key each request is drawn, until every instance has been met: so all of them are known.
        while met.len() < INSTANCES.len() {
            assert!(start.elapsed() < SETTLED, "only {met:?} answered");
            met.insert(ask(&client, &[]).await.0);
        }
        clients.push(client);
    }
    let mut met = BTreeSet::new();
    for user in 0..USERS {
        let user = format!("user-{user}");
        let key = [("x-user", &*user)];
        let (instance, told) = ask(&clients[0], &key).await;
        assert_eq!(told, None);
        for client in clients.iter().chain(&clients) {
            assert_eq!(ask(client, &key).await, (instance.clone(), None), "{user}");
        }
        met.insert(instance);
    }
    assert_eq!(met.len(), INSTANCES.len(), "keys are everywhere");
    control_plane.apply("hash.yaml", &rule("httpCookie: {name: uid, path: /, ttl: 60s}, maglev: {}"));
    cookies_lead_back(&clients[0]).await;
}

async fn cookies_lead_back(client: &MeshClient) {
    let start = Instant::now();
    let mut met = BTreeSet::new();
    while met.len() < INSTANCES.len() {
        assert!(start.elapsed() < SETTLED, "cookies lead to {met:?} alone");
        // The rule before this one tells no cookie.
        let (instance, Some(told)) = ask(client, &[]).await else { continue };
        let cookie = told.strip_suffix("; Max-Age=60; Path=/; HttpOnly").expect("the attributes");
        for _ in 0..3 {
            assert_eq!(ask(client, &[(COOKIE.as_str(), cookie)]).await, (instance.clone(), None));
        }
        met.insert(instance);
    }
}

/// The instance that answered, and the cookie that came with it.
async fn ask(client: &MeshClient, headers: &[(&str, &str)]) -> (String, Option<String>) {
    let request = Request::get("http://echo:9080/");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let Ok(response) = client.clone().oneshot(request.body(Empty::<Bytes>::new()).expect("a request")).await;
    let status = response.status();
    let told = cookie(response.headers());
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    (String::from_utf8_lossy(&body).into_owned(), told)
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers.get(SET_COOKIE).map(|told| told.to_str().expect("text").to_owned())
}

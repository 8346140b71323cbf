//! The story that founded the project: a new feature only for southern Spain, only on iPhones, only for half of the users, and
//! the same half each time, through every hop behind the first.
//!
//! The documents are those of `examples/story`. Each service calls the next one and hands on no header itself.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_server::Server;
use mesh_tests::{ControlPlane, wait};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt;

const DOCUMENTS: &str = "../examples/story/southern-spain.yaml";
/// Each calls the one after it.
const SERVICES: [&str; 4] = ["shop", "offers", "prices", "stock"];
const USERS: u32 = 10_000;
/// Each user comes this often, every time by another process.
const VISITS: u32 = 2;
const IN_FLIGHT: usize = 32;
const START: Duration = Duration::from_secs(30);
const NEW: &str = "v2 v2 v2 v2";
const OLD: &str = "v1 v1 v1 v1";
const IPHONE: &str =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Mobile";

#[tokio::test(flavor = "multi_thread")]
async fn half_of_southern_spains_iphones_meet_the_new_version_each_time_on_every_hop() {
    let story = Story::start().await;
    let edges = [story.edge().await, story.edge().await];
    // Whoever comes from elsewhere or with something else, and whoever does not say who he is but where from.
    let elsewhere = [
        visitor("user-1", IPHONE, "ES", "MD"),
        visitor("user-1", IPHONE, "FR", "AN"),
        visitor("user-1", ANDROID, "ES", "AN"),
        Vec::new(),
    ];
    for headers in &elsewhere {
        for _ in 0..20 {
            assert_eq!(ask(&edges[0], headers).await, OLD, "{headers:?}");
        }
    }
    let start = Instant::now();
    let visits = (0..USERS).map(|user| {
        let edges = edges.clone();
        async move {
            let headers = inhabitant(user);
            let mut seen = Vec::new();
            for visit in 0..VISITS {
                seen.push(ask(&edges[(user + visit) as usize % edges.len()], &headers).await);
            }
            (user, seen)
        }
    });
    let visits: Vec<(u32, Vec<String>)> = stream::iter(visits).buffer_unordered(IN_FLIGHT).collect().await;
    let chosen = visits.iter().filter(|(_, seen)| seen[0] == NEW).count();
    println!("{USERS} users, {VISITS} visits each in {:?}: {chosen} met the new version", start.elapsed());
    for (user, seen) in &visits {
        let same = seen.iter().all(|way| *way == seen[0]);
        assert!(same && [NEW, OLD].contains(&&*seen[0]), "user-{user} went {seen:?}");
    }
    let (expected, sigma) = (f64::from(USERS) / 2.0, (f64::from(USERS) / 4.0).sqrt());
    assert!((chosen as f64 - expected).abs() <= 3.0 * sigma, "{chosen} of {USERS}");
    story.explain_agrees(&visits[..200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_weight_only_adds_users_and_propagation_can_be_switched_off() {
    let story = Story::start().await;
    let edge = story.edge().await;
    let mut members: Vec<bool> = vec![false; 300];
    for percent in [10, 25, 50] {
        story.apply(&format!("{percent}.yaml"), |text| {
            text.replacen("weight: 50", &format!("weight: {}", 100 - percent), 1).replacen(
                "weight: 50\n      headers",
                &format!("weight: {percent}\n      headers"),
                1,
            )
        });
        // The running clients learn it within moments; each answer before is a good one of the weights before.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (user, was_chosen) in members.iter_mut().enumerate() {
            let chosen = ask(&edge, &inhabitant(user as u32)).await == NEW;
            assert!(chosen || !*was_chosen, "user-{user} was sent back at {percent} %");
            *was_chosen = chosen;
        }
        println!("{percent} %: {} of {}", members.iter().filter(|chosen| **chosen).count(), members.len());
    }
    let chosen = members.iter().position(|chosen| *chosen).expect("somebody is chosen");
    let off = "apiVersion: proxyless.mesh/v1alpha1\nkind: MeshSettings\nmetadata: {name: mesh}\nspec: {propagatedHeaders: []}\n";
    story.control_plane.apply("off.yaml", off);
    let start = Instant::now();
    let headers = inhabitant(chosen as u32);
    // The first hop is chosen as ever; what was chosen is handed on to the second, and by it to nobody.
    while ask(&edge, &headers).await != "v2 v1 v1 v1" {
        assert!(start.elapsed() < START, "headers still go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The control plane and both versions of every service.
struct Story {
    control_plane: ControlPlane,
    _services: JoinSet<()>,
}

impl Story {
    async fn start() -> Self {
        let control_plane = ControlPlane::start();
        let mut services = JoinSet::new();
        for (at, service) in SERVICES.into_iter().enumerate() {
            for version in ["v1", "v2"] {
                serve(&control_plane, &mut services, service, version, SERVICES.get(at + 1).copied()).await;
            }
        }
        wait::until("the registration of every service", START, || {
            let status = control_plane.mesh(&["status", "-o", "json"]).success();
            let status: Value = serde_json::from_str(&status).expect("JSON");
            (status["instances"].as_array()?.len() == 2 * SERVICES.len()).then_some(())
        });
        let story = Self { control_plane, _services: services };
        story.apply("southern-spain.yaml", str::to_owned);
        story
    }

    /// Applies the example's documents, changed.
    fn apply(&self, name: &str, change: impl FnOnce(&str) -> String) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENTS);
        let text = std::fs::read_to_string(&file).expect("the example is there");
        self.control_plane.apply(name, &change(&text));
    }

    /// A process at the edge of its own, which hands users' requests in.
    async fn edge(&self) -> MeshClient {
        MeshClient::new(&self.control_plane.join(&["--service-account", "edge"]).await)
    }

    /// `explain` says of each user what the sockets did.
    fn explain_agrees(&self, visits: &[(u32, Vec<String>)]) {
        let questions = visits.iter().map(|(user, _)| {
            let headers = inhabitant(*user);
            json!({"url": "http://shop:8080/", "headers": headers, "from": {"service_account": "edge"}})
                .to_string()
        });
        let file = self.control_plane.scratch().join("questions.jsonl");
        std::fs::write(&file, questions.collect::<Vec<_>>().join("\n")).expect("a temporary file");
        let file = file.to_str().expect("temporary paths are UTF-8");
        let answers = self.control_plane.mesh(&["explain", "--requests", file]).success();
        assert_eq!(answers.lines().count(), visits.len());
        for (answer, (user, seen)) in answers.lines().zip(visits) {
            let answer: Value = serde_json::from_str(answer).expect("JSON");
            let chosen =
                answer["chosen"].as_u64().map(|chosen| &answer["destinations"][chosen as usize]["subset"]);
            assert_eq!(chosen, Some(&json!(&seen[0][..2])), "user-{user}: {answer:#}");
            assert_eq!(answer["sticky"]["key"], json!(format!("user-{user}")));
        }
    }
}

/// Serves one version of a service as a member of its own, in this process.
async fn serve(
    control_plane: &ControlPlane,
    tasks: &mut JoinSet<()>,
    service: &str,
    version: &'static str,
    next: Option<&'static str>,
) {
    let (grant, label) = (format!("{service}:8080"), format!("version={version}"));
    let mesh = control_plane.join(&["--service", &grant, "--label", &label]).await;
    let server = Server::builder(&mesh).bind("127.0.0.1:0").await.expect("a free port");
    let hop = Hop { version, next: next.map(|next| (MeshClient::new(&mesh), next)) };
    let app = Router::new().route("/", get(answer)).with_state(hop);
    tasks
        .spawn(async move { server.serve_with_shutdown(app, std::future::pending()).await.expect("serves") });
}

/// One version of one service.
#[derive(Clone)]
struct Hop {
    version: &'static str,
    next: Option<(MeshClient, &'static str)>,
}

/// Says its version, and after it what the next service says. No header is handed on here.
async fn answer(State(hop): State<Hop>) -> String {
    match hop.next {
        None => hop.version.to_owned(),
        Some((client, next)) => format!("{} {}", hop.version, get_text(&client, next, &[]).await),
    }
}

type Headers = Vec<(&'static str, String)>;

/// Somebody in Andalusia or Murcia with an iPhone.
fn inhabitant(user: u32) -> Headers {
    visitor(&format!("user-{user}"), IPHONE, "ES", if user.is_multiple_of(3) { "MC" } else { "AN" })
}

/// As a network in front of the edge describes a user.
fn visitor(user: &str, device: &str, country: &str, region: &str) -> Headers {
    let pairs = [
        ("x-user", user),
        ("user-agent", device),
        ("cloudfront-viewer-country", country),
        ("cloudfront-viewer-country-region", region),
    ];
    pairs.map(|(name, value)| (name, value.to_owned())).to_vec()
}

/// The versions that a request met, hop by hop.
async fn ask(edge: &MeshClient, headers: &Headers) -> String {
    get_text(edge, SERVICES[0], headers).await
}

async fn get_text(client: &MeshClient, service: &str, headers: &[(&'static str, String)]) -> String {
    let request = Request::get(format!("http://{service}:8080/"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let Ok(response) = client.clone().oneshot(request.body(Empty::<Bytes>::new()).expect("a request")).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { body } else { format!("{status}: {body}") }
}

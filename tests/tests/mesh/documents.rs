//! Bad documents: one clear error each, nothing applied by half, the running mesh keeps its last good configuration.

use std::time::Duration;

use mesh_tests::ControlPlane;
use mesh_tests::process::{Finished, run};
use tower::ServiceExt;

const GOOD: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - name: only
    route:
    - destination:
        host: reviews
";

/// What is wrong, the document, and what the one error must name beside file, line and next step.
const BAD: [(&str, &str, &[&str]); 10] = [
    ("malformed YAML", "apiVersion: v1\nkind: [\n", &["bad.yaml:"]),
    (
        "unknown field",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\nspec:\n  hosts: [x]\n  exportTwo: []\n  http:\n  - route:\n    - destination:\n        host: x\n",
        &["bad.yaml:7", "exportTwo", "exportTo"],
    ),
    (
        "wrong type",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\nspec:\n  hosts: [x]\n  http:\n  - match:\n    - port: many\n    route:\n    - destination:\n        host: x\n",
        &["bad.yaml:9", "port"],
    ),
    (
        "bad regex",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\nspec:\n  hosts: [x]\n  http:\n  - match:\n    - uri:\n        regex: '('\n    route:\n    - destination:\n        host: x\n",
        &["bad.yaml:10", "regex"],
    ),
    (
        "impossible weights",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\nspec:\n  hosts: [x]\n  http:\n  - route:\n    - destination:\n        host: x\n      weight: 0\n    - destination:\n        host: y\n      weight: 0\n",
        &["bad.yaml:", "weight"],
    ),
    (
        "duplicate",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: x\nspec:\n  ports:\n  - port: 80\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: x\nspec:\n  ports:\n  - port: 80\n",
        &["bad.yaml:", "Service/default/x"],
    ),
    (
        "dangling subset",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\nspec:\n  hosts: [reviews]\n  http:\n  - route:\n    - destination:\n        host: reviews\n        subset: nowhere\n",
        &["bad.yaml:", "subset", "nowhere"],
    ),
    (
        "a sticky key of no kind",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\n  annotations:\n    proxyless.mesh/sticky: user\nspec:\n  hosts: [x]\n  http:\n  - route:\n    - destination:\n        host: x\n",
        &["bad.yaml:6", "proxyless.mesh/sticky", "header:NAME"],
    ),
    (
        "a sticky claim of no name",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\n  annotations:\n    proxyless.mesh/sticky: 'claim:'\nspec:\n  hosts: [x]\n  http:\n  - route:\n    - destination:\n        host: x\n",
        &["bad.yaml:6", "proxyless.mesh/sticky"],
    ),
    (
        "a condition that only Envoy has",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: x\nspec:\n  hosts: [x]\n  http:\n  - route:\n    - destination:\n        host: x\n    retries:\n      attempts: 3\n      retryOn: envoy-ratelimited\n",
        &["bad.yaml:13", "retryOn", "envoy-ratelimited"],
    ),
];

#[test]
fn a_bad_document_is_refused_whole_and_named() {
    let control_plane = ControlPlane::start();
    control_plane.apply("good.yaml", GOOD);
    for (what, text, named) in BAD {
        let file = control_plane.scratch().join("bad.yaml");
        // A good change beside the bad one must not come through alone.
        let good = control_plane.scratch().join("also-good.yaml");
        std::fs::write(&file, text).expect("a temporary file");
        std::fs::write(&good, GOOD.replace("name: only", "name: changed")).expect("a temporary file");
        let paths = [&good, &file].map(|path| path.to_str().expect("UTF-8"));
        let applied = control_plane.mesh(&["apply", "-f", paths[0], "-f", paths[1]]);
        one_error(what, &applied, named);
        let validated = run("mesh", &["validate", "-f", paths[1]]);
        assert_eq!(validated.code, Some(1), "{what}: {}{}", validated.stdout, validated.stderr);
        let stored = control_plane.mesh(&["get", "-o", "yaml"]).success();
        assert!(stored.contains("name: only") && !stored.contains("name: changed"), "{what}: {stored}");
    }
}

fn one_error(what: &str, applied: &Finished, named: &[&str]) {
    assert_eq!(applied.code, Some(1), "{what}: {}{}", applied.stdout, applied.stderr);
    let lines: Vec<&str> = applied.stderr.lines().collect();
    // The next step stands below its error.
    let errors: Vec<String> = lines
        .iter()
        .zip(lines.iter().skip(1).chain(&[""]))
        .filter(|(line, _)| line.contains("bad.yaml") && line.contains(": error: "))
        .map(|(line, below)| format!("{line}\n{below}"))
        .collect();
    let [error] = &errors[..] else { panic!("{what}: not one error:\n{}", applied.stderr) };
    for word in named.iter().chain(&["\n    next: "]) {
        assert!(error.contains(word), "{what}: `{word}` is missing in: {error}");
    }
}

#[test]
fn exit_statuses_tell_what_happened() {
    let control_plane = ControlPlane::start();
    let nobody = control_plane.scratch().join("nobody.json");
    let credential = std::fs::read_to_string(control_plane.credential()).expect("a credential");
    // A port that was just free: nobody answers there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    // A copy is its owner's alone, as a credential must be.
    std::fs::copy(control_plane.credential(), &nobody).expect("a temporary file");
    std::fs::write(&nobody, credential.replace(control_plane.address(), &free.to_string()))
        .expect("a temporary file");
    let check = |arguments: &[&str], expected: i32| {
        let finished = control_plane.mesh(arguments);
        assert_eq!(finished.code, Some(expected), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
    };
    check(&["get"], 0);
    check(&["get", "VirtualService/none"], 1);
    check(&["split", "reviews", "v1"], 2);
    check(&["split", "reviews", "v1=1"], 3);
    check(&["split", "reviews", "v1=4294967295", "v2=1"], 2);
    let inert = control_plane.scratch().join("gateway.yaml");
    std::fs::write(&inert, "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\n")
        .expect("a temporary file");
    check(&["apply", "-f", inert.to_str().expect("UTF-8")], 3);
    let nobody = nobody.to_str().expect("UTF-8");
    assert_eq!(run("mesh", &["get", "--admin", nobody]).code, Some(4));
    assert_eq!(run("mesh", &["no-such-command"]).code, Some(2));
    assert!(run("mesh", &["--help"]).success().starts_with("Example:"));
}

/// As many as no file of one's own has: judged, translated, sent and compiled without a limit being met by surprise.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_routes_of_one_service_are_taken_and_found() {
    const DOCUMENTS: u32 = 6_250;
    const RULES_OF_EACH: u32 = 16;
    let control_plane = ControlPlane::start();
    let served = control_plane.serve("big:9080", "v1", "v1").await;
    let document = |number: u32| {
        let rule = |rule: u32| {
            let path = number * RULES_OF_EACH + rule;
            format!(
                "{{matches: [{{path: {{type: Exact, value: /p{path}}}}}], backendRefs: [{{name: big, port: 9080}}]}}"
            )
        };
        let rules: Vec<String> = (0..RULES_OF_EACH).map(rule).collect();
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{number}}}\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: big}}], rules: [{}]}}\n",
            rules.join(", ")
        )
    };
    // A file takes 10 MiB at most.
    let halves = [0..DOCUMENTS / 2, DOCUMENTS / 2..DOCUMENTS].map(|numbers| {
        let file = control_plane.scratch().join(format!("{}.yaml", numbers.start));
        let text: Vec<String> = numbers.map(document).collect();
        std::fs::write(&file, text.join("---\n")).expect("a temporary file");
        file.to_str().expect("UTF-8").to_owned()
    });
    control_plane.mesh(&["apply", "-f", &halves[0], "-f", &halves[1]]).success();
    let mesh = control_plane.join(&["--service-account", "caller"]).await;
    let status = async |path: &str| {
        let request = http::Request::get(format!("http://big:9080{path}"));
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).expect("a request");
        let response = mesh_client::MeshClient::new(&mesh).oneshot(request).await.expect("never fails");
        response.status().as_u16()
    };
    // A control plane that is not optimised publishes so much after it has answered.
    let published = tokio::time::timeout(Duration::from_secs(60), async {
        while status("/p100000").await != 404 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    published.await.expect("no route takes what is beyond the last one");
    let before = served.echo.requests();
    assert_eq!([status("/p0").await, status("/p99999").await], [200, 200]);
    assert_eq!(served.echo.requests(), before + 2);
}

#[test]
fn a_trust_domain_that_the_mesh_does_not_have_is_told_of() {
    let control_plane = ControlPlane::of_trust_domain("mesh.example");
    let apply = |spec: &str| {
        let file = control_plane.scratch().join("settings.yaml");
        let head = "apiVersion: proxyless.mesh/v1alpha1\nkind: MeshSettings\nmetadata: {name: mesh}\n";
        std::fs::write(&file, format!("{head}spec: {spec}\n")).expect("a temporary file");
        control_plane.mesh(&["apply", "-f", file.to_str().expect("temporary paths are UTF-8")])
    };
    for taken in ["{trustDomain: mesh.example}", "{rootNamespace: root}"] {
        let said = apply(taken);
        assert_eq!(said.code, Some(0), "{taken}: {}", said.stderr);
    }
    let said = apply("{trustDomain: cluster.local}");
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    for part in ["settings.yaml:4", "spec.trustDomain", "started for `mesh.example`", "remove the field"] {
        assert!(said.stderr.contains(part), "{part} in\n{}", said.stderr);
    }
}

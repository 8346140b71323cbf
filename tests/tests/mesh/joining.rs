//! Who may not join: each is refused, the operator is told why, the caller learns nothing useful.

use std::time::Duration;

use mesh_core::Mesh;
use mesh_core::join::JoinString;
use mesh_tests::{ControlPlane, wait};

const SERVICE: [&str; 2] = ["--service", "echo:9080"];

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_used_up_expired_or_ended_joins_nobody() {
    let control_plane = ControlPlane::start();

    let mut wrong = parse(&control_plane.token(&SERVICE));
    let other = parse(&control_plane.token(&SERVICE));
    wrong.token.secret = other.token.secret;
    let told = refused(&control_plane, &wrong, "secret").await;

    let once = control_plane.token(&["--service", "echo:9080", "--uses", "1"]);
    join(&once).await.expect("the first use");
    assert_eq!(refused(&control_plane, &parse(&once), "as often as it may").await, told);

    let brief = control_plane.token(&["--service", "echo:9080", "--ttl", "1s"]);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(refused(&control_plane, &parse(&brief), "expired").await, told);

    let ended = parse(&control_plane.token(&SERVICE));
    control_plane.mesh(&["token", "revoke", ended.token.id.as_str()]).success();
    assert_eq!(refused(&control_plane, &ended, "there is no token").await, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_under_another_root_gets_no_token() {
    let (meant, other) = (ControlPlane::start(), ControlPlane::start());
    let mut misled = parse(&meant.token(&SERVICE));
    misled.addresses = parse(&other.token(&SERVICE)).addresses;
    let problem = join(&misled.encode().expect("a join string")).await.expect_err("another root").to_string();
    assert!(problem.contains("root"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_use_a_token_as_often_as_it_says() {
    let control_plane = ControlPlane::start();
    let token = control_plane.token(&["--service", "echo:9080", "--uses", "3"]);
    let attempts: Vec<_> = (0..100)
        .map(|_| {
            let token = token.clone();
            tokio::spawn(async move { join(&token).await.is_ok() })
        })
        .collect();
    let mut joined = 0;
    for attempt in attempts {
        joined += u32::from(attempt.await.expect("no panic"));
    }
    assert_eq!(joined, 3);
}

async fn join(text: &str) -> Result<Mesh, mesh_core::mesh::StartError> {
    Mesh::builder(text).save_nothing().start().await
}

/// The caller is told that it was refused and what to do, in the same words whatever the reason, which stands in the control
/// plane's log alone. Returns these words.
async fn refused(control_plane: &ControlPlane, join_string: &JoinString, reason: &str) -> String {
    let problem = join(&join_string.encode().expect("a join string")).await.expect_err(reason).to_string();
    assert!(problem.contains("mesh token create"), "the next step is missing: {problem}");
    let id = join_string.token.id.as_str();
    wait::until(&format!("a log line about token {id}: {reason}"), Duration::from_secs(5), || {
        control_plane
            .output()
            .lines()
            .find(|line| line.contains(id) && line.contains(reason))
            .map(str::to_owned)
    });
    problem
}

fn parse(text: &str) -> JoinString {
    JoinString::parse(text).expect("`mesh token create` prints a join string")
}

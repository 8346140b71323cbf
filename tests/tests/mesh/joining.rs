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
    let once = parse(&meant.token(&["--service", "echo:9080", "--uses", "1"]));
    let elsewhere = parse(&other.token(&SERVICE));
    // The right fingerprint and another control plane's addresses; the right addresses and another's fingerprint.
    let misled = JoinString { addresses: elsewhere.addresses, ..once.clone() };
    let mistaken = JoinString { root: elsewhere.root, ..once.clone() };
    for (met, join_string) in [(&other, misled), (&meant, mistaken)] {
        let text = join_string.encode().expect("a join string");
        let problem = join(&text).await.expect_err("another root").to_string();
        for word in ["fingerprint", &join_string.root.to_string(), "mesh token create"] {
            assert!(problem.contains(word), "`{word}` is missing: {problem}");
        }
        said(met, "a connection that was given up", &["refused a connection", "alert"]);
    }
    join(&once.encode().expect("a join string")).await.expect("nobody has used the token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_join_string_is_told_from_a_refused_one() {
    let control_plane = ControlPlane::start();
    let whole = control_plane.token(&SERVICE);
    let mistyped = whole.replacen(char::is_numeric, "x", 2);
    for (text, word) in [
        (&whole[..whole.len() - 1], "copy the whole line"),
        (&whole[..whole.len() / 2], "copy the whole line"),
        (&*mistyped.replacen("meshx", "mesh1", 1), "copy the whole line"),
        (&*whole.replacen("mesh1", "mesh9", 1), "version"),
        ("let-me-in", "mesh token create"),
    ] {
        let problem = join(text).await.expect_err(word).to_string();
        assert!(problem.contains(word) && !problem.contains(text), "`{word}` is missing: {problem}");
    }
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
    said(control_plane, &format!("a line about token {id}"), &[id, reason]);
    problem
}

/// Waits for a line of the control plane's log that holds all of `words`.
fn said(control_plane: &ControlPlane, what: &str, words: &[&str]) {
    wait::until(&format!("{what}: {words:?}"), Duration::from_secs(5), || {
        let output = control_plane.output();
        output.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

fn parse(text: &str) -> JoinString {
    JoinString::parse(text).expect("`mesh token create` prints a join string")
}

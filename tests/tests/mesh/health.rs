//! Health: instances that say themselves whether they want requests.

use std::time::{Duration, Instant};

use mesh_client::MeshChannel;
use mesh_core::Mesh;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use mesh_tests::{ControlPlane, Echo, Served};

/// How long a change may take to reach a caller on a busy machine; it is there within milliseconds on an idle one.
const SOON: Duration = Duration::from_secs(10);
/// So many calls go to one of two alone by chance once in 2⁴⁰ times.
const CALLS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_not_ready_gets_no_requests() {
    let mut control_plane = ControlPlane::start();
    let token = ["--service", "echo:9080"];
    let (one, two) = (control_plane.join(&token).await, control_plane.join(&token).await);
    let _one = Served::start(&one, Echo::new("one")).await;
    two.readiness().set(false);
    let served = Served::start(&two, Echo::new("two")).await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;

    answered_by(&caller, &["one"]).await;
    assert_eq!(served.echo.requests(), 0, "it was not ready before it served");
    let changed = Instant::now();
    two.readiness().set(true);
    answered_by(&caller, &["one", "two"]).await;
    two.readiness().set(false);
    answered_by(&caller, &["one"]).await;
    println!("there and back within {:?}", changed.elapsed());

    control_plane.restart();
    one.readiness().set(false);
    answered_by(&caller, &[]).await;
    let states = control_plane.mesh(&["status"]).success().matches("not ready").count();
    assert_eq!(states, 2, "both are known, as they were and as they became");
    one.readiness().set(true);
    answered_by(&caller, &["one"]).await;
}

/// Calls until so many calls in a row are answered by these and nobody else.
async fn answered_by(caller: &Mesh, names: &[&str]) {
    let mut client = EchoClient::new(MeshChannel::new(caller, "echo:9080"));
    let start = Instant::now();
    loop {
        let mut seen = Vec::new();
        for _ in 0..CALLS {
            if let Ok(answer) = client.unary(Message::default()).await {
                seen.push(answer.into_inner().text);
            }
        }
        seen.sort();
        seen.dedup();
        if seen == names {
            return;
        }
        assert!(start.elapsed() < SOON, "{seen:?} answer, and not {names:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! The stream over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::control_plane::Script;
use super::process::{Process, patiently};
use super::wire::{endpoints, host, named_host};
use crate::resource::ResourceType;
use crate::saved::{SavedState, StateLocation};

#[tokio::test]
async fn a_host_comes_whole_and_follows_its_endpoints() {
    let script = Script::default();
    script.set(host("a", 1));
    let control_plane = script.start(0);
    let process = Process::start(control_plane.connect());
    process.view.demand.want("a:80").unwrap();
    process.has("a:80", &[1]).await;
    script.set([endpoints("a", 2)]);
    process.has("a:80", &[2]).await;
    script.remove(ResourceType::Listener, "a:80");
    process.has("a:80", &[]).await;
}

#[tokio::test]
async fn a_host_whose_endpoints_never_come_is_named_and_holds_up_no_other() {
    let script = Script::default();
    script.set(host("a", 1));
    script.set(host("b", 1));
    script.silence(ResourceType::Endpoints, "b");
    let control_plane = script.start(0);
    let process = Process::start(control_plane.connect());
    process.view.demand.want("b:80").unwrap();
    process.view.demand.want("a:80").unwrap();
    process.has("a:80", &[1]).await;
    patiently("what is missing", || process.view.demand.missing("b:80") == ["endpoints `b`"]).await;
    script.set([endpoints("a", 2)]);
    process.has("a:80", &[2]).await;
    assert_eq!(process.ports("b:80"), None);
}

#[tokio::test]
async fn a_bad_resource_is_refused_by_name_and_the_last_good_one_stays() {
    let script = Script::default();
    script.set(host("a", 1));
    script.set(host("b", 1));
    let control_plane = script.start(0);
    let process = Process::start(control_plane.connect());
    process.view.demand.want("a:80").unwrap();
    process.view.demand.want("b:80").unwrap();
    process.has("b:80", &[1]).await;
    script.set([endpoints("a", 0), endpoints("b", 2)]);
    process.has("b:80", &[2]).await;
    let named = |error: &str| error.contains("endpoints `a`") && error.contains("load_balancing_weight");
    let refusal = |heard: &super::control_plane::Heard| {
        heard.requests.iter().any(|request| request.error_detail.as_ref().is_some_and(|e| named(&e.message)))
    };
    script.hears(refusal).await;
    assert_eq!(process.ports("a:80").unwrap(), [1]);
    script.set([endpoints("a", 3)]);
    process.has("a:80", &[3]).await;
}

#[tokio::test]
async fn without_its_control_plane_a_process_keeps_what_it_has_and_catches_up_after() {
    let script = Script::default();
    script.set(host("a", 1));
    let control_plane = script.start(0);
    let (connect, port) = (control_plane.connect(), control_plane.address.port());
    let made = Arc::new(AtomicUsize::new(0));
    let counting = {
        let made = made.clone();
        move || {
            made.fetch_add(1, Ordering::SeqCst);
            connect()
        }
    };
    let process = Process::start(counting);
    process.view.demand.want("a:80").unwrap();
    process.has("a:80", &[1]).await;
    drop(control_plane);
    process.is_away().await;
    assert_eq!(process.ports("a:80").unwrap(), [1]);
    script.set([endpoints("a", 2)]);
    let before = script.heard().requests.len();
    let _control_plane = script.start(port);
    process.has("a:80", &[2]).await;
    let first = script.heard().requests.into_iter().skip(before);
    let held: usize = first.map(|request| request.initial_resource_versions.len()).sum();
    assert!(made.load(Ordering::SeqCst) > 1, "a new connection, which shows the certificate of now");
    assert_eq!(held, 4, "it says what it has, so that only what changed is sent");
}

#[tokio::test]
async fn a_restart_begins_with_what_was_saved_and_is_then_corrected() {
    let directory = tempfile::tempdir().unwrap();
    let location = StateLocation::Directory(directory.path().join("state"));
    let open = || Arc::new(SavedState::open(&location, "test").unwrap());
    let script = Script::default();
    script.set(host("a", 1));
    let control_plane = script.start(0);
    let port = control_plane.address.port();
    let idle = Duration::from_secs(600);
    {
        let process = Process::start_with(control_plane.connect(), open(), idle);
        process.view.demand.want("a:80").unwrap();
        process.view.demand.want("nowhere:80").unwrap();
        process.has("a:80", &[1]).await;
        process.has("nowhere:80", &[]).await;
        let saved = directory.path().join("state/test/0/config");
        patiently("the configuration is saved", || saved.exists()).await;
    }
    let connect = control_plane.connect();
    drop(control_plane);
    // The first process lets go of its slot once its stream has ended.
    tokio::task::yield_now().await;
    let process = Process::start_with(connect, open(), idle);
    assert_eq!(process.ports("a:80"), Some(vec![1]), "at once, and without a control plane");
    assert_eq!(process.ports("nowhere:80"), Some(vec![]), "that a host is not in the mesh is known as well");
    script.set([endpoints("a", 2)]);
    let _control_plane = script.start(port);
    process.has("a:80", &[2]).await;
}

#[tokio::test]
async fn names_are_looked_up_also_where_only_what_was_saved_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let location = StateLocation::Directory(directory.path().join("state"));
    let open = || Arc::new(SavedState::open(&location, "test").unwrap());
    let script = Script::default();
    script.set(named_host("n", "localhost"));
    let control_plane = script.start(0);
    // The system may know two addresses of it.
    let found = |process: &Process| process.ports("n:80").is_some_and(|ports| ports.contains(&80));
    let idle = Duration::from_secs(600);
    {
        let process = Process::start_with(control_plane.connect(), open(), idle);
        process.view.demand.want("n:80").unwrap();
        patiently("the name is found", || found(&process)).await;
        let saved = directory.path().join("state/test/0/config");
        patiently("the configuration is saved", || saved.exists()).await;
    }
    let connect = control_plane.connect();
    drop(control_plane);
    // The first process lets go of its slot once its stream has ended.
    tokio::task::yield_now().await;
    let process = Process::start_with(connect, open(), idle);
    patiently("the name is found without a control plane", || found(&process)).await;
}

#[tokio::test]
async fn a_host_that_nobody_calls_is_given_up() {
    let script = Script::default();
    script.set(host("a", 1));
    script.set(host("b", 1));
    let control_plane = script.start(0);
    let idle = Duration::from_millis(300);
    let process = Process::start_with(control_plane.connect(), Arc::new(SavedState::off()), idle);
    process.view.demand.want("a:80").unwrap();
    process.view.demand.want("b:80").unwrap();
    patiently("b is given up", || {
        process.view.demand.mark("a:80");
        process.ports("b:80").is_none() && process.ports("a:80").is_some()
    })
    .await;
    script
        .hears(|heard| {
            heard.requests.iter().any(|one| one.resource_names_unsubscribe.contains(&"b:80".to_owned()))
        })
        .await;
}

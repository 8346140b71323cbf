//! Resolving and registering, against the control plane of `ads`' tests; and what a mesh without one does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::registrar::Registrar;
use super::registration::{Kept, RegistrationTable};
use super::*;
use crate::ads::LinkState;
use crate::ads::tests::{Heard, Process, Script, endpoints, host, patiently};
use crate::resource::ResourceType;

fn dialled(text: &str) -> HostPort {
    HostPort::parse(text, 80).unwrap()
}

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_first_call_waits_for_its_configuration_and_is_told_what_is_missing() {
    let script = Script::default();
    script.set(host("a", 1));
    script.set(host("b", 1));
    script.silence(ResourceType::Endpoints, "b");
    let control_plane = script.start(0);
    let process = Process::start(control_plane.connect());
    let ready = resolve::resolve(&process.view, &dialled("a"), LONG).await;
    assert!(matches!(ready, Ok(HostState::Ready(_))), "{ready:?}");
    let absent = resolve::resolve(&process.view, &dialled("nowhere"), LONG).await;
    assert!(matches!(absent, Ok(HostState::Absent)), "{absent:?}");
    patiently("b is all but there", || {
        process.view.demand.want("b:80").unwrap();
        process.view.demand.missing("b:80") == ["endpoints `b`"]
    })
    .await;
    let error = resolve::resolve(&process.view, &dialled("b"), SOON).await.unwrap_err();
    let expected = "b:80: configuration did not arrive within 50 ms; still missing: endpoints `b`";
    assert_eq!(error.to_string(), expected);
    drop(control_plane);
    process.is_away().await;
    let error = resolve::resolve(&process.view, &dialled("c"), SOON).await.unwrap_err();
    assert!(matches!(error, ResolveError::Unreachable { .. }), "{error}");
    assert!(resolve::resolve(&process.view, &dialled("a"), SOON).await.is_ok(), "what is known stays known");
}

#[tokio::test]
async fn hosts_whose_pieces_never_come_fail_by_name_at_their_deadline_while_another_changes() {
    let script = Script::default();
    script.delay(Duration::from_millis(30));
    script.set(host("a", 1));
    let silent = [
        ("b", ResourceType::Endpoints, "endpoints `b`"),
        ("c", ResourceType::Cluster, "cluster `c`"),
        ("d", ResourceType::RouteConfiguration, "route configuration `d`"),
        ("e", ResourceType::Listener, "listener `e:80`"),
    ];
    for (name, kind, _) in silent {
        script.set(host(name, 1));
        script.silence(kind, if kind == ResourceType::Listener { "e:80" } else { name });
    }
    let control_plane = script.start(0);
    let process = Process::start(control_plane.connect());
    let first_call = |name: &'static str| {
        let view = process.view.clone();
        tokio::spawn(async move {
            let start = Instant::now();
            let outcome = resolve::resolve(&view, &dialled(name), DEADLINE).await;
            (outcome.unwrap_err().to_string(), start.elapsed())
        })
    };
    let waiting = silent.map(|(name, _, missing)| (first_call(name), name, missing));
    let ready = resolve::resolve(&process.view, &dialled("a"), LONG).await;
    assert!(matches!(ready, Ok(HostState::Ready(_))), "{ready:?}");
    patiently("all that is not silent is there", || {
        silent.iter().all(|(name, _, piece)| process.view.demand.missing(&format!("{name}:80")) == [*piece])
    })
    .await;
    script.set([endpoints("a", 2)]);
    process.has("a:80", &[2]).await;
    assert!(waiting.iter().all(|(call, ..)| !call.is_finished()), "not before the deadline");

    // From here on nothing comes: what is left of the wait is passed over, and when each call ended is exact.
    tokio::time::pause();
    for (call, name, missing) in waiting {
        let (error, waited) = call.await.unwrap();
        let expected =
            format!("{name}:80: configuration did not arrive within 10000 ms; still missing: {missing}");
        assert_eq!(error, expected);
        assert!(waited >= DEADLINE && waited < DEADLINE + Duration::from_millis(100), "{name}: {waited:?}");
    }
    tokio::time::resume();
    script.set([endpoints("a", 3)]);
    process.has("a:80", &[3]).await;
    assert!(silent.iter().all(|(name, ..)| process.ports(&format!("{name}:80")).is_none()));
}

#[tokio::test]
async fn without_a_mesh_every_host_is_outside_and_nobody_waits() {
    let mesh = Mesh::off();
    assert_eq!(mesh.membership(), Membership::Off);
    assert!(matches!(mesh.resolve(&dialled("a"), LONG).await, Ok(HostState::Absent)));
    assert!(mesh.identity().is_none());
    let registration = mesh.register(port("a"));
    registration.registered().await.unwrap();
    registration.withdraw().await;
}

#[tokio::test]
async fn each_mesh_has_its_own_runtime_states() {
    let (one, other) = (Mesh::off(), Mesh::off());
    assert_eq!(*one.runtime(|| 1_u32), 1);
    assert_eq!(*one.clone().runtime(|| 2_u32), 1);
    assert_eq!(*other.runtime(|| 2_u32), 2);
}

fn port(service: &str) -> ServingPort {
    ServingPort {
        service: Some(ServiceName { name: service.into(), port: 80 }),
        workload_port: 8080,
        advertised_address: None,
    }
}

/// A table and the registrar that keeps it.
struct Registering {
    table: Arc<RegistrationTable>,
    task: JoinHandle<()>,
}

impl Drop for Registering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn registering(view: &View, channel: Channel) -> Registering {
    let table = Arc::new(RegistrationTable::new(Kept::ByRegistrar));
    let mut registrar = Registrar { table: table.clone(), links: view.links(), instance: "one".into() };
    let channels = watch::Sender::new(channel).subscribe();
    Registering { table, task: tokio::spawn(async move { registrar.run(channels).await }) }
}

#[tokio::test]
async fn a_port_is_registered_renewed_drained_and_withdrawn() {
    let script = Script::default();
    let control_plane = script.start(0);
    let view = View::new(Snapshot::default(), 1);
    let registering = registering(&view, control_plane.channel());
    let registration = registering.table.add(port("a"));
    assert_eq!(registration.state(), RegistrationState::Pending);
    view.set_link(LinkState::Connected);
    registration.registered().await.unwrap();
    script.hears(|heard| heard.registered.len() >= 3).await;
    assert!(
        script.heard().registered.iter().all(|request| request.instance_id == "one" && !request.draining)
    );
    registering.table.set_ready(false);
    script.hears(|heard| heard.registered.last().is_some_and(|request| request.not_ready)).await;
    registration.drain();
    script.hears(|heard| heard.registered.last().is_some_and(|request| request.draining)).await;
    registration.withdraw().await;
    assert_eq!(script.heard().deregistered, 1);
}

#[tokio::test]
async fn a_control_plane_that_was_restarted_is_told_at_once() {
    let script = Script::default();
    let control_plane = script.start(0);
    let view = View::new(Snapshot::default(), 1);
    let registering = registering(&view, control_plane.channel());
    view.set_link(LinkState::Connected);
    let registration = registering.table.add(port("with-a-long-lease"));
    registration.registered().await.unwrap();
    view.set_link(LinkState::Away("test".into()));
    view.set_link(LinkState::Connected);
    script.hears(|heard: &Heard| heard.registered.len() == 2).await;
}

#[tokio::test]
async fn a_refused_registration_says_why() {
    let script = Script::default();
    let control_plane = script.start(0);
    let view = View::new(Snapshot::default(), 1);
    let registering = registering(&view, control_plane.channel());
    view.set_link(LinkState::Connected);
    let registration = registering.table.add(port("foreign"));
    let reason = registration.registered().await.unwrap_err();
    assert_eq!(&*reason, "its grant does not name `foreign`");
}

//! A port on which this process serves, made known to the mesh for as long as the value lives.
//!
//! All registrations of a process go to the control plane as one instance, whole each time, so that a restarted control
//! plane needs no history.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::proto::registry;

/// A port that this process serves on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingPort {
    /// The service and its port, as callers name them; `None`: the one that the grant says, by the workload port where the
    /// grant has several.
    pub service: Option<ServiceName>,
    /// The port that this process listens on.
    pub workload_port: u16,
    /// The address that callers dial; `None`: the local address of the connection to the control plane.
    pub advertised_address: Option<IpAddr>,
}

/// A service's name and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// `reviews` or `reviews.default.svc.cluster.local`.
    pub name: String,
    /// The port that callers name.
    pub port: u16,
}

/// How a registration fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationState {
    /// Not yet acknowledged.
    Pending,
    /// The control plane knows the port.
    Registered,
    /// The control plane refused it, for this reason; it is asked again at times.
    Refused(Arc<str>),
}

/// Keeps a port registered; dropping it withdraws the port.
#[derive(Debug)]
pub struct Registration {
    table: Arc<RegistrationTable>,
    id: u64,
}

impl Registration {
    /// Tells the mesh that the port takes no new calls, and keeps it known for those under way.
    pub fn drain(&self) {
        self.table.change(|ports| {
            if let Some(entry) = ports.entries.iter_mut().find(|entry| entry.id == self.id) {
                entry.draining = true;
            }
        });
    }

    /// How the registration fares now.
    pub fn state(&self) -> RegistrationState {
        self.table.state.borrow().clone()
    }

    /// Withdraws the port, as dropping does, and waits until the control plane knows, though not long: while it is away its
    /// lease ends the registration.
    pub async fn withdraw(self) {
        let table = Arc::clone(&self.table);
        drop(self);
        let mut state = table.state.subscribe();
        let settled = state.wait_for(|state| *state != RegistrationState::Pending);
        // A refusal is an answer as well, and nothing is left to be done without one.
        let _ = tokio::time::timeout(WITHDRAW_MAX, settled).await;
    }

    /// Waits until the control plane knows this process's ports.
    ///
    /// # Errors
    /// The control plane's reason, once it has refused.
    pub async fn registered(&self) -> Result<(), Arc<str>> {
        let mut state = self.table.state.subscribe();
        let settled = state.wait_for(|state| *state != RegistrationState::Pending).await;
        match settled.as_deref() {
            Ok(RegistrationState::Refused(reason)) => Err(reason.clone()),
            _ => Ok(()),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.table.change(|ports| ports.entries.retain(|entry| entry.id != self.id));
    }
}

/// What is registered, shared with the task that keeps it so.
#[derive(Debug)]
pub(super) struct RegistrationTable {
    ports: Mutex<Ports>,
    state: watch::Sender<RegistrationState>,
    changed: watch::Sender<()>,
    kept: Kept,
}

/// Whether anybody tells the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// A registrar does.
    ByRegistrar,
    /// There is no control plane: every registration is as good as made.
    ByNobody,
}

#[derive(Debug, Default)]
struct Ports {
    next_id: u64,
    entries: Vec<Entry>,
    not_ready: bool,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    port: ServingPort,
    draining: bool,
}

/// What the instance looks like at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registered {
    pub(super) ports: Vec<registry::ServingPort>,
    pub(super) draining: bool,
    pub(super) ready: bool,
}

impl RegistrationTable {
    pub(super) fn new(kept: Kept) -> Self {
        let state = watch::Sender::new(RegistrationState::Registered);
        Self { ports: Mutex::default(), state, changed: watch::Sender::new(()), kept }
    }

    pub(super) fn add(self: &Arc<Self>, port: ServingPort) -> Registration {
        let id = self.change(|ports| {
            ports.next_id += 1;
            ports.entries.push(Entry { id: ports.next_id, port, draining: false });
            ports.next_id
        });
        Registration { table: self.clone(), id }
    }

    /// The ports as they are to be registered. The wire knows draining for the whole instance only: while one port still
    /// takes calls, one that drains is left out, which ends new calls just as well.
    pub(super) fn registered(&self) -> Registered {
        let ports = self.lock();
        let draining = !ports.entries.is_empty() && ports.entries.iter().all(|entry| entry.draining);
        let kept = ports.entries.iter().filter(|entry| draining || !entry.draining);
        let ready = !ports.not_ready;
        Registered { ports: kept.map(|entry| wire(&entry.port)).collect(), draining, ready }
    }

    /// Says whether the process wants requests.
    pub(super) fn set_ready(&self, ready: bool) {
        if self.lock().not_ready == ready {
            self.change(|ports| ports.not_ready = !ready);
        }
    }

    /// Notes how `registered` fared, unless it has been overtaken.
    pub(super) fn settle(&self, registered: &Registered, state: RegistrationState) {
        if self.registered() == *registered {
            self.state.send_replace(state);
        }
    }

    /// Wakes when a port comes, goes or drains, or readiness changes.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Ports) -> T) -> T {
        let result = change(&mut self.lock());
        if self.kept == Kept::ByRegistrar {
            self.state.send_replace(RegistrationState::Pending);
        }
        self.changed.send_replace(());
        result
    }

    fn lock(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wire(port: &ServingPort) -> registry::ServingPort {
    registry::ServingPort {
        service: port.service.as_ref().map(|service| service.name.clone()).unwrap_or_default(),
        service_port: port.service.as_ref().map_or(0, |service| service.port.into()),
        workload_port: port.workload_port.into(),
        // Empty: the control plane takes the address that the registration came from.
        advertised_address: port.advertised_address.map(|address| address.to_string()).unwrap_or_default(),
    }
}

/// How long a withdrawal waits for the control plane.
const WITHDRAW_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn port(workload_port: u16) -> ServingPort {
        ServingPort { service: None, workload_port, advertised_address: Some(IpAddr::from([127, 0, 0, 1])) }
    }

    fn check(table: &RegistrationTable, ports: &[u32], draining: bool) {
        let registered = table.registered();
        let seen: Vec<u32> = registered.ports.iter().map(|port| port.workload_port).collect();
        assert_eq!((seen.as_slice(), registered.draining), (ports, draining));
    }

    #[test]
    fn an_instance_drains_when_its_last_port_drains() {
        let table = Arc::new(RegistrationTable::new(Kept::ByRegistrar));
        check(&table, &[], false);
        let a = table.add(port(1));
        let b = table.add(port(2));
        check(&table, &[1, 2], false);
        a.drain();
        check(&table, &[2], false);
        b.drain();
        check(&table, &[1, 2], true);
        drop(a);
        check(&table, &[2], true);
        drop(b);
        check(&table, &[], false);
    }

    #[test]
    fn readiness_is_told_when_it_changes() {
        let table = Arc::new(RegistrationTable::new(Kept::ByRegistrar));
        let mut changes = table.changes();
        let mut told = |ready| {
            table.set_ready(ready);
            let told = changes.has_changed().expect("the table is there");
            changes.mark_unchanged();
            (told, table.registered().ready)
        };
        assert_eq!(
            [true, false, false, true].map(&mut told),
            [(false, true), (true, false), (false, false), (true, true)]
        );
    }
}

//! What this process wants configuration for: the hosts it calls, as it calls them, and the addresses it serves on.
//!
//! Hosts are wanted on demand and forgotten when unused; every lookup of a known host marks it used, which must cost the
//! request path neither lock nor allocation: the table is swapped whole, a mark is one relaxed store.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

/// The wishes of one process.
#[derive(Debug)]
pub(crate) struct Demand {
    hosts: ArcSwap<HashMap<Arc<str>, Arc<HostDemand>>>,
    hosts_max: usize,
    inbound: Mutex<BTreeMap<Arc<str>, InboundDemand>>,
    changed: Notify,
}

/// One host that somebody called.
#[derive(Debug, Default)]
struct HostDemand {
    used: AtomicBool,
    missing: Mutex<Vec<String>>,
}

/// One address that something listens on, or did.
#[derive(Debug, Default)]
struct InboundDemand {
    holders: usize,
    used: bool,
}

/// More hosts are wanted at a time than the process may subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyHosts {
    pub(crate) hosts_max: usize,
}

impl Demand {
    pub(crate) fn new(hosts_max: usize) -> Self {
        Self { hosts: ArcSwap::default(), hosts_max, inbound: Mutex::default(), changed: Notify::new() }
    }

    /// Marks a host used, where it is wanted; never waits.
    pub(crate) fn mark(&self, host: &str) {
        if let Some(demand) = self.hosts.load().get(host) {
            // Reading first keeps the cache line shared among the cores that call the same host.
            if !demand.used.load(Ordering::Relaxed) {
                demand.used.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Wants a host from now on.
    pub(crate) fn want(&self, host: &str) -> Result<(), TooManyHosts> {
        if self.hosts.load().contains_key(host) {
            self.mark(host);
            return Ok(());
        }
        let mut full = false;
        self.hosts.rcu(|hosts| {
            full = hosts.len() >= self.hosts_max && !hosts.contains_key(host);
            let mut hosts = HashMap::clone(hosts);
            if !full {
                hosts.entry(host.into()).or_insert_with(|| {
                    Arc::new(HostDemand { used: AtomicBool::new(true), ..HostDemand::default() })
                });
            }
            hosts
        });
        if full {
            return Err(TooManyHosts { hosts_max: self.hosts_max });
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Wants an inbound listener; as often as it is wanted it must be unwanted.
    pub(crate) fn want_inbound(&self, name: &Arc<str>) {
        let mut table = self.inbound_table();
        let demand = table.entry(name.clone()).or_default();
        demand.holders += 1;
        demand.used = true;
        drop(table);
        self.changed.notify_one();
    }

    /// Holds it no longer. It stays wanted for a while: a process that ends saves its policy for the next run, which may have
    /// to come up without a control plane.
    pub(crate) fn unwant_inbound(&self, name: &str) {
        if let Some(demand) = self.inbound_table().get_mut(name) {
            demand.holders -= 1;
        }
    }

    /// Wants for a while what the last run listened on, until this one does.
    pub(crate) fn restore_inbound(&self, name: &Arc<str>) {
        self.inbound_table().entry(name.clone()).or_default().used = true;
    }

    /// Forgets the hosts that nobody used and the listeners that nobody held since the last call.
    pub(crate) fn sweep(&self) {
        self.sweep_hosts();
        self.inbound_table().retain(|_, demand| {
            let used = std::mem::replace(&mut demand.used, demand.holders > 0);
            used || demand.holders > 0
        });
        self.changed.notify_one();
    }

    fn sweep_hosts(&self) {
        let unused: Vec<Arc<str>> = self
            .hosts
            .load()
            .iter()
            .filter(|(_, demand)| !demand.used.swap(false, Ordering::Relaxed))
            .map(|(host, _)| host.clone())
            .collect();
        if unused.is_empty() {
            return;
        }
        self.hosts.rcu(|hosts| {
            let mut hosts = HashMap::clone(hosts);
            // A host that was called since is kept.
            unused.iter().for_each(|host| {
                if hosts.get(host).is_some_and(|demand| !demand.used.load(Ordering::Relaxed)) {
                    hosts.remove(host);
                }
            });
            hosts
        });
    }

    /// The hosts wanted now.
    pub(crate) fn hosts(&self) -> Vec<Arc<str>> {
        self.hosts.load().keys().cloned().collect()
    }

    /// The inbound listeners wanted now.
    pub(crate) fn inbound(&self) -> Vec<Arc<str>> {
        self.inbound_table().keys().cloned().collect()
    }

    /// Waits until something is wanted or unwanted; a change before the call counts.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Notes which resources a host still waits for.
    pub(crate) fn set_missing(&self, host: &str, missing: Vec<String>) {
        if let Some(demand) = self.hosts.load().get(host) {
            *lock(&demand.missing) = missing;
        }
    }

    /// The resources that a host still waits for, as far as they are known.
    pub(crate) fn missing(&self, host: &str) -> Vec<String> {
        self.hosts.load().get(host).map(|demand| lock(&demand.missing).clone()).unwrap_or_default()
    }

    fn inbound_table(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, InboundDemand>> {
        lock(&self.inbound)
    }
}

/// A panic of another holder leaves these tables whole: every change to them is one statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_host_is_forgotten_at_the_second_sweep() {
        let demand = Demand::new(10);
        demand.want("a:80").unwrap();
        demand.want("b:80").unwrap();
        demand.sweep();
        assert_eq!(demand.hosts().len(), 2, "both were used since they were wanted");
        demand.mark("a:80");
        demand.sweep();
        assert_eq!(demand.hosts(), [Arc::from("a:80")]);
    }

    #[test]
    fn hosts_have_a_limit() {
        let demand = Demand::new(1);
        demand.want("a:80").unwrap();
        demand.want("a:80").unwrap();
        assert_eq!(demand.want("b:80"), Err(TooManyHosts { hosts_max: 1 }));
    }

    #[test]
    fn an_inbound_listener_is_wanted_as_often_as_it_was_wanted() {
        let demand = Demand::new(1);
        let name = Arc::from("inbound/127.0.0.1:80");
        demand.want_inbound(&name);
        demand.want_inbound(&name);
        demand.unwant_inbound(&name);
        demand.sweep();
        demand.sweep();
        assert_eq!(demand.inbound(), std::slice::from_ref(&name));
        demand.unwant_inbound(&name);
        demand.sweep();
        assert_eq!(demand.inbound(), [name], "it was held since the sweep before");
        demand.sweep();
        assert!(demand.inbound().is_empty());
    }

    #[test]
    fn what_the_last_run_listened_on_is_wanted_until_the_second_sweep() {
        let demand = Demand::new(1);
        let (first, second) = (Arc::from("inbound/127.0.0.1:80"), Arc::from("inbound/127.0.0.1:81"));
        demand.restore_inbound(&first);
        demand.restore_inbound(&second);
        demand.sweep();
        assert_eq!(demand.inbound(), [first.clone(), second]);
        demand.want_inbound(&first);
        demand.sweep();
        assert_eq!(demand.inbound(), [first]);
    }
}

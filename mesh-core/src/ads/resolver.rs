//! Names looked up in the background, for as long as a cluster needs them.
//!
//! It belongs to whoever keeps the configuration, and ends with it. The system's look-up tells no time to live, so that each
//! name has a time after which it is asked again; a failed one is asked sooner.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::network::Network;
use crate::snapshot::Answer;

/// Looks names up, again and again.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    network: Network,
    names: BTreeMap<Arc<str>, Name>,
    under_way: JoinSet<(Arc<str>, Answer)>,
}

#[derive(Debug)]
struct Name {
    refresh: Duration,
    /// When it is to be looked up; not while it is.
    due: Option<Instant>,
    /// Whether the last look-up failed, which is said once.
    failing: bool,
}

impl Resolver {
    /// Looks up exactly these names from now on, each as often as it says.
    pub(crate) fn follow(&mut self, wanted: BTreeMap<Arc<str>, Duration>) {
        self.names.retain(|name, _| wanted.contains_key(name));
        for (name, refresh) in wanted {
            let due = Some(Instant::now());
            self.names.entry(name).or_insert(Name { refresh, due, failing: false }).refresh = refresh;
        }
    }

    /// Waits for the next answer. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> (Arc<str>, Answer) {
        loop {
            self.begin();
            let due = self.names.values().filter_map(|name| name.due).min();
            let due = due.filter(|_| self.under_way.len() < LOOKUPS_MAX);
            tokio::select! {
                Some(done) = self.under_way.join_next() => {
                    // One that was given up meanwhile has nobody to tell.
                    let Ok((name, answer)) = done else { continue };
                    let Some(entry) = self.names.get_mut(&name) else { continue };
                    entry.answered(&answer);
                    return (name, answer);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                else => pending::<()>().await,
            }
        }
    }

    /// Begins what is due, as far as there is room.
    fn begin(&mut self) {
        let now = Instant::now();
        for (name, entry) in &mut self.names {
            if self.under_way.len() >= LOOKUPS_MAX {
                return;
            }
            if entry.due.is_some_and(|due| due <= now) {
                entry.due = None;
                let (network, name) = (self.network.clone(), Arc::clone(name));
                self.under_way.spawn(async move {
                    let answer = look_up(&network, &name).await;
                    (name, answer)
                });
            }
        }
    }
}

impl Name {
    fn answered(&mut self, answer: &Answer) {
        let wait = if answer.is_ok() { self.refresh } else { self.refresh.min(FAILED_REFRESH) };
        self.due = Some(Instant::now() + wait);
        match (answer, self.failing) {
            (Err(reason), false) => tracing::warn!("an endpoint's name cannot be looked up: {reason}"),
            (Ok(_), true) => tracing::info!("an endpoint's name is found again"),
            _ => {}
        }
        self.failing = answer.is_err();
    }
}

async fn look_up(network: &Network, name: &str) -> Answer {
    let found = match timeout(LOOKUP_TIME_MAX, network.look_up(name)).await {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", LOOKUP_TIME_MAX.as_millis())),
    };
    let some = |addresses: Vec<IpAddr>| match addresses.is_empty() {
        true => Err("it has no address".to_owned()),
        false => Ok(addresses.into()),
    };
    found.and_then(some).map_err(|reason| format!("{name}: {reason}").into())
}

/// How many look-ups may be under way at a time; each holds a thread of the system's.
const LOOKUPS_MAX: usize = 16;
/// Less than what a first call waits, so that the call learns the reason.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(4);
const FAILED_REFRESH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::MemoryNetwork;

    fn wanted(names: &[&str]) -> BTreeMap<Arc<str>, Duration> {
        names.iter().map(|name| (Arc::from(*name), Duration::from_secs(60))).collect()
    }

    #[tokio::test]
    async fn a_name_that_is_known_has_addresses() {
        let mut resolver = Resolver::default();
        resolver.follow(wanted(&["localhost"]));
        let (name, answer) = resolver.next().await;
        let addresses = answer.expect("every system knows it");
        assert!(&*name == "localhost" && addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_name_is_asked_again_soon_and_a_given_up_one_never() {
        let network = Network::Memory(MemoryNetwork::default().host([10, 0, 0, 1].into()));
        let mut resolver = Resolver { network, ..Resolver::default() };
        resolver.follow(wanted(&["a.example", "b.example"]));
        let start = Instant::now();
        for _ in 0..2 {
            let (name, answer) = resolver.next().await;
            assert!(answer.is_err_and(|reason| reason.starts_with(&*name)));
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        resolver.follow(wanted(&["b.example"]));
        for again in 1..4 {
            assert_eq!(&*resolver.next().await.0, "b.example");
            assert!(start.elapsed() >= FAILED_REFRESH * again);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_names_wait_for_room() {
        let network = Network::Memory(MemoryNetwork::default().host([10, 0, 0, 1].into()));
        let mut resolver = Resolver { network, ..Resolver::default() };
        let names: Vec<String> = (0..3 * LOOKUPS_MAX).map(|number| format!("{number}.example")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        resolver.follow(wanted(&names));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..names.len() {
            seen.insert(resolver.next().await.0);
            assert!(resolver.under_way.len() <= LOOKUPS_MAX);
        }
        assert_eq!(seen.len(), names.len());
    }
}

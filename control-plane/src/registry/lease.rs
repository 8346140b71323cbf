//! Who is registered, and until when: the state machine. Time is passed in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::instance::{Instance, InstanceKey};

/// Instances of all identities together.
const INSTANCES_MAX: usize = 100_000;
/// Instances of one identity, so that one stolen certificate cannot fill the registry.
const INSTANCES_PER_IDENTITY_MAX: usize = 5_000;

/// The registered instances and their leases.
#[derive(Debug)]
pub struct Leases {
    life: Duration,
    held: BTreeMap<InstanceKey, Held>,
}

#[derive(Debug)]
struct Held {
    instance: Arc<Instance>,
    ends: Instant,
}

/// There is no room for another instance.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{count} instances are registered for {whom}, which is the limit")]
pub struct TooMany {
    /// How many there are.
    pub count: usize,
    /// One identity, or all.
    pub whom: &'static str,
}

impl Leases {
    /// Nobody, with leases that last `life`.
    pub fn new(life: Duration) -> Self {
        Self { life, held: BTreeMap::new() }
    }

    /// How long a lease lasts.
    pub fn life(&self) -> Duration {
        self.life
    }

    /// Registers an instance or renews its lease. True where that changed what is known of it.
    ///
    /// # Errors
    /// When a new one finds no room.
    pub fn register(&mut self, key: InstanceKey, instance: Instance, now: Instant) -> Result<bool, TooMany> {
        let ends = now + self.life;
        if let Some(held) = self.held.get_mut(&key) {
            held.ends = ends;
            let changed = *held.instance != instance;
            if changed {
                held.instance = Arc::new(instance);
            }
            return Ok(changed);
        }
        if self.held.len() >= INSTANCES_MAX {
            return Err(TooMany { count: self.held.len(), whom: "all identities" });
        }
        let count = self.of_identity(&key);
        if count >= INSTANCES_PER_IDENTITY_MAX {
            return Err(TooMany { count, whom: "this identity" });
        }
        self.held.insert(key, Held { instance: Arc::new(instance), ends });
        Ok(true)
    }

    /// Puts back what an earlier control plane knew, for one full lease.
    pub fn restore(&mut self, key: InstanceKey, instance: Instance, now: Instant) {
        self.held.insert(key, Held { instance: Arc::new(instance), ends: now + self.life });
    }

    /// Removes an instance. True where it was there.
    pub fn deregister(&mut self, key: &InstanceKey) -> bool {
        self.held.remove(key).is_some()
    }

    /// Removes the instances whose leases have ended, and names them.
    pub fn expire(&mut self, now: Instant) -> Vec<InstanceKey> {
        self.held.extract_if(.., |_, held| held.ends <= now).map(|(key, _)| key).collect()
    }

    /// What is known of an instance.
    pub fn instance(&self, key: &InstanceKey) -> Option<&Instance> {
        self.held.get(key).map(|held| held.instance.as_ref())
    }

    /// All instances, by key.
    pub fn instances(&self) -> impl Iterator<Item = (&InstanceKey, &Arc<Instance>)> {
        self.held.iter().map(|(key, held)| (key, &held.instance))
    }

    fn of_identity(&self, key: &InstanceKey) -> usize {
        let first = InstanceKey { instance_id: String::new(), ..key.clone() };
        let same = |other: &InstanceKey| {
            (&other.namespace, &other.service_account) == (&key.namespace, &key.service_account)
        };
        self.held.range(first..).take_while(|(other, _)| same(other)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(30);

    fn key(account: &str, id: usize) -> InstanceKey {
        InstanceKey {
            namespace: "default".into(),
            service_account: account.into(),
            instance_id: format!("i{id}"),
        }
    }

    fn instance(draining: bool) -> Instance {
        Instance {
            workload: "reviews".into(),
            labels: BTreeMap::new(),
            locality: None,
            bindings: Vec::new(),
            draining,
            not_ready: false,
            library_version: String::new(),
        }
    }

    #[test]
    fn a_renewal_is_no_change_and_a_drain_is_one() {
        let now = Instant::now();
        let mut leases = Leases::new(LIFE);
        assert_eq!(leases.register(key("a", 1), instance(false), now), Ok(true));
        assert_eq!(leases.register(key("a", 1), instance(false), now + LIFE / 3), Ok(false));
        assert_eq!(leases.register(key("a", 1), instance(true), now + LIFE / 2), Ok(true));
        assert_eq!(leases.expire(now + LIFE / 2 + LIFE - Duration::from_millis(1)), []);
    }

    #[test]
    fn a_lease_ends_on_time_unless_renewed() {
        let now = Instant::now();
        let mut leases = Leases::new(LIFE);
        for id in [1, 2] {
            leases.register(key("a", id), instance(false), now).unwrap();
        }
        leases.register(key("a", 2), instance(false), now + LIFE / 2).unwrap();
        assert_eq!(leases.expire(now + LIFE - Duration::from_millis(1)), []);
        assert_eq!(leases.expire(now + LIFE), [key("a", 1)]);
        assert_eq!(leases.instances().count(), 1);
        assert_eq!(leases.expire(now + 2 * LIFE), [key("a", 2)]);
    }

    #[test]
    fn what_was_stored_gets_one_full_lease() {
        let now = Instant::now();
        let mut leases = Leases::new(LIFE);
        leases.restore(key("a", 1), instance(false), now);
        assert_eq!(leases.expire(now + LIFE - Duration::from_millis(1)), []);
        assert_eq!(leases.register(key("a", 1), instance(false), now + LIFE / 2), Ok(false));
        assert_eq!(leases.expire(now + LIFE), []);
    }

    #[test]
    fn one_identity_touches_only_its_own() {
        let now = Instant::now();
        let mut leases = Leases::new(LIFE);
        leases.register(key("a", 1), instance(false), now).unwrap();
        assert!(!leases.deregister(&key("b", 1)));
        assert!(leases.deregister(&key("a", 1)));
        assert!(!leases.deregister(&key("a", 1)));
    }

    #[test]
    fn one_identity_cannot_fill_the_registry() {
        let now = Instant::now();
        let mut leases = Leases::new(LIFE);
        for id in 0..INSTANCES_PER_IDENTITY_MAX {
            leases.restore(key("a", id), instance(false), now);
        }
        let refusal =
            leases.register(key("a", INSTANCES_PER_IDENTITY_MAX), instance(false), now).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "5000 instances are registered for this identity, which is the limit"
        );
        assert_eq!(leases.register(key("a", 0), instance(false), now), Ok(false));
        assert_eq!(leases.register(key("b", 0), instance(false), now), Ok(true));
    }
}

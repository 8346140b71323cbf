//! The task around the leases: takes what waits, stores what changed in one transaction, then answers everybody.
//!
//! One task and no lock, so that what is stored follows the order of what was decided. What could not be stored stays
//! noted and is tried again; meanwhile the mesh goes by what the instances say, for they are what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::instance::{Instance, InstanceKey};
use super::lease::{Leases, TooMany};
use crate::store::{Keys, Store, StoreError, Transaction};

/// Everything that is registered.
pub type Instances = BTreeMap<InstanceKey, Arc<Instance>>;

/// Requests beyond this many wait before they are queued.
const REQUESTS_WAITING_MAX: usize = 1024;
/// Requests that share a transaction.
const BATCH_REQUESTS_MAX: usize = 1024;
/// Keys written by one transaction, when very many expire at once.
const TRANSACTION_KEYS_MAX: usize = 4096;
/// How often expiry is looked at, as a fraction of a lease.
const TICKS_PER_LEASE: u32 = 16;

/// The way to the registry's task; it ends with the last of these.
#[derive(Debug)]
pub struct Registrar {
    requests: mpsc::Sender<Request>,
    instances: watch::Receiver<Arc<Instances>>,
    life: Duration,
    _task: AbortOnDropHandle<()>,
}

/// Why the registry did not start.
#[derive(Debug, thiserror::Error)]
#[error("the registered instances cannot be read: {0}")]
pub struct RegistrarError(#[from] StoreError);

/// Why a change of the registry was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// No room.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Not stored; it will be tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control plane is ending.
    #[error("the registry is closed")]
    Closed,
}

#[derive(Debug)]
struct Request {
    key: InstanceKey,
    change: Change,
    answer: oneshot::Sender<Result<(), RegisterError>>,
}

#[derive(Debug)]
enum Change {
    Register(Instance),
    Deregister,
}

impl Registrar {
    /// Reads what an earlier control plane knew and goes on from there, with leases that last `life`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(store: Arc<dyn Store>, life: Duration) -> Result<Self, RegistrarError> {
        let mut keeper = Keeper { leases: Leases::new(life), unstored: BTreeSet::new(), store };
        keeper.restore().await?;
        let (publish, instances) = watch::channel(Arc::new(keeper.snapshot()));
        let (requests, incoming) = mpsc::channel(REQUESTS_WAITING_MAX);
        let task = AbortOnDropHandle::new(tokio::spawn(keeper.run(incoming, publish)));
        Ok(Self { requests, instances, life, _task: task })
    }

    /// Registers an instance or renews its lease, and says how long that lasts.
    ///
    /// # Errors
    /// When there is no room, or a change could not be stored.
    pub async fn register(&self, key: InstanceKey, instance: Instance) -> Result<Duration, RegisterError> {
        self.ask(key, Change::Register(instance)).await?;
        Ok(self.life)
    }

    /// Removes an instance; one that is not there is no error.
    ///
    /// # Errors
    /// When the change could not be stored.
    pub async fn deregister(&self, key: InstanceKey) -> Result<(), RegisterError> {
        self.ask(key, Change::Deregister).await
    }

    /// What is registered, now and from now on.
    pub fn instances(&self) -> watch::Receiver<Arc<Instances>> {
        self.instances.clone()
    }

    async fn ask(&self, key: InstanceKey, change: Change) -> Result<(), RegisterError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(Request { key, change, answer }).await;
        sent.map_err(|_| RegisterError::Closed)?;
        answered.await.map_err(|_| RegisterError::Closed)?
    }
}

/// What the task owns.
struct Keeper {
    leases: Leases,
    /// Keys whose stored form is behind.
    unstored: BTreeSet<InstanceKey>,
    store: Arc<dyn Store>,
}

impl Keeper {
    async fn restore(&mut self) -> Result<(), StoreError> {
        let now = Instant::now().into_std();
        let listing = self.store.range(Keys::prefix(InstanceKey::PREFIX), None).await?;
        for entry in listing.entries {
            match (InstanceKey::from_path(&entry.key), Instance::decode(&entry.value)) {
                (Some(key), Some(instance)) => self.leases.restore(key, instance, now),
                // It comes back with its next renewal; a control plane that will not start helps nobody.
                _ => tracing::warn!(
                    key = entry.key,
                    "a stored instance cannot be read, waiting for its renewal"
                ),
            }
        }
        Ok(())
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>, publish: watch::Sender<Arc<Instances>>) {
        let mut ticks = interval((self.leases.life() / TICKS_PER_LEASE).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = requests.recv_many(&mut batch, BATCH_REQUESTS_MAX) => if count == 0 { return },
                _ = ticks.tick() => {}
            }
            let mut changed = self.expire();
            let mut answers = Vec::with_capacity(batch.len());
            for Request { key, change, answer } in batch.drain(..) {
                match self.apply(key, change) {
                    Ok(change) => {
                        changed |= change;
                        answers.push(answer);
                    }
                    Err(refusal) => drop(answer.send(Err(refusal.into()))),
                }
            }
            if changed {
                publish.send_replace(Arc::new(self.snapshot()));
            }
            let stored = self.store_changes().await;
            if let Err(error) = &stored {
                tracing::error!(%error, instances = self.unstored.len(), "registrations are not stored, trying again");
            }
            for answer in answers {
                // Whoever no longer waits asks again with the next renewal.
                let _ = answer.send(stored.clone().map_err(RegisterError::Store));
            }
        }
    }

    fn expire(&mut self) -> bool {
        let ended = self.leases.expire(Instant::now().into_std());
        for key in &ended {
            tracing::info!(instance = %key, "its lease has ended");
        }
        let any = !ended.is_empty();
        self.unstored.extend(ended);
        any
    }

    fn apply(&mut self, key: InstanceKey, change: Change) -> Result<bool, TooMany> {
        let changed = match change {
            Change::Register(instance) => {
                self.leases.register(key.clone(), instance, Instant::now().into_std())?
            }
            Change::Deregister => self.leases.deregister(&key),
        };
        if changed {
            self.unstored.insert(key);
        }
        Ok(changed)
    }

    async fn store_changes(&mut self) -> Result<(), StoreError> {
        while !self.unstored.is_empty() {
            let keys: Vec<InstanceKey> = self.unstored.iter().take(TRANSACTION_KEYS_MAX).cloned().collect();
            let write = |all: Transaction, key: &InstanceKey| match self.leases.instance(key) {
                Some(instance) => all.put(key.path(), instance.encode()),
                None => all.delete(key.path()),
            };
            self.store.commit(keys.iter().fold(Transaction::new(), write)).await?;
            for key in &keys {
                self.unstored.remove(key);
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Instances {
        self.leases.instances().map(|(key, instance)| (key.clone(), instance.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{EmbeddedStore, Retention};

    const LIFE: Duration = Duration::from_secs(30);

    struct Fixture {
        store: Arc<EmbeddedStore>,
        _folder: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store.redb"), Retention::default()).unwrap();
        Fixture { store: Arc::new(store), _folder: folder }
    }

    impl Fixture {
        async fn registrar(&self) -> Registrar {
            Registrar::start(self.store.clone(), LIFE).await.unwrap()
        }

        async fn stored(&self) -> (Vec<String>, u64) {
            let listing = self.store.range(Keys::prefix(InstanceKey::PREFIX), None).await.unwrap();
            (listing.entries.into_iter().map(|entry| entry.key).collect(), listing.revision)
        }
    }

    fn key(id: &str) -> InstanceKey {
        InstanceKey { namespace: "default".into(), service_account: "reviews".into(), instance_id: id.into() }
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

    fn known(registrar: &Registrar) -> Vec<String> {
        registrar.instances().borrow().keys().map(|key| key.instance_id.clone()).collect()
    }

    #[tokio::test]
    async fn a_renewal_costs_no_write() {
        let fixture = fixture();
        let registrar = fixture.registrar().await;
        assert_eq!(registrar.register(key("a"), instance(false)).await.unwrap(), LIFE);
        let stored = fixture.stored().await;
        assert_eq!(stored.0, ["endpoints/default/reviews/a"]);
        registrar.register(key("a"), instance(false)).await.unwrap();
        assert_eq!(fixture.stored().await, stored);
        registrar.register(key("a"), instance(true)).await.unwrap();
        assert_eq!(fixture.stored().await.1, stored.1 + 1);
        registrar.deregister(key("a")).await.unwrap();
        assert_eq!(fixture.stored().await.0, [""; 0]);
        assert_eq!(known(&registrar), [""; 0]);
    }

    #[tokio::test]
    async fn a_restarted_registry_keeps_instances_for_one_lease() {
        let fixture = fixture();
        let registrar = fixture.registrar().await;
        registrar.register(key("a"), instance(false)).await.unwrap();
        registrar.register(key("b"), instance(false)).await.unwrap();
        drop(registrar);
        let registrar = fixture.registrar().await;
        assert_eq!(known(&registrar), ["a", "b"]);
        let mut instances = registrar.instances();
        tokio::time::pause();
        tokio::time::advance(LIFE / 2).await;
        registrar.register(key("a"), instance(false)).await.unwrap();
        tokio::time::advance(LIFE / 2 + Duration::from_secs(2)).await;
        instances.wait_for(|instances| instances.len() == 1).await.unwrap();
        tokio::time::resume();
        assert_eq!(known(&registrar), ["a"]);
        // Answered only after what expired was removed.
        registrar.register(key("a"), instance(false)).await.unwrap();
        assert_eq!(fixture.stored().await.0, ["endpoints/default/reviews/a"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_waits_for_its_renewal() {
        let fixture = fixture();
        let foreign = Transaction::new().put(key("a").path(), "{}").put("endpoints/odd", "");
        fixture.store.commit(foreign).await.unwrap();
        let registrar = fixture.registrar().await;
        assert_eq!(known(&registrar), [""; 0]);
        registrar.register(key("a"), instance(false)).await.unwrap();
        assert_eq!(known(&registrar), ["a"]);
    }
}

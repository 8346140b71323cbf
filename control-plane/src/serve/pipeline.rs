//! From stored documents, grants and registered instances to the world that xDS answers from.
//!
//! The first change is published at once; those that follow on its heels share the next publication, so that a storm of
//! changes costs a bounded number of worlds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use mesh_core::identity::TrustDomain;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::aside::aside;
use crate::catalog::{self, Catalog, CatalogError};
use crate::document::DocumentSet;
use crate::grant::{self, GRANTS, Ledger, LedgerError, TOKENS};
use crate::model::{Config, Fleet, GrantedService, World};
use crate::registry::Instances;
use crate::store::{Changes, Event, Store, StoreError};

/// From one publication to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// Before what failed is tried again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Where worlds come from.
pub(super) struct Sources {
    pub(super) store: Arc<dyn Store>,
    pub(super) ledger: Ledger,
    pub(super) instances: watch::Receiver<Arc<Instances>>,
    pub(super) trust_domain: TrustDomain,
}

/// Keeps the newest inputs, and hands out the worlds that they make.
pub(super) struct Pipeline {
    sources: Sources,
    inputs: Inputs,
}

/// The newest inputs.
#[derive(Clone)]
struct Inputs {
    catalog: Arc<Catalog>,
    config: Arc<Config>,
    granted: Vec<GrantedService>,
    instances: Arc<Instances>,
}

/// What is in force.
pub(super) struct Published {
    /// What xDS answers from.
    pub(super) world: Arc<World>,
    /// The documents that it was made of.
    pub(super) documents: DocumentSet,
    /// The store's revision of those documents.
    pub(super) revision: u64,
}

/// Why there is no world.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The documents cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Tokens or grants cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What has to be read anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stale {
    documents: bool,
    services: bool,
    instances: bool,
}

impl Pipeline {
    /// Reads everything once.
    pub(super) async fn load(sources: Sources) -> Result<Self, PipelineError> {
        let catalog = Catalog::load(sources.store.as_ref(), Arc::default()).await?;
        let config = config(&catalog, &sources.trust_domain).await;
        let granted = granted(&sources.ledger).await?;
        let instances = sources.instances.borrow().clone();
        Ok(Self { sources, inputs: Inputs { catalog, config, granted, instances } })
    }

    /// The world as of the last reading.
    pub(super) fn published(&self) -> Published {
        self.inputs.published()
    }

    /// Follows all inputs until the store closes, and hands everything new to `publish`.
    pub(super) async fn run(mut self, publish: impl Fn(Published) + Send + Sync + 'static) {
        let publish = Arc::new(publish);
        let mut changes = self.sources.store.watch("", self.inputs.catalog.revision());
        let mut stale = Stale::default();
        let mut earliest = Instant::now();
        loop {
            let mut broken = false;
            tokio::select! {
                seen = changes.next() => match seen {
                    Some(seen) => {
                        broken = seen.is_err();
                        stale.note(&seen);
                    }
                    None => return,
                },
                changed = self.sources.instances.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    stale.instances = true;
                }
                // What failed is tried again without waiting for another change.
                () = sleep_until(earliest), if stale != Stale::default() => {}
            }
            sleep_until(earliest).await;
            while let Some(Some(seen)) = changes.next().now_or_never() {
                broken |= seen.is_err();
                stale.note(&seen);
            }
            // What came during the pause belongs to this publication, whichever input it came by.
            stale.instances |= self.sources.instances.has_changed().unwrap_or(false);
            match self.refresh(stale).await {
                Ok(changed) => {
                    stale = Stale::default();
                    earliest = Instant::now() + PAUSE;
                    if changed {
                        let (inputs, publish) = (self.inputs.clone(), publish.clone());
                        // Streams are served on while the world is rebuilt and compared.
                        aside(move || publish(inputs.published())).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the last good configuration stays, for the new one cannot be read");
                    earliest = Instant::now() + PAUSE_AFTER_FAILURE;
                }
            }
            if broken {
                // From what was read last; if that is forgotten too, the next turn reads everything again.
                changes = self.sources.store.watch("", self.inputs.catalog.revision());
            }
        }
    }

    /// Reads what is stale; true where the world is another.
    async fn refresh(&mut self, stale: Stale) -> Result<bool, PipelineError> {
        let mut changed = false;
        if stale.services {
            let granted = granted(&self.sources.ledger).await?;
            changed |= granted != self.inputs.granted;
            self.inputs.granted = granted;
        }
        if stale.instances {
            self.inputs.instances = self.sources.instances.borrow_and_update().clone();
            changed = true;
        }
        if stale.documents {
            let catalog = Catalog::load(self.sources.store.as_ref(), self.inputs.catalog.clone()).await?;
            // Published even when equal: whoever applied waits for its revision.
            self.inputs.config = config(&catalog, &self.sources.trust_domain).await;
            self.inputs.catalog = catalog;
            changed = true;
        }
        Ok(changed)
    }
}

impl Inputs {
    fn published(&self) -> Published {
        let registered = self.instances.iter().map(|(key, instance)| instance.workload(key));
        let workloads = self.config.workloads().iter().cloned().chain(registered).collect();
        let world = World::new(self.config.clone(), Fleet::new(workloads, self.granted.clone()));
        let (documents, revision) = (self.catalog.documents().clone(), self.catalog.revision());
        Published { world: Arc::new(world), documents, revision }
    }
}

impl Stale {
    fn note(&mut self, seen: &Result<Changes, StoreError>) {
        let Ok(changes) = seen else {
            // The watch fell behind: anything may have happened.
            (self.documents, self.services) = (true, true);
            return;
        };
        for event in &changes.events {
            let (key, put) = match event {
                Event::Put(entry) => (&entry.key, true),
                Event::Delete { key, .. } => (key, false),
            };
            self.documents |= key.starts_with(catalog::PREFIX);
            // A new grant descends from a token or a grant, and names no service that they did not.
            self.services |= key.starts_with(TOKENS) || (key.starts_with(GRANTS) && !put);
        }
    }
}

async fn config(catalog: &Arc<Catalog>, trust_domain: &TrustDomain) -> Arc<Config> {
    // Certificates say it, whatever a document says.
    let (catalog, trust_domain) = (catalog.clone(), trust_domain.as_str().to_owned());
    aside(move || Arc::new(Config::within(&trust_domain, catalog.documents()))).await
}

async fn granted(ledger: &Ledger) -> Result<Vec<GrantedService>, LedgerError> {
    Ok(grant::services(ledger.services().await?))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tokio::sync::mpsc;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::catalog::plan_apply;
    use crate::document::Source;
    use crate::registry::{Binding, Instance, InstanceKey};
    use crate::store::{EmbeddedStore, Keys, Retention, Transaction};

    struct Fixture {
        store: Arc<dyn Store>,
        instances: watch::Sender<Arc<Instances>>,
        _folder: tempfile::TempDir,
    }

    fn fixture(revisions_max: u64) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store =
            EmbeddedStore::open(&folder.path().join("store.redb"), Retention { revisions_max }).unwrap();
        Fixture { store: Arc::new(store), instances: watch::Sender::default(), _folder: folder }
    }

    impl Fixture {
        async fn load(&self) -> Result<Pipeline, PipelineError> {
            let sources = Sources {
                store: self.store.clone(),
                ledger: Ledger::new(self.store.clone()),
                instances: self.instances.subscribe(),
                trust_domain: TrustDomain::parse("mesh.example").unwrap(),
            };
            Pipeline::load(sources).await
        }

        async fn run(&self) -> (mpsc::UnboundedReceiver<Published>, AbortOnDropHandle<()>) {
            let (publish, published) = mpsc::unbounded_channel();
            let pipeline = self.load().await.unwrap();
            let running = tokio::spawn(pipeline.run(move |new| drop(publish.send(new))));
            (published, AbortOnDropHandle::new(running))
        }

        async fn apply(&self, name: &str) {
            let text = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 1}}]}}\n"
            );
            let catalog = Catalog::load(self.store.as_ref(), Arc::default()).await.unwrap();
            let plan = plan_apply(&catalog, &[Source::file("a.yaml", text)], &BTreeSet::new());
            assert!(plan.accepted(), "{:?}", plan.reports);
            self.store.commit(plan.transaction(&catalog)).await.unwrap();
        }
    }

    fn instances(id: &str) -> Arc<Instances> {
        let key = InstanceKey {
            namespace: "default".into(),
            service_account: "a".into(),
            instance_id: id.to_owned(),
        };
        let binding = Binding {
            host: "a.default.svc.cluster.local".into(),
            service_port: 1,
            workload_port: 1,
            address: ([10, 0, 0, 7], 1).into(),
        };
        let instance = Instance {
            workload: "a".into(),
            labels: BTreeMap::new(),
            locality: None,
            bindings: vec![binding],
            draining: false,
            not_ready: false,
            library_version: String::new(),
        };
        Arc::new([(key, Arc::new(instance))].into())
    }

    #[tokio::test]
    async fn documents_and_instances_become_a_world() {
        let fixture = fixture(100);
        let (mut published, _running) = fixture.run().await;
        fixture.apply("a").await;
        let first = published.recv().await.unwrap();
        assert_eq!((first.documents.len(), first.revision), (1, 1));
        assert_eq!(first.world.settings().trust_domain, "mesh.example");
        fixture.instances.send_replace(instances("one"));
        let second = published.recv().await.unwrap();
        assert_eq!(second.world.fleet().all().count(), 1);
        assert!(
            std::ptr::eq(first.world.config(), second.world.config()),
            "documents are not read for an instance"
        );
    }

    #[tokio::test]
    async fn publishing_leaves_the_runtime_free() {
        let fixture = fixture(100);
        let (release, released) = std::sync::mpsc::channel();
        let (publish, mut published) = mpsc::unbounded_channel();
        let released = std::sync::Mutex::new(released);
        let pipeline = fixture.load().await.unwrap();
        let _running = AbortOnDropHandle::new(tokio::spawn(pipeline.run(move |new| {
            released.lock().unwrap().recv().unwrap();
            drop(publish.send(new));
        })));
        fixture.apply("a").await;
        // There is one thread here: if the pipeline held it, nobody could let go on what it waits for.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        assert_eq!(published.recv().await.unwrap().revision, 1);
    }

    #[tokio::test]
    async fn a_storm_shares_publications_and_its_end_is_published() {
        let fixture = fixture(1000);
        let (mut published, _running) = fixture.run().await;
        for count in 0..100 {
            fixture.instances.send_replace(instances(&count.to_string()));
            tokio::task::yield_now().await;
        }
        fixture.apply("last").await;
        let mut count = 1;
        while published.recv().await.unwrap().documents.is_empty() {
            count += 1;
        }
        assert!(count <= 10, "{count} publications");
    }

    #[tokio::test]
    async fn what_concerns_no_world_publishes_none() {
        let fixture = fixture(100);
        let (mut published, _running) = fixture.run().await;
        fixture.store.commit(Transaction::new().put("endpoints/a/b/c", "x")).await.unwrap();
        fixture.apply("a").await;
        assert_eq!(published.recv().await.unwrap().revision, 2);
    }

    #[tokio::test]
    async fn a_watch_that_fell_behind_begins_anew() {
        let fixture = fixture(2);
        let pipeline = fixture.load().await.unwrap();
        for name in ["a", "b", "c", "d", "e"] {
            fixture.apply(name).await;
        }
        let (publish, mut published) = mpsc::unbounded_channel();
        let _running = AbortOnDropHandle::new(tokio::spawn(pipeline.run(move |new| drop(publish.send(new)))));
        assert_eq!(published.recv().await.unwrap().documents.len(), 5);
        fixture.apply("f").await;
        assert_eq!(published.recv().await.unwrap().documents.len(), 6);
    }

    #[tokio::test]
    async fn what_cannot_be_read_leaves_the_last_good_configuration() {
        let fixture = fixture(100);
        let (mut published, _running) = fixture.run().await;
        fixture.apply("a").await;
        published.recv().await.unwrap();
        tokio::time::pause();
        let bad = "documents/Service/default/bad";
        fixture.store.commit(Transaction::new().put(bad, "?")).await.unwrap();
        fixture.store.commit(Transaction::new().delete(bad)).await.unwrap();
        // Whether or not the bad one was seen in between, what is published next is good.
        let next = published.recv().await.unwrap();
        assert_eq!((next.documents.len(), next.revision), (1, 3));
        assert!(fixture.store.range(Keys::one(bad), None).await.unwrap().entries.is_empty());
    }

    #[tokio::test]
    async fn a_control_plane_does_not_start_on_what_it_cannot_read() {
        let fixture = fixture(100);
        fixture.store.commit(Transaction::new().put("documents/Service/default/bad", "?")).await.unwrap();
        assert!(fixture.load().await.is_err());
    }
}

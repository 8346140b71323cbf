//! From stored documents, grants and registered instances to the world that xDS answers from.
//!
//! The first change is published at once; those that follow on its heels share the next publication, so that a storm of
//! changes costs a bounded number of worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use mesh_core::identity::TrustDomain;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::catalog::{self, Catalog, CatalogError};
use crate::document::{DocumentSet, MeshSettings};
use crate::grant::{GRANTS, Ledger, LedgerError, TOKENS};
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

/// The newest inputs, and the world they make.
pub(super) struct Pipeline {
    sources: Sources,
    catalog: Catalog,
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
pub(super) enum PipelineError {
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
        let catalog = Catalog::load(sources.store.as_ref(), &Catalog::default()).await?;
        let config = config(&catalog, &sources.trust_domain);
        let granted = granted(&sources.ledger).await?;
        let instances = sources.instances.borrow().clone();
        Ok(Self { sources, catalog, config, granted, instances })
    }

    /// The world as of the last reading.
    pub(super) fn published(&self) -> Published {
        let registered = self.instances.iter().map(|(key, instance)| instance.workload(key));
        let workloads = self.config.workloads().iter().cloned().chain(registered).collect();
        let world = World::new(self.config.clone(), Fleet::new(workloads, self.granted.clone()));
        let (documents, revision) = (self.catalog.documents().clone(), self.catalog.revision());
        Published { world: Arc::new(world), documents, revision }
    }

    /// Follows all inputs until the store closes, and hands everything new to `publish`.
    pub(super) async fn run(mut self, publish: impl Fn(Published)) {
        let mut changes = self.sources.store.watch("", self.catalog.revision());
        let mut stale = Stale::default();
        let mut earliest = Instant::now();
        loop {
            tokio::select! {
                seen = changes.next() => match seen {
                    Some(seen) => stale.note(&seen),
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
            let mut broken = false;
            while let Some(Some(seen)) = changes.next().now_or_never() {
                broken |= seen.is_err();
                stale.note(&seen);
            }
            match self.refresh(stale).await {
                Ok(changed) => {
                    stale = Stale::default();
                    earliest = Instant::now() + PAUSE;
                    if changed {
                        publish(self.published());
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the last good configuration stays, for the new one cannot be read");
                    earliest = Instant::now() + PAUSE_AFTER_FAILURE;
                }
            }
            if broken {
                changes = self.sources.store.watch("", self.catalog.revision());
            }
        }
    }

    /// Reads what is stale; true where the world is another.
    async fn refresh(&mut self, stale: Stale) -> Result<bool, PipelineError> {
        let mut changed = false;
        if stale.services {
            let granted = granted(&self.sources.ledger).await?;
            changed |= granted != self.granted;
            self.granted = granted;
        }
        if stale.instances {
            self.instances = self.sources.instances.borrow_and_update().clone();
            changed = true;
        }
        if stale.documents {
            let catalog = Catalog::load(self.sources.store.as_ref(), &self.catalog).await?;
            // Published even when equal: whoever applied waits for its revision.
            self.config = config(&catalog, &self.sources.trust_domain);
            self.catalog = catalog;
            changed = true;
        }
        Ok(changed)
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

fn config(catalog: &Catalog, trust_domain: &TrustDomain) -> Arc<Config> {
    let documents = catalog.documents();
    let settings = documents.all::<MeshSettings>().first().map(|(_, settings)| (*settings).clone());
    let mut settings = settings.unwrap_or_default();
    // Certificates say it, whatever a document says.
    settings.trust_domain = trust_domain.as_str().to_owned();
    Arc::new(Config::with_settings(documents, settings))
}

async fn granted(ledger: &Ledger) -> Result<Vec<GrantedService>, LedgerError> {
    let mut ports: BTreeMap<(String, String), BTreeSet<u16>> = BTreeMap::new();
    for (namespace, service) in ledger.services().await? {
        ports.entry((service.host, namespace)).or_default().insert(service.port);
    }
    let service = |((host, namespace), ports): ((String, String), BTreeSet<u16>)| GrantedService {
        host: host.into(),
        namespace: namespace.into(),
        ports: ports.into_iter().collect(),
    };
    Ok(ports.into_iter().map(service).collect())
}

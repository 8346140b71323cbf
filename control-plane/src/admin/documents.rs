//! Applying, deleting and listing documents: judged over what is stored, stored wholly or not at all, answered once the
//! mesh is being told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;

use super::change;
use super::proto::{ApplyRequest, ChangeResponse, DeleteRequest, Document, ListRequest, ListResponse};
use super::workshop::Workshop;
use crate::catalog::{Catalog, CatalogError, Plan, plan_apply, plan_delete};
use crate::document::{DocumentKey, DocumentSet, Kind, Source, WholeFinding};
use crate::registry::Instances;
use crate::store::{Outcome, Store, StoreError, Transaction};
use crate::validate;

/// How often a change is judged anew when others change documents at the same time.
const ATTEMPTS_MAX: usize = 16;
/// How long an answer waits for the change to be published; it is stored either way.
const PUBLISH_WAIT: Duration = Duration::from_secs(5);

/// The stored documents, for administrators.
pub(super) struct Documents {
    pub(super) store: Arc<dyn Store>,
    pub(super) instances: watch::Receiver<Arc<Instances>>,
    /// The store's revision of the documents that xDS answers from.
    pub(super) published: watch::Receiver<u64>,
    /// The last reading, so that the next one reads only what has changed.
    pub(super) read: Mutex<Arc<Catalog>>,
    /// Where changes are judged.
    pub(super) workshop: Workshop,
    /// What connected clients of other kinds would leave out.
    pub(super) foreign: Arc<ForeignFindings>,
}

/// What is to be said of documents (as they would be), as far as the named ones are concerned.
pub(super) type ForeignFindings =
    dyn Fn(&DocumentSet, &BTreeSet<&DocumentKey>) -> Vec<WholeFinding> + Send + Sync;

/// A change that was judged, and what is to be written for it; nothing where it is not to be carried out.
struct Judged {
    response: ChangeResponse,
    transaction: Option<Transaction>,
}

impl Documents {
    pub(super) async fn apply(&self, request: ApplyRequest) -> Result<ChangeResponse, Status> {
        let (sources, instances) = (sources(request.sources), self.instances.clone());
        self.carry_out(request.dry_run, move |catalog| {
            Ok(plan_apply(catalog, &sources, &registered(&instances)))
        })
        .await
    }

    pub(super) async fn delete(&self, request: DeleteRequest) -> Result<ChangeResponse, Status> {
        let mut keys = Vec::new();
        for name in &request.documents {
            let unknown = || Status::invalid_argument(format!("there is no kind `{}`", name.kind));
            keys.push(change::key(name).ok_or_else(unknown)?);
        }
        let (sources, instances) = (sources(request.sources), self.instances.clone());
        let missing = |key: DocumentKey| {
            Status::not_found(format!("there is no {key}; `mesh get` lists what there is"))
        };
        self.carry_out(request.dry_run, move |catalog| {
            plan_delete(catalog, &keys, &sources, &registered(&instances)).map_err(missing)
        })
        .await
    }

    pub(super) async fn list(&self, request: &ListRequest) -> Result<ListResponse, Status> {
        let kind = match request.kind.as_str() {
            "" => None,
            name => {
                let unknown = || Status::invalid_argument(format!("there is no kind `{name}`"));
                Some(Kind::from_name(name).ok_or_else(unknown)?)
            }
        };
        let catalog = self.catalog().await?;
        let wanted = |key: &DocumentKey| {
            kind.is_none_or(|kind| key.kind.is_meant_by(kind))
                && (request.namespace.is_empty() || request.namespace == key.namespace)
                && (request.name.is_empty() || request.name == key.name)
        };
        let document = |document: &Arc<crate::document::Document>| {
            let revisions = catalog.revisions(&document.key)?;
            Some(Document {
                document: Some(change::name(&document.key)),
                at: document.at(document.span),
                text: document.text.to_string(),
                create_revision: revisions.created,
                mod_revision: revisions.changed,
            })
        };
        let documents =
            catalog.documents().iter().filter(|document| wanted(&document.key)).filter_map(document);
        Ok(ListResponse { documents: documents.collect(), revision: catalog.revision() })
    }

    /// How many documents there are, and the revision that was read.
    pub(super) async fn count(&self) -> Result<(usize, u64), Status> {
        let catalog = self.catalog().await?;
        Ok((catalog.documents().len(), catalog.revision()))
    }

    async fn carry_out(
        &self,
        dry_run: bool,
        plan: impl Fn(&Catalog) -> Result<Plan, Status> + Send + Sync + 'static,
    ) -> Result<ChangeResponse, Status> {
        let plan = Arc::new(plan);
        for _ in 0..ATTEMPTS_MAX {
            let (catalog, plan) = (self.catalog().await?, plan.clone());
            let foreign = self.foreign.clone();
            let judge = move || {
                plan(&catalog).map(|mut plan| {
                    if plan.accepted() {
                        plan.note(foreign(&plan.after, &plan.touched()));
                    }
                    Judged::new(&catalog, &plan, dry_run)
                })
            };
            let Judged { response, transaction } = self.workshop.run(judge).await??;
            let Some(transaction) = transaction else { return Ok(response) };
            match self.store.commit(transaction).await.map_err(|error| failed(&error))? {
                Outcome::Committed { revision } => {
                    self.wait_until_published(revision).await;
                    return Ok(ChangeResponse { applied: true, revision, ..response });
                }
                Outcome::Conflict { .. } => {}
            }
        }
        Err(Status::aborted("others keep changing the documents; try again"))
    }

    async fn catalog(&self) -> Result<Arc<Catalog>, Status> {
        let earlier = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let catalog = Catalog::load(self.store.as_ref(), earlier).await.map_err(|error| {
            tracing::error!(%error, "the stored documents cannot be read");
            match error {
                CatalogError::Store(error) => failed(&error),
                unreadable => Status::data_loss(unreadable.to_string()),
            }
        })?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = catalog.clone();
        Ok(catalog)
    }

    async fn wait_until_published(&self, revision: u64) {
        let mut published = self.published.clone();
        let reached = published.wait_for(|published| *published >= revision);
        if tokio::time::timeout(PUBLISH_WAIT, reached).await.is_err() {
            tracing::warn!(revision, "documents are stored, but not yet published");
        }
    }
}

impl Judged {
    fn new(catalog: &Catalog, plan: &Plan, dry_run: bool) -> Self {
        let wanted = !dry_run && plan.accepted();
        // What is so already counts as applied, at the revision at which that was seen.
        let applied = wanted && !plan.changes_anything();
        let response = ChangeResponse {
            applied,
            revision: if applied { catalog.revision() } else { 0 },
            changes: plan.changes.iter().map(change::change).collect(),
            verdicts_json: validate::json(&plan.reports),
        };
        Self { response, transaction: (wanted && !applied).then(|| plan.transaction(catalog)) }
    }
}

fn sources(given: Vec<super::proto::Source>) -> Vec<Source> {
    given.into_iter().map(|source| Source::file(source.file, source.text)).collect()
}

/// The hosts that instances serve.
fn registered(instances: &watch::Receiver<Arc<Instances>>) -> BTreeSet<String> {
    // Let go of at once, for registrations wait meanwhile.
    let instances = instances.borrow().clone();
    let bindings = instances.values().flat_map(|instance| &instance.bindings);
    bindings.map(|binding| binding.host.clone()).collect()
}

fn failed(error: &StoreError) -> Status {
    match error {
        StoreError::Limit { .. } => Status::resource_exhausted(error.to_string()),
        StoreError::Backend(_) => {
            tracing::error!(%error, "the store failed");
            Status::internal(error.to_string())
        }
        _ => Status::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::store::{EmbeddedStore, Retention};

    #[tokio::test]
    async fn a_change_is_judged_without_holding_the_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store.redb"), Retention::default()).unwrap();
        let documents = Documents {
            store: Arc::new(store),
            instances: watch::Sender::default().subscribe(),
            published: watch::Sender::new(0).subscribe(),
            read: Mutex::default(),
            workshop: Workshop::new(),
            foreign: Arc::new(|_, _| Vec::new()),
        };
        let (done, wait) = mpsc::channel();
        let wait = Mutex::new(wait);
        // There is one thread here: if the plan held it, what it waits for would never come.
        tokio::spawn(async move { done.send(()) });
        let plan = move |catalog: &Catalog| {
            wait.lock().unwrap().recv().unwrap();
            Ok(plan_apply(catalog, &[], &BTreeSet::new()))
        };
        assert!(documents.carry_out(false, plan).await.unwrap().applied);
    }
}

//! Applying, deleting and listing documents: judged over what is stored, stored wholly or not at all, answered once the
//! mesh is being told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;

use super::change;
use super::proto::{ApplyRequest, ChangeResponse, DeleteRequest, Document, ListRequest, ListResponse};
use crate::catalog::{Catalog, CatalogError, Plan, plan_apply, plan_delete};
use crate::document::{DocumentKey, Kind, Source};
use crate::registry::Instances;
use crate::store::{Outcome, Store, StoreError};
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
}

impl Documents {
    pub(super) async fn apply(&self, request: &ApplyRequest) -> Result<ChangeResponse, Status> {
        let sources = sources(&request.sources);
        self.carry_out(request.dry_run, |catalog| Ok(plan_apply(catalog, &sources, &self.registered()))).await
    }

    pub(super) async fn delete(&self, request: &DeleteRequest) -> Result<ChangeResponse, Status> {
        let mut keys = Vec::new();
        for name in &request.documents {
            let unknown = || Status::invalid_argument(format!("there is no kind `{}`", name.kind));
            keys.push(change::key(name).ok_or_else(unknown)?);
        }
        let sources = sources(&request.sources);
        let missing = |key: DocumentKey| {
            Status::not_found(format!("there is no {key}; `mesh get` lists what there is"))
        };
        self.carry_out(request.dry_run, |catalog| {
            plan_delete(catalog, &keys, &sources, &self.registered()).map_err(missing)
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
            kind.is_none_or(|kind| kind == key.kind)
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
        plan: impl Fn(&Catalog) -> Result<Plan, Status>,
    ) -> Result<ChangeResponse, Status> {
        for _ in 0..ATTEMPTS_MAX {
            let catalog = self.catalog().await?;
            let plan = plan(&catalog)?;
            if dry_run || !plan.accepted() {
                return Ok(response(&plan, None));
            }
            if !plan.changes_anything() {
                return Ok(response(&plan, Some(catalog.revision())));
            }
            match self.store.commit(plan.transaction(&catalog)).await.map_err(|error| failed(&error))? {
                Outcome::Committed { revision } => {
                    self.wait_until_published(revision).await;
                    return Ok(response(&plan, Some(revision)));
                }
                Outcome::Conflict { .. } => {}
            }
        }
        Err(Status::aborted("others keep changing the documents; try again"))
    }

    async fn catalog(&self) -> Result<Arc<Catalog>, Status> {
        let earlier = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let catalog = Catalog::load(self.store.as_ref(), &earlier).await.map_err(|error| {
            tracing::error!(%error, "the stored documents cannot be read");
            match error {
                CatalogError::Store(error) => failed(&error),
                unreadable => Status::data_loss(unreadable.to_string()),
            }
        })?;
        let catalog = Arc::new(catalog);
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

    fn registered(&self) -> BTreeSet<String> {
        let instances = self.instances.borrow();
        instances
            .values()
            .flat_map(|instance| &instance.bindings)
            .map(|binding| binding.host.clone())
            .collect()
    }
}

fn sources(given: &[super::proto::Source]) -> Vec<Source> {
    given.iter().map(|source| Source::file(&source.file, &source.text)).collect()
}

fn response(plan: &Plan, revision: Option<u64>) -> ChangeResponse {
    ChangeResponse {
        applied: revision.is_some(),
        revision: revision.unwrap_or_default(),
        changes: plan.changes.iter().map(change::change).collect(),
        verdicts_json: validate::json(&plan.reports),
    }
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

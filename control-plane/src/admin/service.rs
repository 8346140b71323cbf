//! The admin service: who calls, then the part that answers. Only an administrator's certificate is let in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use mesh_core::identity::{RootFingerprint, TrustDomain};
use mesh_core::join::ControlPlaneAddress;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::MESSAGE_BYTES_MAX;
use super::documents::{Documents, ForeignFindings};
use super::proto::admin_server::{Admin, AdminServer};
use super::proto::{
    ApplyRequest, ChangeResponse, CreateTokenRequest, CreateTokenResponse, DeleteRequest, ExplainRequest,
    ExplainResponse, ListRequest, ListResponse, ListTokensRequest, ListTokensResponse, RevokeTokenRequest,
    RevokeTokenResponse, StatusRequest, StatusResponse,
};
use super::tokens::Tokens;
use super::workshop::Workshop;
use crate::catalog::Catalog;
use crate::document::{DocumentKey, DocumentSet, WholeFinding, check_trust_domain};
use crate::grant::Ledger;
use crate::peer::{Peer, Unauthorized};
use crate::registry::Instances;
use crate::store::Store;

/// Questions of one call.
const QUESTIONS_MAX: usize = 10_000;

/// What the service works on.
pub struct Parts {
    /// Where documents and tokens are.
    pub store: Arc<dyn Store>,
    /// What is registered.
    pub instances: watch::Receiver<Arc<Instances>>,
    /// The store's revision of the documents that xDS answers from.
    pub published: watch::Receiver<u64>,
    /// What join strings name.
    pub addresses: Vec<ControlPlaneAddress>,
    /// What join strings pin.
    pub root: RootFingerprint,
    /// The mesh's trust domain.
    pub trust_domain: TrustDomain,
    /// What is to be said elsewhere.
    pub view: Arc<dyn ControlPlaneView>,
}

/// What the rest of the control plane tells administrators.
#[tonic::async_trait]
pub trait ControlPlaneView: Send + Sync + 'static {
    /// The sections of `mesh status` beside documents and instances, each a JSON value.
    async fn sections(&self) -> BTreeMap<&'static str, serde_json::Value>;
    /// Answers questions (a JSON object each) with decisions or `{"error": …}`, in order, of one and the same world.
    fn explain(&self, questions: &[String]) -> Vec<String>;
    /// What connected clients of other kinds would leave out of `touched`, if `documents` were in force.
    fn foreign(&self, documents: &DocumentSet, touched: &BTreeSet<&DocumentKey>) -> Vec<WholeFinding>;
    /// Counts a refused caller.
    fn refused(&self);
    /// Counts a stored change.
    fn applied(&self);
}

/// The service.
pub struct Administration {
    documents: Documents,
    tokens: Tokens,
    view: Arc<dyn ControlPlaneView>,
    workshop: Workshop,
}

impl Administration {
    /// A service on these parts, to be added to a tonic server.
    pub fn server(parts: Parts) -> AdminServer<Self> {
        let Parts { store, instances, published, addresses, root, trust_domain, view } = parts;
        let own = trust_domain.clone();
        let tokens = Tokens { ledger: Ledger::new(store.clone()), addresses, root, trust_domain };
        let read = Mutex::new(Arc::new(Catalog::default()));
        let workshop = Workshop::new();
        let clients = view.clone();
        let foreign: Arc<ForeignFindings> = Arc::new(move |after, touched| {
            let mut found = clients.foreign(after, touched);
            found.extend(check_trust_domain(after, touched, own.as_str()));
            found
        });
        let documents = Documents { store, instances, published, read, workshop: workshop.clone(), foreign };
        AdminServer::new(Self { documents, tokens, view, workshop })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Lets an administrator in, and nobody else.
    fn admit<T>(&self, request: Request<T>, call: &'static str) -> Result<T, Status> {
        let peer = Peer::of(request.extensions())?;
        let admitted = peer.administrator(SystemTime::now()).map(str::to_owned);
        let name = admitted.map_err(|unauthorized: Unauthorized| {
            self.view.refused();
            unauthorized.refuse("admin", &peer)
        })?;
        tracing::info!(administrator = name, remote = %peer.remote, call, "admin call");
        Ok(request.into_inner())
    }

    fn note(&self, response: &ChangeResponse) {
        if response.applied {
            self.view.applied();
        }
    }
}

#[tonic::async_trait]
impl Admin for Administration {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ChangeResponse>, Status> {
        let response = self.documents.apply(self.admit(request, "apply")?).await?;
        self.note(&response);
        Ok(Response::new(response))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<ChangeResponse>, Status> {
        let response = self.documents.delete(self.admit(request, "delete")?).await?;
        self.note(&response);
        Ok(Response::new(response))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Ok(Response::new(self.documents.list(&self.admit(request, "list")?).await?))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let request = self.admit(request, "create_token")?;
        Ok(Response::new(self.tokens.create(request, SystemTime::now()).await?))
    }

    async fn list_tokens(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        self.admit(request, "list_tokens")?;
        Ok(Response::new(ListTokensResponse { tokens: self.tokens.list().await? }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let request = self.admit(request, "revoke_token")?;
        self.tokens.revoke(&request.id).await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let request = self.admit(request, "explain")?;
        if request.requests.len() > QUESTIONS_MAX {
            let count = request.requests.len();
            return Err(Status::invalid_argument(format!("{count} questions, the limit is {QUESTIONS_MAX}")));
        }
        let view = self.view.clone();
        // Thousands of questions are seconds of work.
        let decisions = self.workshop.run(move || view.explain(&request.requests)).await?;
        Ok(Response::new(ExplainResponse { decisions }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.admit(request, "status")?;
        let (count, revision) = self.documents.count().await?;
        let mut sections = self.view.sections().await;
        sections.insert("documents", serde_json::json!({"count": count, "revision": revision}));
        sections.insert("trust_domain", self.tokens.trust_domain.as_str().into());
        let json = serde_json::to_string(&sections).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(StatusResponse { json }))
    }
}

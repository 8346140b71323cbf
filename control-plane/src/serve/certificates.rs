//! `IstioCertificateService`: how a process joins and how a member renews.
//!
//! Who asks is known from the connection, or from the join token; the request contributes a public key and a wish. Why
//! somebody is refused is told to the operator; the caller learns that it was.

use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::join::JoinToken;
use mesh_core::proto::ca::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use mesh_core::proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::counters::{Counters, Event};
use crate::ca::{Authority, AuthorityError, Issued, LifetimePolicy, RequestError, RequestedKey};
use crate::grant::{AdmissionError, Grant, Ledger};
use crate::peer::{Peer, Unauthorized};

/// A certificate request is a few hundred bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Requests under way: each costs signatures and a place in the store's queue.
const REQUESTS_MAX: usize = 256;

/// The service.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) authority: Arc<Authority>,
    pub(super) lifetimes: LifetimePolicy,
    pub(super) ledger: Ledger,
    pub(super) counters: Arc<Counters>,
    places: Arc<Semaphore>,
}

/// Why no certificate was given. For the operator alone.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Caller(#[from] Unauthorized),
    #[error("it showed neither a certificate nor a join token")]
    Nothing,
    #[error("what it showed is no join token")]
    NoToken,
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Admission(#[from] AdmissionError<AuthorityError>),
}

impl Certificates {
    pub(super) fn new(
        authority: Arc<Authority>,
        lifetimes: LifetimePolicy,
        ledger: Ledger,
        counters: Arc<Counters>,
    ) -> IstioCertificateServiceServer<Self> {
        let places = Arc::new(Semaphore::new(REQUESTS_MAX));
        IstioCertificateServiceServer::new(Self { authority, lifetimes, ledger, counters, places })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    async fn certify(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
        request: &IstioCertificateRequest,
        now: SystemTime,
    ) -> Result<Issued, Refused> {
        let token = bearer(metadata)?;
        let key = RequestedKey::parse(&request.csr)?;
        let lifetime = self.lifetimes.choose(request.validity_duration);
        let issue = |grant: &Grant| self.authority.issue(&key, &grant.subject(), lifetime, now);
        // A token says whom the process wants to be, whoever it is already.
        let (issued, event) = match token {
            Some(token) => {
                (self.ledger.join(&token, key.fingerprint(), now, issue).await?, Event::CertificateIssued)
            }
            None if peer.certificate.is_none() => return Err(Refused::Nothing),
            None => {
                let (leaf, _) = peer.workload(now)?;
                (self.ledger.renew(&leaf.serial, issue).await?, Event::CertificateRenewed)
            }
        };
        self.counters.add(event);
        Ok(issued)
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Certificates {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Status::resource_exhausted("too many certificate requests, try again"));
        };
        let peer = Peer::of(request.extensions())?;
        match self.certify(&peer, request.metadata(), request.get_ref(), SystemTime::now()).await {
            Ok(issued) => {
                tracing::info!(remote = %peer.remote, serial = issued.serial, "issued a certificate");
                Ok(Response::new(IstioCertificateResponse { cert_chain: issued.chain }))
            }
            Err(refused) => {
                self.counters.add(Event::CertificateRefused);
                tracing::warn!(remote = %peer.remote, reason = %refused, "refused a certificate");
                Err(refused.told())
            }
        }
    }
}

impl Refused {
    /// What the caller learns: whether asking again may help, and nothing else.
    fn told(&self) -> Status {
        match self {
            Self::Request(_) => Status::invalid_argument("refused"),
            Self::Admission(
                AdmissionError::Ledger(_) | AdmissionError::Issue(_) | AdmissionError::Contended { .. },
            ) => Status::unavailable("try again"),
            _ => Status::unauthenticated("refused"),
        }
    }
}

fn bearer(metadata: &MetadataMap) -> Result<Option<JoinToken>, Refused> {
    let Some(value) = metadata.get("authorization") else { return Ok(None) };
    let text = value.to_str().map_err(|_| Refused::NoToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refused::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refused::NoToken);
    }
    JoinToken::parse(token.trim()).map(Some).map_err(|_| Refused::NoToken)
}

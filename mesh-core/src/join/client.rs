//! Getting a certificate: the first one with a join token, every later one with the certificate before it.
//!
//! The private key is made here and stays here; what is sent is its public half and a proof.

use std::{sync::Arc, time::Duration};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::{PrivatePkcs8KeyDer, UnixTime};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};

use super::{
    answer::{self, AnswerError, Wanted},
    connect::{ControlPlaneConnector, NoAddress, innermost},
    string::JoinString,
    token::JoinToken,
};
use crate::{
    backoff::Backoff,
    identity::{Identity, IdentitySource, PeerRefusal},
    proto::ca::{IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient},
};

/// Joins the mesh that `join` describes, trying for at most `patience` while the control plane cannot be reached.
///
/// # Errors
/// [`JoinError::is_permanent`] tells what trying again cannot mend.
pub async fn join(join: &JoinString, patience: Duration) -> Result<Identity, JoinError> {
    let channel = ControlPlaneConnector::joining(join)?.channel();
    // One key for all attempts: an authority that has counted a use whose answer was lost knows it again.
    let request = CertificateRequest::new()?;
    let wanted = Wanted::First { trust_domain: &join.trust_domain, pinned: join.root };
    let deadline = Instant::now() + patience;
    let mut failures = 0;
    loop {
        let error = match request.send(channel.clone(), Some(&join.token), wanted).await {
            Ok(identity) => return Ok(identity),
            Err(error) => error,
        };
        let pause = RETRY.wait(failures, fastrand::f64());
        if error.is_permanent() || Instant::now() + pause >= deadline {
            return Err(error);
        }
        tracing::debug!(%error, "joining the mesh failed, trying again");
        failures += 1;
        sleep(pause).await;
    }
}

/// Asks once for a successor of the SVID that `source` holds, with a new key. The source is left as it is.
///
/// # Errors
/// As [`join`]; also when the answer names somebody else than us.
pub async fn renew(channel: Channel, source: &Arc<IdentitySource>) -> Result<Identity, JoinError> {
    let current = source.current();
    let wanted = Wanted::Again { id: current.svid.id(), trust_domain: current.bundle.trust_domain() };
    CertificateRequest::new()?.send(channel, None, wanted).await
}

/// Asks once for a certificate of the identity that `source` holds, with the join token: for when it has run out.
pub(super) async fn rejoin(join: &JoinString, source: &Arc<IdentitySource>) -> Result<Identity, JoinError> {
    let channel = ControlPlaneConnector::joining(join)?.channel();
    let current = source.current();
    let wanted = Wanted::Again { id: current.svid.id(), trust_domain: &join.trust_domain };
    CertificateRequest::new()?.send(channel, Some(&join.token), wanted).await
}

/// Why there is no certificate. Each message is whole, cause included, so none has a source, which would be told twice.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum JoinError {
    #[error(
        "the control plane refused: {message} (its log says why; a token that expired or was used up is replaced with \
         `mesh token create --service NAME:PORT`)"
    )]
    Refused { message: String },
    #[error("this is not the control plane that the join string means: {0}")]
    WrongControlPlane(PeerRefusal),
    #[error(
        "no certificate from the control plane: {message}; is it running, and do the addresses lead there?"
    )]
    Unreachable { message: String },
    #[error("the control plane's answer cannot be used: {0}")]
    Answer(AnswerError),
    #[error("cannot make a key and certificate request: {0}")]
    Request(rcgen::Error),
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
}

impl JoinError {
    /// True when trying again cannot help: another token, join string or control plane is needed.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unreachable { .. })
    }

    fn of_status(status: &Status) -> Self {
        if let Some(refusal) = PeerRefusal::find(status) {
            return Self::WrongControlPlane(refusal.clone());
        }
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unimplemented => Self::Refused { message: status.message().into() },
            _ => Self::Unreachable { message: innermost(status) },
        }
    }
}

impl From<AnswerError> for JoinError {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}

impl From<rcgen::Error> for JoinError {
    fn from(error: rcgen::Error) -> Self {
        Self::Request(error)
    }
}

/// A key, and the request that proves that we hold it.
struct CertificateRequest {
    key: KeyPair,
    csr: String,
}

impl CertificateRequest {
    fn new() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?.pem()?;
        Ok(Self { key, csr })
    }

    async fn send(
        &self,
        channel: Channel,
        token: Option<&JoinToken>,
        wanted: Wanted<'_>,
    ) -> Result<Identity, JoinError> {
        let message = IstioCertificateRequest { csr: self.csr.clone(), ..Default::default() };
        let mut request = Request::new(message);
        if let Some(token) = token {
            let bearer = format!("Bearer {}", token.bearer());
            let mut value =
                MetadataValue::try_from(bearer).expect("a token is letters, digits, dashes and a dot");
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        let mut client =
            IstioCertificateServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        let answer = match timeout(ANSWER_TIMEOUT, client.create_certificate(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return Err(JoinError::of_status(&status)),
            Err(_) => return Err(JoinError::Unreachable { message: "it did not answer in time".into() }),
        };
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        Ok(answer::identity(&answer.cert_chain, key.into(), wanted, UnixTime::now())?)
    }
}

/// Somebody waits for the process to start, so it stays short.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;

//! The calling side of the admin service: finds a control plane that answers, insists on its identity, shows our own.

use std::time::Duration;

use mesh_core::identity::IdentitySource;
use mesh_core::join::{
    ControlPlaneAddress, ControlPlaneAddressError, ControlPlaneConnector, NoAddress, innermost,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::proto::admin_client::AdminClient;
use super::proto::{
    ApplyRequest, ChangeResponse, CreateTokenRequest, CreateTokenResponse, DeleteRequest, ExplainRequest,
    ListRequest, ListResponse, ListTokensRequest, RevokeTokenRequest, StatusRequest, Token,
};
use super::{Credential, CredentialError};

/// Requests and answers: a set of documents at the store's own limit, and some room.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long one call may take; judging thousands of documents takes some.
pub const CALL_SECONDS_MAX: u64 = 60;

/// A connection to the admin service.
#[derive(Clone, Debug)]
pub struct Client {
    calls: AdminClient<Channel>,
}

impl Client {
    /// Connects to the first of the credential's addresses that answers.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] names every address and why it did not answer.
    pub async fn connect(credential: &Credential) -> Result<Self, ClientError> {
        let addresses: Result<Vec<_>, _> =
            credential.addresses.iter().map(|address| ControlPlaneAddress::parse(address)).collect();
        let source = IdentitySource::new(credential.identity()?);
        let connector = ControlPlaneConnector::new(addresses?, &source)?;
        let endpoint =
            Endpoint::from_static("http://control-plane").timeout(Duration::from_secs(CALL_SECONDS_MAX));
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.map_err(|error| ClientError::Unreachable(innermost(&error)))?;
        let calls = AdminClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { calls })
    }

    /// Judges documents over what is stored, and stores all or none.
    ///
    /// # Errors
    /// When the call itself fails; rejected documents are an answer.
    pub async fn apply(&mut self, request: ApplyRequest) -> Result<ChangeResponse, ClientError> {
        Ok(self.calls.apply(request).await?.into_inner())
    }

    /// Judges what would be left, and removes all or none.
    ///
    /// # Errors
    /// When the call itself fails; a removal that breaks what is left is an answer.
    pub async fn delete(&mut self, request: DeleteRequest) -> Result<ChangeResponse, ClientError> {
        Ok(self.calls.delete(request).await?.into_inner())
    }

    /// The stored documents.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list(&mut self, request: ListRequest) -> Result<ListResponse, ClientError> {
        Ok(self.calls.list(request).await?.into_inner())
    }

    /// Makes a join token.
    ///
    /// # Errors
    /// When the call fails or the grant is refused.
    pub async fn create_token(
        &mut self,
        request: CreateTokenRequest,
    ) -> Result<CreateTokenResponse, ClientError> {
        Ok(self.calls.create_token(request).await?.into_inner())
    }

    /// The join tokens, without their secrets.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list_tokens(&mut self) -> Result<Vec<Token>, ClientError> {
        Ok(self.calls.list_tokens(ListTokensRequest {}).await?.into_inner().tokens)
    }

    /// Ends a join token; who has joined with it stays.
    ///
    /// # Errors
    /// When the call fails or there is no such token.
    pub async fn revoke_token(&mut self, id: &str) -> Result<(), ClientError> {
        self.calls.revoke_token(RevokeTokenRequest { id: id.to_owned() }).await?;
        Ok(())
    }

    /// Answers requests (one JSON object each) with decisions, in order.
    ///
    /// # Errors
    /// When the call fails; a bad request is an answer.
    pub async fn explain(&mut self, requests: Vec<String>) -> Result<Vec<String>, ClientError> {
        Ok(self.calls.explain(ExplainRequest { requests }).await?.into_inner().decisions)
    }

    /// What the control plane knows of its mesh, as JSON.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn status(&mut self) -> Result<String, ClientError> {
        Ok(self.calls.status(StatusRequest {}).await?.into_inner().json)
    }
}

/// Why an administrator's call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The credential cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// An address in the credential is none.
    #[error("administrator's credential: {0}")]
    Address(#[from] ControlPlaneAddressError),
    /// The credential names no address.
    #[error("administrator's credential: {0}")]
    NoAddress(#[from] NoAddress),
    /// No address answers as the control plane of this mesh.
    #[error("{0}")]
    Unreachable(String),
    /// The control plane says no.
    #[error("{}", .0.message())]
    Refused(Status),
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        match status.code() {
            tonic::Code::Unavailable => Self::Unreachable(innermost(&status)),
            _ => Self::Refused(status),
        }
    }
}

//! The way from a command to the control plane: which credential, and a runtime for one conversation.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::admin::{Client, ClientError, Credential};

/// How to reach the control plane.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The administrator's credential [default: ~/.config/mesh/admin.json]
    #[arg(long, env = "MESH_ADMIN", value_name = "FILE")]
    admin: Option<PathBuf>,
}

impl Connection {
    /// The credential's content.
    pub(super) fn credential(&self) -> Result<Credential, Failure> {
        let default = || Credential::default_path(|name| std::env::var_os(name));
        let path = self.admin.clone().or_else(default).ok_or_else(|| {
            Failure::Usage("neither --admin nor MESH_ADMIN nor HOME says where the credential is".into())
        })?;
        Credential::read(&path).map_err(Failure::refused)
    }

    /// Connects, and runs one conversation to its end.
    pub(super) fn run<T>(
        &self,
        conversation: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let credential = self.credential()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|problem| Failure::Refused(format!("no runtime: {problem}")))?;
        let ended = runtime.block_on(async { conversation(Client::connect(&credential).await?).await });
        Ok(ended?)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(reason) => Self::Unreachable(reason),
            // A kind, a name or a label that is none: the words of the call are wrong, whoever has looked at them.
            ClientError::Refused(status) if status.code() == tonic::Code::InvalidArgument => {
                Self::Usage(status.message().to_owned())
            }
            error => Self::Refused(error.to_string()),
        }
    }
}

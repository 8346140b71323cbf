//! Starting a mesh: from the environment, or from a join string with options.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::background::{Background, Work};
use super::registrar::Registrar;
use super::registration::{Kept, RegistrationTable};
use super::{Mesh, OutboundTrafficPolicy, Settings};
use crate::ads::{Config, ConfigStream, SavedConfig, View};
use crate::join::{JoinSource, JoinSourceError, JoinStringError, Member, RenewalError};
use crate::saved::{Loaded, SavedItem, SavedState, StateLocation, StateLocationError};
use crate::snapshot::Snapshot;

/// Options of a mesh that is about to start; see [`Mesh::builder`].
#[derive(Debug, Clone)]
pub struct MeshBuilder {
    /// What is wrong with it is told at the start.
    join: Result<JoinSource, JoinStringError>,
    state: Result<StateLocation, StateLocationError>,
    settings: Settings,
    join_wait: Duration,
}

/// Why a mesh did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error(transparent)]
    Source(#[from] JoinSourceError),
    #[error(transparent)]
    JoinString(#[from] JoinStringError),
    #[error(transparent)]
    State(#[from] StateLocationError),
    #[error(transparent)]
    Join(#[from] RenewalError),
    #[error("the mesh's own thread does not start: {0}")]
    Thread(io::Error),
}

impl MeshBuilder {
    /// Reads `MESH_JOIN` or `MESH_JOIN_FILE`, and `MESH_STATE`, `MESH_STATE_DIR`.
    ///
    /// # Errors
    /// Where no mesh is named, or what is named cannot be read. What is wrong with `MESH_STATE` is told at the start, for it may
    /// yet be overridden.
    pub fn from_env() -> Result<Self, StartError> {
        Ok(Self::new(Ok(JoinSource::from_env()?)))
    }

    pub(super) fn from_text(join: &str) -> Self {
        Self::new(JoinSource::parse(join))
    }

    fn new(join: Result<JoinSource, JoinStringError>) -> Self {
        Self { join, state: StateLocation::from_env(), settings: Settings::default(), join_wait: JOIN_WAIT }
    }

    /// Saves configuration, key and SVID below this directory, so that a restart needs no control plane.
    pub fn state_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state = Ok(StateLocation::Directory(directory.into()));
        self
    }

    /// Saves nothing: a restart needs the control plane, and a token that can be used again.
    pub fn save_nothing(mut self) -> Self {
        self.state = Ok(StateLocation::Off);
        self
    }

    /// How long the first start tries to reach the control plane.
    pub fn join_wait(mut self, wait: Duration) -> Self {
        self.join_wait = wait;
        self
    }

    /// What becomes of calls to hosts outside the mesh.
    pub fn outbound_traffic_policy(mut self, policy: OutboundTrafficPolicy) -> Self {
        self.settings.outbound_traffic_policy = policy;
        self
    }

    /// All settings at once.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Joins, and returns once this process has an identity. Configuration that an earlier run saved is there at once; other
    /// configuration comes when it is first needed.
    ///
    /// # Errors
    /// Says what is wrong and the next step.
    pub async fn start(self) -> Result<Mesh, StartError> {
        let JoinSource::Join(join) = self.join? else { return Ok(Mesh::off()) };
        let trust_domain = join.trust_domain.clone();
        let member = Member::start(join, &self.state?, self.join_wait).await?;
        let mesh = Mesh::start(member, self.settings).map_err(StartError::Thread)?;
        tracing::info!(%trust_domain, hosts = mesh.snapshot().hosts.len(), "in the mesh");
        Ok(mesh)
    }
}

impl Mesh {
    fn start(member: Member, settings: Settings) -> io::Result<Mesh> {
        let (config, snapshot) = restored(&member.saved);
        let view = Arc::new(View::new(snapshot, settings.hosts_max));
        let instance = format!("{:032x}", fastrand::u128(..));
        let registrations = Arc::new(RegistrationTable::new(Kept::ByRegistrar));
        let registrar = Registrar {
            table: registrations.clone(),
            links: view.links(),
            instance: instance.as_str().into(),
        };
        let stream =
            ConfigStream::new(view.clone(), config, member.saved.clone(), settings.host_idle, &instance);
        let identity = member.identity.clone();
        let background = Background::start(Work { stream, registrar, member })?;
        Ok(Mesh::active(view, identity, settings, registrations, background))
    }
}

/// What an earlier run saved; nothing where that cannot be used.
fn restored(saved: &SavedState) -> (Config, Snapshot) {
    let content = match saved.load(SavedItem::Config) {
        Loaded::Absent => return Default::default(),
        Loaded::Found(content) => content,
        Loaded::Rejected(rejected) => {
            tracing::warn!("{rejected}");
            return Default::default();
        }
    };
    let restored = SavedConfig::decode(&content).map_err(|error| error.to_string());
    let restored = restored.and_then(|saved| Config::restore(saved).map_err(|error| error.to_string()));
    restored.unwrap_or_else(|reason| {
        if let Some(rejected) = saved.reject(SavedItem::Config, reason) {
            tracing::warn!("{rejected}");
        }
        Default::default()
    })
}

const JOIN_WAIT: Duration = Duration::from_secs(30);

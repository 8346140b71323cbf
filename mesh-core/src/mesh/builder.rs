//! Starting a mesh: from the environment, or from a join string with options.

use std::path::PathBuf;

use super::{Mesh, OutboundTrafficPolicy, Settings};
use crate::canonical::PathNormalization;

/// Options of a mesh that is about to start; see [`Mesh::builder`].
#[derive(Debug, Clone)]
pub struct MeshBuilder {
    join: String,
    state: StateDirectory,
    settings: Settings,
}

/// Where configuration, key and SVID are saved, so that a restart needs no control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StateDirectory {
    /// Nowhere.
    Off,
    /// Below the user's state directory, apart for each join string.
    Default,
    /// Here.
    At(PathBuf),
}

/// Why a mesh did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No word about a mesh in the environment.
    #[error(
        "neither MESH_JOIN nor MESH_JOIN_FILE is set; set one to what `mesh token create --service NAME:PORT` prints, or \
         MESH_JOIN=off to run without a mesh"
    )]
    NotConfigured,
    /// The file with the join string cannot be read.
    #[error("MESH_JOIN_FILE {path}: {source}")]
    JoinFile {
        /// Its path.
        path: PathBuf,
        /// What reading it met.
        source: std::io::Error,
    },
}

impl MeshBuilder {
    pub(super) fn new(join: impl Into<String>) -> Self {
        Self {
            join: join.into().trim().to_owned(),
            state: StateDirectory::Default,
            settings: Settings::default(),
        }
    }

    /// Reads `MESH_JOIN`, `MESH_JOIN_FILE` and `MESH_STATE_DIR` (`off` saves nothing).
    ///
    /// # Errors
    /// Where neither of the first two is set, or the file cannot be read.
    pub fn from_env() -> Result<Self, StartError> {
        let join = match (std::env::var("MESH_JOIN"), std::env::var_os("MESH_JOIN_FILE")) {
            (Ok(join), _) if !join.trim().is_empty() => join,
            (_, Some(path)) => std::fs::read_to_string(&path)
                .map_err(|source| StartError::JoinFile { path: path.into(), source })?,
            _ => return Err(StartError::NotConfigured),
        };
        let builder = Self::new(join);
        Ok(match std::env::var_os("MESH_STATE_DIR") {
            Some(directory) if directory == "off" => builder.save_nothing(),
            Some(directory) if !directory.is_empty() => builder.state_directory(directory),
            _ => builder,
        })
    }

    /// Saves configuration, key and SVID in this directory.
    pub fn state_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state = StateDirectory::At(directory.into());
        self
    }

    /// Saves nothing: a restart needs the control plane, and a token that can be used again.
    pub fn save_nothing(mut self) -> Self {
        self.state = StateDirectory::Off;
        self
    }

    /// What becomes of calls to hosts outside the mesh.
    pub fn outbound_traffic_policy(mut self, policy: OutboundTrafficPolicy) -> Self {
        self.settings.outbound_traffic_policy = policy;
        self
    }

    /// How request paths are made canonical.
    pub fn path_normalization(mut self, normalization: PathNormalization) -> Self {
        self.settings.path_normalization = normalization;
        self
    }

    /// All settings at once.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Joins, and returns once this process has an identity; configuration comes when it is first needed.
    ///
    /// # Errors
    /// Says what is wrong and the next step.
    pub async fn start(self) -> Result<Mesh, StartError> {
        if self.join == "off" {
            return Ok(Mesh::off());
        }
        Err(StartError::NotConfigured)
    }
}

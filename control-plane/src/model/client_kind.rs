//! What kind of program a client is: it decides in which of several equal forms something is told, and never what.

use std::sync::Arc;

/// The kind of a client, by `node.user_agent_name` and, of Envoy, `node.metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum ClientKind {
    /// Our library.
    #[default]
    Mesh,
    /// gRPC in some language.
    Grpc,
    /// Envoy. Without a directory there is no certificate that it could show.
    Envoy {
        /// Where the agent beside it keeps its files, as it says.
        directory: Option<Arc<str>>,
    },
    /// Something else, or nothing said.
    Other(Arc<str>),
}

impl ClientKind {
    /// By the name that a client gives itself, and the directory that it names.
    pub fn of(user_agent_name: &str, directory: Option<&str>) -> Self {
        match user_agent_name {
            "proxyless-mesh" => Self::Mesh,
            "envoy" => {
                let directory =
                    directory.filter(|path| path.starts_with('/') && path.len() <= PATH_BYTES_MAX);
                Self::Envoy { directory: directory.map(Into::into) }
            }
            name if name.starts_with("gRPC") => Self::Grpc,
            name => Self::Other(name.chars().take(NAME_CHARS_MAX).collect::<String>().into()),
        }
    }

    /// A word for it; what is of none of the three kinds goes by the name that it gives itself.
    pub fn name(&self) -> &str {
        match self {
            Self::Mesh => "mesh",
            Self::Grpc => "gRPC",
            Self::Envoy { .. } => "Envoy",
            Self::Other(name) => name,
        }
    }
}

/// The key of `node.metadata` under which an Envoy names its agent's directory.
pub const AGENT_DIRECTORY: &str = "proxyless.mesh/agent-directory";

const NAME_CHARS_MAX: usize = 64;
/// As long as Linux lets a path be.
const PATH_BYTES_MAX: usize = 4096;

//! What kind of program a client is: it decides in which of several equal forms something is told, and never what.

use std::sync::Arc;

/// The kind of a client, by `node.user_agent_name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum ClientKind {
    /// Our library.
    #[default]
    Mesh,
    /// gRPC in some language.
    Grpc,
    /// Envoy.
    Envoy,
    /// Something else, or nothing said.
    Other(Arc<str>),
}

impl ClientKind {
    /// By the name that a client gives itself.
    pub fn of(user_agent_name: &str) -> Self {
        match user_agent_name {
            "proxyless-mesh" => Self::Mesh,
            "envoy" => Self::Envoy,
            name if name.starts_with("gRPC") => Self::Grpc,
            name => Self::Other(name.chars().take(NAME_CHARS_MAX).collect::<String>().into()),
        }
    }

    /// A word for it; what is of none of the three kinds goes by the name that it gives itself.
    pub fn name(&self) -> &str {
        match self {
            Self::Mesh => "mesh",
            Self::Grpc => "gRPC",
            Self::Envoy => "Envoy",
            Self::Other(name) => name,
        }
    }
}

const NAME_CHARS_MAX: usize = 64;

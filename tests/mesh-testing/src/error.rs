//! What can be wrong with a test's mesh.

use std::{fmt, io};

use control_plane::document::DocumentKey;
use control_plane::grant::GrantError;
use control_plane::validate::SourceError;

/// What can be wrong with a test's mesh. A test that returns it shows its `Debug` form, which therefore is for people too.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TestMeshError {
    /// All that is wrong with the documents: file, line, field, reason, and the next step.
    #[error("the documents are refused:\n{0}")]
    Documents(String),
    #[error(transparent)]
    File(#[from] SourceError),
    #[error("there is no document {0}; write KIND/NAME or KIND/NAMESPACE/NAME")]
    NoDocument(DocumentKey),
    #[error(
        "`{0}` names no document; write KIND/NAME or KIND/NAMESPACE/NAME, such as VirtualService/reviews"
    )]
    NotADocument(String),
    #[error("labels `{0}`: write KEY=VALUE, several with commas between them, such as version=v2")]
    Labels(String),
    #[error("workload {workload}: {reason}")]
    Workload { workload: String, reason: GrantError },
    #[error("workload {workload}: {reason}")]
    Serve { workload: String, reason: io::Error },
    #[error("workload {workload} has no certificate: {reason}")]
    Certificate { workload: String, reason: String },
    #[error("the test's certificate authority cannot be made: {0}")]
    Authority(String),
    #[error("the trust domain `{0}` of MeshSettings cannot stand in a certificate")]
    TrustDomain(String),
    /// Translation and the library do not agree; this is a defect of the mesh, and not of the documents.
    #[error("members refuse what the documents came to:\n{0}")]
    Configuration(String),
}

impl fmt::Debug for TestMeshError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

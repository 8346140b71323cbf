//! The agent's certificate and roots as Envoy reads them: SDS secrets in files, which name the files that are kept fresh.
//!
//! Envoy knows no certificate providers, which gRPC and our own libraries have. So a cluster that goes to an Envoy names these
//! files by its agent's directory.

use std::path::Path;

use serde_json::{Value, json};

/// The secret that is the process's own certificate; named as Istio does.
pub const CERTIFICATE_SECRET: &str = "default";
/// The secret that is the roots of the trust domain.
pub const ROOTS_SECRET: &str = "ROOTCA";
/// The file of [`CERTIFICATE_SECRET`], in the agent's directory.
pub const CERTIFICATE_SECRET_FILE: &str = "sds-certificate.json";
/// The file of [`ROOTS_SECRET`].
pub const ROOTS_SECRET_FILE: &str = "sds-roots.json";

/// The content of [`CERTIFICATE_SECRET_FILE`]. Envoy reads key and chain again when one of them is replaced.
pub(super) fn certificate(chain: &Path, key: &Path, directory: &Path) -> Value {
    file(json!({
        "name": CERTIFICATE_SECRET,
        "tls_certificate": {
            "certificate_chain": {"filename": chain},
            "private_key": {"filename": key},
            "watched_directory": {"path": directory},
        },
    }))
}

/// The content of [`ROOTS_SECRET_FILE`].
pub(super) fn roots(roots: &Path, directory: &Path) -> Value {
    file(json!({
        "name": ROOTS_SECRET,
        "validation_context": {"trusted_ca": {"filename": roots}, "watched_directory": {"path": directory}},
    }))
}

fn file(mut secret: Value) -> Value {
    secret["@type"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret".into();
    json!({"resources": [secret]})
}

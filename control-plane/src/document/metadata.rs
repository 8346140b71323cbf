//! A document's metadata: its name, namespace, labels and age.
//!
//! The creation time matters because the oldest of several VirtualServices for a host wins.

use std::collections::BTreeMap;

use mesh_core::health::HealthCheck;
use mesh_core::route::StickyKey;

use super::{Fields, Value, name, shorten, text_map};

/// Who a document is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// By what its splits are sticky, if an annotation says so.
    pub sticky: Option<StickyKey>,
    /// What endpoints are asked, if an annotation says so.
    pub health_check: Option<HealthCheck>,
    /// When a cluster created it, if one did.
    pub created: Option<jiff::Timestamp>,
}

/// The namespace of documents that do not name one.
pub const DEFAULT_NAMESPACE: &str = "default";

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Metadata {
    let metadata = Metadata {
        name: fields.required("name", object_name),
        namespace: fields.optional("namespace", name::label).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        labels: fields.or_default("labels", name::labels),
        annotations: fields.or_default("annotations", text_map),
        // An annotation's meaning depends on the kind, which only the whole document knows.
        sticky: None,
        health_check: None,
        created: fields.optional("creationTimestamp", timestamp).flatten(),
    };
    of_clusters(fields);
    metadata
}

/// What a cluster writes into metadata, which changes nothing here and is not the user's doing.
fn of_clusters(fields: &mut Fields<'_, '_>) {
    let written = [
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "selfLink",
        "managedFields",
        "ownerReferences",
        "finalizers",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    for name in written {
        fields.optional(name, |_| ());
    }
}

fn object_name(value: Value<'_, '_>) -> String {
    // Capitals are taken, though Kubernetes would not: files that never met it have them.
    name::known(value, "a name of at most 253 letters, digits, `-` and `.`", |name| {
        name::is_subdomain(&name.to_ascii_lowercase())
    })
}

fn timestamp(mut value: Value<'_, '_>) -> Option<jiff::Timestamp> {
    let written = value.written()?;
    let parsed = written.parse().ok();
    if parsed.is_none() {
        value.invalid(format!("`{}` is not a time", shorten(written)), "write it as 2026-01-31T12:00:00Z");
    }
    parsed
}

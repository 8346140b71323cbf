//! What is ours on the wire: `filter_metadata["proxyless.mesh"]`, and the marks of Envoy's own that we fill.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use mesh_core::resource::Provenance;
use mesh_core::resource::provenance::{METADATA_KEY, METADATA_VERSION};

use super::sticky::Fact;

/// A value in metadata.
#[derive(Debug, Clone)]
pub(super) struct Entry(Value);

impl Entry {
    pub(super) fn text(text: &str) -> Self {
        Self(Value { kind: Some(Kind::StringValue(text.to_owned())) })
    }

    pub(super) fn number(number: u32) -> Self {
        Self(Value { kind: Some(Kind::NumberValue(f64::from(number))) })
    }

    pub(super) fn boolean(boolean: bool) -> Self {
        Self(Value { kind: Some(Kind::BoolValue(boolean)) })
    }

    pub(super) fn object(fields: impl IntoIterator<Item = (String, Entry)>) -> Self {
        Self(Value { kind: Some(Kind::StructValue(structure(fields))) })
    }

    pub(super) fn list(items: impl IntoIterator<Item = Entry>) -> Self {
        let values = items.into_iter().map(|Entry(value)| value).collect();
        Self(Value { kind: Some(Kind::ListValue(ListValue { values })) })
    }
}

/// `{key: value}`, as selectors of transport sockets are.
pub(super) fn structure(fields: impl IntoIterator<Item = (String, Entry)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, Entry(value))| (key, value)).collect() }
}

/// Our metadata with these keys and the version of its format.
pub(super) fn ours(fields: impl IntoIterator<Item = (String, Entry)>) -> Metadata {
    let version = ("version".to_owned(), Entry::number(METADATA_VERSION));
    let ours = structure(fields.into_iter().chain([version]));
    Metadata { filter_metadata: HashMap::from([(METADATA_KEY.to_owned(), ours)]), ..Metadata::default() }
}

/// What is ours on a route: where it came from and what it does that xDS has no place for.
pub(super) fn route(provenance: &Provenance, facts: impl IntoIterator<Item = Fact>) -> Metadata {
    ours(self::provenance(provenance).into_iter().chain(facts))
}

/// The keys of a provenance, without those that are unknown.
pub(super) fn provenance(from: &Provenance) -> Vec<(String, Entry)> {
    let keys = [("document", &from.document), ("rule", &from.rule), ("name", &from.name), ("at", &from.at)];
    let known =
        keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Entry::text(value.as_ref()?))));
    known.collect()
}

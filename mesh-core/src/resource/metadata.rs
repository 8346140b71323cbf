//! Reading what is ours in `filter_metadata`. What explains is as good as unknown where it is missing or of another type; what
//! decides (a sticky key, headers that go on) refuses the resource by its name.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};

use super::Provenance;
use super::provenance::METADATA_KEY;

/// An object in metadata, or nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'m>(Option<&'m Struct>);

impl<'m> Facts<'m> {
    /// What is ours on a resource.
    pub(super) fn ours(metadata: Option<&'m Metadata>) -> Self {
        Self::under(metadata, METADATA_KEY)
    }

    /// What stands under any key.
    pub(super) fn under(metadata: Option<&'m Metadata>, key: &str) -> Self {
        Self(metadata.and_then(|metadata| metadata.filter_metadata.get(key)))
    }

    pub(super) fn text(self, key: &str) -> Option<Arc<str>> {
        match self.kind(key)? {
            Kind::StringValue(text) => Some(text.as_str().into()),
            _ => None,
        }
    }

    pub(super) fn port(self, key: &str) -> Option<u16> {
        match *self.kind(key)? {
            // A float casts to the nearest port, and only a port casts back to the same float.
            Kind::NumberValue(number) if f64::from(number as u16) == number => Some(number as u16),
            _ => None,
        }
    }

    /// A whole number, of seconds for example.
    pub(super) fn whole(self, key: &str) -> Option<u32> {
        match *self.kind(key)? {
            Kind::NumberValue(number) if f64::from(number as u32) == number => Some(number as u32),
            _ => None,
        }
    }

    pub(super) fn is_true(self, key: &str) -> bool {
        matches!(self.kind(key), Some(Kind::BoolValue(true)))
    }

    pub(super) fn object(self, key: &str) -> Self {
        Self(self.kind(key).and_then(as_object))
    }

    /// The objects of a list.
    pub(super) fn objects(self, key: &str) -> impl Iterator<Item = Self> {
        let values = match self.kind(key) {
            Some(Kind::ListValue(list)) => list.values.as_slice(),
            _ => &[],
        };
        values.iter().map(|value| Self(value.kind.as_ref().and_then(as_object)))
    }

    /// The texts of a list; `None` where there is none, or something else.
    pub(super) fn texts(self, key: &str) -> Option<Vec<&'m str>> {
        let Some(Kind::ListValue(list)) = self.kind(key) else { return None };
        let text = |value: &'m Value| match &value.kind {
            Some(Kind::StringValue(text)) => Some(text.as_str()),
            _ => None,
        };
        list.values.iter().map(text).collect()
    }

    /// Whether there is anything at all under a key.
    pub(super) fn has(self, key: &str) -> bool {
        self.kind(key).is_some()
    }

    pub(super) fn provenance(self) -> Provenance {
        let [document, rule, name, at] = ["document", "rule", "name", "at"].map(|key| self.text(key));
        Provenance { document, rule, name, at }
    }

    fn kind(self, key: &str) -> Option<&'m Kind> {
        self.0?.fields.get(key).and_then(|Value { kind }| kind.as_ref())
    }
}

fn as_object(kind: &Kind) -> Option<&Struct> {
    match kind {
        Kind::StructValue(object) => Some(object),
        _ => None,
    }
}

//! The format version that stands in every stored record.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Format 1; a record of another format is refused rather than half understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FormatOne;

impl Serialize for FormatOne {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(1)
    }
}

impl<'de> Deserialize<'de> for FormatOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self),
            format => Err(D::Error::custom(format_args!("format {format}, this control plane reads 1"))),
        }
    }
}

//! Configuration as it is saved: the accepted resources just as they came, so that a restart parses what the stream would
//! have brought.
//!
//! The envelope around it (`saved`) tells a whole file from a damaged one; the version here tells what is inside.

use prost::Message;

/// The last good configuration.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedConfig {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    /// The hosts that were in use.
    #[prost(string, repeated, tag = "2")]
    pub(crate) hosts: Vec<String>,
    /// The inbound listeners that were in use.
    #[prost(string, repeated, tag = "3")]
    pub(crate) inbound: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) resources: Vec<SavedResource>,
}

/// One resource, or the fact that there is none of that name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedResource {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// Empty where the resource does not exist.
    #[prost(string, tag = "3")]
    pub(crate) resource_version: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) body: bytes::Bytes,
}

/// Why saved configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SavedConfigError {
    #[error("it is not the configuration of a mesh: {0}")]
    Encoding(#[from] prost::DecodeError),
    #[error("it has format {found}, this library knows {VERSION}")]
    Version { found: u32 },
}

impl SavedConfig {
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SavedConfigError> {
        let config = <Self as Message>::decode(bytes)?;
        match config.version {
            VERSION => Ok(config),
            found => Err(SavedConfigError::Version { found }),
        }
    }
}

/// The format that this library writes.
pub(crate) const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_and_other_bytes_are_refused() {
        let config = SavedConfig { version: VERSION, hosts: vec!["a:80".into()], ..SavedConfig::default() };
        assert_eq!(SavedConfig::decode(&config.encode()).unwrap(), config);
        let newer = SavedConfig { version: 2, ..SavedConfig::default() };
        assert!(SavedConfig::decode(&newer.encode()).unwrap_err().to_string().contains("format 2"));
        assert!(SavedConfig::decode(b"").is_err());
        assert!(SavedConfig::decode(b"\xff\xff").is_err());
    }
}

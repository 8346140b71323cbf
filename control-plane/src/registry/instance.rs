//! An instance that serves, and how it is stored.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Which instance: the identity that its certificate proves, and what it calls itself among its equals.
///
/// The identity is part of the key, so that nobody can renew, move or remove an instance of another identity.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InstanceKey {
    /// The namespace of its identity.
    pub namespace: String,
    /// The service account of its identity.
    pub service_account: String,
    /// Random, made once per process.
    pub instance_id: String,
}

impl InstanceKey {
    /// Where instances are stored.
    pub const PREFIX: &'static str = "endpoints/";

    /// Where this one is stored.
    pub fn path(&self) -> String {
        format!("{}{self}", Self::PREFIX)
    }

    /// The key that is stored at `path`.
    pub fn from_path(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(Self::PREFIX)?.split('/').map(str::to_owned);
        let key =
            Self { namespace: parts.next()?, service_account: parts.next()?, instance_id: parts.next()? };
        parts.next().is_none().then_some(key)
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.service_account, self.instance_id)
    }
}

/// What is known of an instance.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Instance {
    /// `reviews-v1`: what people call all instances like it.
    pub workload: String,
    /// Its grant's, among them which services it may serve.
    pub labels: BTreeMap<String, String>,
    /// Its grant's.
    pub locality: Option<String>,
    /// Where it serves.
    pub bindings: Vec<Binding>,
    /// Whether it finishes what it has and takes nothing new.
    pub draining: bool,
    /// Whether it says that it wants no requests for now.
    #[serde(default)]
    pub not_ready: bool,
    /// What it runs, for `status` only.
    pub library_version: String,
}

/// One service port that an instance serves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Binding {
    /// The service's full name.
    pub host: String,
    /// The port that callers name.
    pub service_port: u16,
    /// The port that the process listens on.
    pub workload_port: u16,
    /// Where callers connect to.
    pub address: SocketAddr,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    instance: Instance,
}

/// What this program writes, and the only thing it reads.
const STORED_VERSION: u32 = 1;

impl Instance {
    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored { version: STORED_VERSION, instance: self.clone() };
        serde_json::to_vec(&stored).expect("strings and numbers under string keys are JSON")
    }

    /// From what was stored; none where another program wrote it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        (stored.version == STORED_VERSION).then_some(stored.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_instances_survive_the_store() {
        let key = InstanceKey {
            namespace: "default".into(),
            service_account: "reviews".into(),
            instance_id: "a1".into(),
        };
        assert_eq!(key.path(), "endpoints/default/reviews/a1");
        assert_eq!(InstanceKey::from_path(&key.path()), Some(key));
        for foreign in ["endpoints/a/b", "endpoints/a/b/c/d", "documents/a/b/c"] {
            assert_eq!(InstanceKey::from_path(foreign), None, "{foreign}");
        }
        let instance = Instance {
            workload: "reviews-v1".into(),
            labels: [("version".to_owned(), "v1".to_owned())].into(),
            locality: None,
            bindings: vec![Binding {
                host: "reviews.default.svc.cluster.local".into(),
                service_port: 9080,
                workload_port: 41001,
                address: ([10, 0, 0, 7], 41001).into(),
            }],
            draining: false,
            not_ready: true,
            library_version: "0.1.0".into(),
        };
        assert_eq!(Instance::decode(&instance.encode()), Some(instance.clone()));
        let earlier = String::from_utf8(instance.encode()).unwrap().replace(",\"not_ready\":true", "");
        assert!(!Instance::decode(earlier.as_bytes()).expect("as it was written before").not_ready);
        let other = String::from_utf8(instance.encode()).unwrap().replace("\"version\":1", "\"version\":2");
        assert_eq!(Instance::decode(other.as_bytes()), None);
    }
}

//! A workload: something that serves, wherever the mesh knows it from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use mesh_core::resource::Health;

use super::Labels;

/// One instance of something that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `reviews-v1`; with the namespace it is what people call it.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its service account, where known; without one nobody can tell whether a peer is it.
    pub service_account: Option<Arc<str>>,
    /// What selectors and subsets look at.
    pub labels: Arc<Labels>,
    /// Where it listens.
    pub listening: Listening,
    /// `region/zone/subzone`.
    pub locality: Option<Arc<str>>,
    /// Relative to the other workloads of a service, at least 1.
    pub weight: u32,
    /// As far as the control plane knows.
    pub health: Health,
    /// Whether it takes the mesh's mTLS.
    pub in_mesh: bool,
}

/// Where a workload listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listening {
    /// A static address; ports come from the service, save those named here.
    Address {
        /// The address.
        ip: IpAddr,
        /// Port by the name of the service's port, where it is another than the service says.
        ports: BTreeMap<String, u16>,
    },
    /// A name that callers look up; ports as with an address.
    Name {
        /// The name.
        name: Arc<str>,
        /// As with an address.
        ports: BTreeMap<String, u16>,
    },
    /// A Unix socket of the caller's host, whatever port it is called for.
    Pipe(Arc<Path>),
    /// An address that no document tells, as of a Deployment.
    Untold {
        /// Port by the name that a container gives it.
        ports: BTreeMap<String, u16>,
    },
    /// What a registered instance said, within its grant.
    Registered(Vec<Binding>),
}

/// One service port that a registered instance serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The service's full name.
    pub host: Arc<str>,
    /// The port that callers name.
    pub service_port: u16,
    /// The port that the process listens on; what policies call the port.
    pub workload_port: u16,
    /// Where callers connect to.
    pub address: SocketAddr,
}

impl Workload {
    /// `default/reviews-v1`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Its SPIFFE ID in `trust_domain`, if its service account is known.
    pub fn spiffe_id(&self, trust_domain: &str) -> Option<String> {
        let account = self.service_account.as_ref()?;
        Some(format!("spiffe://{trust_domain}/ns/{}/sa/{account}", self.namespace))
    }

    /// Whether it carries every label of `selector`.
    pub fn matches(&self, selector: &Labels) -> bool {
        carries(&self.labels, selector)
    }

    /// Whether its registration names the service `host`.
    pub fn registers(&self, host: &str) -> bool {
        matches!(&self.listening, Listening::Registered(bindings) if bindings.iter().any(|binding| *binding.host == *host))
    }
}

/// Whether `labels` hold every entry of `selector`; an empty selector asks for nothing.
pub(super) fn carries(labels: &Labels, selector: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

//! How each stream fares, for `mesh status`: who has acknowledged what, who has refused what and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::resource::ResourceType;
use mesh_core::subscription::{Encoding, TypeStatus};

use crate::model::ClientKind;

/// One stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// The client's SPIFFE ID, from its certificate.
    pub identity: Arc<str>,
    /// Its workload (`default/reviews-v1`), from its grant.
    pub workload: Option<Arc<str>>,
    /// Its TCP address, where known.
    pub address: Option<Arc<str>>,
    /// What it says it is. Believed for what it can digest, never for what it may see.
    pub client: ClientKind,
    /// The library's or program's version, as it says.
    pub version: Arc<str>,
    /// Delta or state of the world.
    pub encoding: Encoding,
    /// When the stream began.
    pub since: SystemTime,
    /// The last published world that the client has acknowledged whole (refusals count as an answer; see `types`).
    pub revision: u64,
    /// Each type subscribed to.
    pub types: BTreeMap<ResourceType, TypeStatus>,
}

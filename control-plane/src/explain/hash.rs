//! What a cluster's hash policy makes of a question: asked of the data path's own function.

use mesh_core::balance::Endpoint;
use mesh_core::route::{HashPolicy, HashSource};
use mesh_core::snapshot::Cluster;

use super::{Sticky, request};

/// What of a question is hashed.
#[derive(Clone, Copy)]
pub(super) struct Hashing<'q> {
    pub(super) source: HashSource<'q>,
    pub(super) draw: Option<f64>,
    /// Whether a caller without a cookie is told one.
    pub(super) tells: bool,
}

impl Hashing<'_> {
    pub(super) fn seen(&self, policy: &HashPolicy) -> Sticky {
        let key = policy.key.of(&self.source);
        let told = || match self.draw {
            Some(_) => policy.hash(&self.source, self.draw).set_cookie.as_deref().map(request::text),
            None => policy.key.set_cookie_to_come(),
        };
        Sticky {
            on: policy.key.to_string(),
            set_cookie: if self.tells && key.is_none() { told() } else { None },
            key: key.map(|key| key.to_string()),
        }
    }

    /// The endpoint that the request meets for sure.
    pub(super) fn met<'c>(&self, cluster: &'c Cluster) -> Option<&'c Endpoint> {
        let draw = self.draw.filter(|_| self.tells);
        cluster.met_by_hash(cluster.hash_policy()?.hash(&self.source, draw).number?)
    }
}

//! A grant: what a certificate's holder may be and do, decided when its join token was made.
//!
//! Identity, labels, registrable services and views of the configuration all follow from it, never from what a process
//! says of itself. It is recorded by certificate serial and inherited at renewal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a join token gives to whoever joins with it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The namespace of its SPIFFE ID.
    pub namespace: String,
    /// The service account of its SPIFFE ID.
    pub service_account: String,
    /// What it may register; empty for a mere client.
    #[serde(default)]
    pub services: Vec<GrantedService>,
    /// What selectors, subsets and `sourceLabels` look at.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `region/zone/subzone`, where the operator said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
}

/// A service and its port, as callers name them.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrantedService {
    /// The full name, lower case (`reviews.default.svc.cluster.local`).
    pub host: String,
    /// The port that callers name.
    pub port: u16,
}

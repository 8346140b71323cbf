//! The cases of the Bookinfo corpus, typed: `explain` and the running processes are asked the same questions.
//!
//! A key that is not known here fails the reading, so that no expectation is passed over.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Documents, and what they do together with `platform/kube/bookinfo.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    /// Files below the corpus's folder, in the order in which they are applied.
    pub(crate) apply: Vec<String>,
    pub(crate) cases: Vec<Case>,
    /// At least so many requests judge a distribution.
    #[serde(default)]
    pub(crate) repeat: u32,
    #[serde(default, rename = "note")]
    _note: IgnoredAny,
}

/// A request, and what comes of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) request: Request,
    pub(crate) expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    host: String,
    port: u16,
    path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: u16,
    #[serde(default)]
    backend: String,
    #[serde(default)]
    subset: String,
    #[serde(default)]
    subset_distribution: BTreeMap<String, f64>,
    #[serde(default)]
    distribution: BTreeMap<String, f64>,
    #[serde(default = "yes")]
    pub(crate) reaches_backend: bool,
    // Three standard deviations of the requests made are narrower.
    #[serde(default, rename = "distribution_tolerance_abs")]
    _tolerance: IgnoredAny,
}

fn yes() -> bool {
    true
}

/// The corpus's own cases, and some for files that they leave out.
pub(crate) fn sets(folder: &Path) -> Vec<Set> {
    let cases = super::super::cases(folder.join("cases.yaml"));
    let mut sets: Vec<Set> = serde_json::from_value(cases).expect("cases of the known form");
    sets.extend(serde_saphyr::from_str::<Vec<Set>>(MORE).expect("cases of the known form"));
    sets
}

impl Set {
    /// What a case is called: by the last file, which decides.
    pub(crate) fn name(&self, index: usize) -> String {
        format!("{} [{index}]", self.apply.last().map_or("", String::as_str))
    }
}

impl Request {
    pub(crate) fn url(&self) -> String {
        format!("http://{}:{}{}", self.host, self.port, self.path)
    }
}

impl Case {
    /// The share of each workload, by the names that the demo gives its Deployments: `reviews-v1`.
    pub(crate) fn shares(&self) -> BTreeMap<String, f64> {
        let Expect { backend, subset, subset_distribution, distribution, reaches_backend, .. } = &self.expect;
        if !reaches_backend {
            return BTreeMap::new();
        }
        let by_subset = subset_distribution.iter();
        let mut shares: BTreeMap<String, f64> =
            by_subset.map(|(subset, share)| (format!("{backend}-{subset}"), *share)).collect();
        // A backend of the Gateway API is a service that is named with its version.
        shares.extend(distribution.clone());
        if shares.is_empty() {
            let workload = if subset.is_empty() { backend.clone() } else { format!("{backend}-{subset}") };
            shares.insert(workload, 1.0);
        }
        shares
    }
}

/// Files of the corpus that its cases leave out, in the same words.
const MORE: &str = "
- apply: [bookinfo/networking/destination-rule-all-mtls.yaml, bookinfo/networking/virtual-service-reviews-80-20.yaml]
  cases:
  - request: {host: reviews, port: 9080, path: /reviews/0}
    expect: {status: 200, backend: reviews, subset_distribution: {v1: 0.8, v2: 0.2}}
- apply: [bookinfo/networking/destination-rule-reviews.yaml, bookinfo/networking/virtual-service-reviews-50-v3.yaml]
  cases:
  - request: {host: reviews, port: 9080, path: /reviews/0}
    expect: {status: 200, backend: reviews, subset_distribution: {v1: 0.5, v3: 0.5}}
- apply: [bookinfo/networking/destination-rule-all.yaml, bookinfo/networking/virtual-service-reviews-v2-v3.yaml]
  cases:
  - request: {host: reviews, port: 9080, path: /reviews/0}
    expect: {status: 200, backend: reviews, subset_distribution: {v2: 0.5, v3: 0.5}}
- apply: [bookinfo/networking/destination-rule-all.yaml, bookinfo/networking/virtual-service-ratings-db.yaml, bookinfo/networking/virtual-service-reviews-jason-v2-v3.yaml]
  cases:
  - request: {host: reviews, port: 9080, path: /reviews/0, headers: {end-user: jason}}
    expect: {status: 200, backend: reviews, subset: v2}
  - request: {host: reviews, port: 9080, path: /reviews/0}
    expect: {status: 200, backend: reviews, subset: v3}
  - request: {host: ratings, port: 9080, path: /ratings/0}
    expect: {status: 200, backend: ratings, subset: v2}
- apply: [bookinfo/platform/kube/bookinfo-versions.yaml, bookinfo/gateway-api/route-all-v1.yaml, bookinfo/gateway-api/route-reviews-v3.yaml]
  cases:
  - request: {host: productpage, port: 9080, path: /}
    expect: {status: 200, backend: productpage-v1}
  - request: {host: reviews, port: 9080, path: /reviews/0}
    expect: {status: 200, backend: reviews-v3}
  - request: {host: ratings, port: 9080, path: /ratings/0}
    expect: {status: 200, backend: ratings-v1}
  - request: {host: details, port: 9080, path: /details/0}
    expect: {status: 200, backend: details-v1}
";

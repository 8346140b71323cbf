//! The answer of `explain` and what real sockets do: the questions of the corpora, asked of both.
//!
//! ```text
//!  documents ─► Explainer, offline ─────────────┐
//!      │                                        ├─ equal? ─┐
//!      └─► mesh serve ◄─ members that serve     │          ├─ equal?
//!              └──────── explain, online ───────┘          │
//!                 real caller ─► real members note all that reaches them
//! ```
//! Nothing is passed over in silence: what cannot be driven on one machine is counted with its reason, and each corpus has a
//! number of cases that are driven at the least. Cases that ask nothing of a request (delegates, validation, which
//! DestinationRules apply) are asked of the library alone.
//!
//! # Layout
//!
//! [`question`] what can be driven, and as what · [`documents`] as they can run here, and who serves by them · [`fleet`] the
//! members · [`drive`] one question after the other · [`call`] a request and what came of it · [`copies`] its mirrors ·
//! [`bytes`] the same of a connection · [`agreement`] the comparison.

mod agreement;
mod bytes;
mod call;
mod copies;
mod documents;
mod drive;
mod fleet;
mod question;

use super::{
    Asked, Outcome, Tally, bookinfo, folder, gateway_api, istio_authz, istio_dr_select,
    istio_path_normalization, istio_peer_authn, istio_vs_merge, istio_vs_traffic,
};
use drive::Driver;

#[tokio::test(flavor = "multi_thread")]
async fn gateway_api_conformance() {
    drive("gateway-api-conformance", gateway_api::asked, "gateway-api-conformance, on sockets", 191).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_services() {
    drive("istio-vs-traffic", istio_vs_traffic::asked, "istio-vs-traffic, on sockets", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_for_a_host() {
    drive("istio-vs-merge", istio_vs_merge::asked, "istio-vs-merge, on sockets", 27).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported() {
    drive("istio-dr-select", istio_dr_select::asked, "istio-dr-select, on sockets", 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorization_policies() {
    drive("istio-authz", istio_authz::asked, "istio-authz, on sockets", 137).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transports_of_servers() {
    drive("istio-peer-authn", istio_peer_authn::asked, "istio-peer-authn, on sockets", 63).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canonical_paths() {
    drive(
        "istio-path-normalization",
        istio_path_normalization::asked,
        "istio-path-normalization, on sockets",
        171,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bookinfos_documents() {
    drive("bookinfo", bookinfo::asked, "bookinfo, on sockets", 31).await;
}

async fn drive(corpus: &str, asked: fn(&std::path::Path) -> Vec<Asked>, name: &'static str, floor: usize) {
    let Some(folder) = folder(corpus) else { return };
    let start = std::time::Instant::now();
    let mut driver = Driver::start().await;
    let mut tally = Tally::new(name);
    for asked in asked(&folder) {
        let outcome = driver.drive(&asked).await.err().unwrap_or(Outcome::Passed);
        tally.case(&asked.name, outcome);
    }
    println!("{name}: {:?}", start.elapsed());
    tally.finish(floor);
}

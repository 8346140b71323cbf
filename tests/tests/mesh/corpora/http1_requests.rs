//! llhttp's raw requests, sent to a real server of the mesh: what a strict parser refuses must never be a request that an
//! application takes for whole.
//!
//! What llhttp accepts only with a leniency switched on counts as refused, as the corpus says.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::http_site::HttpSite;
use super::{Outcome, Tally, folder, items, text};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_strict_parser_refuses_no_application_takes_for_whole() {
    let Some(folder) = folder("security") else { return };
    let file = folder.join("http1/llhttp-requests.json");
    let corpus: Value = serde_json::from_slice(&std::fs::read(&file).expect("the corpus")).expect("JSON");
    let site = HttpSite::start().await;
    let mut tally = Tally::new("llhttp-requests");
    for case in items(&corpus, "cases") {
        let strict = text(case, "llhttp_verdict") == "ok" && case["lenient_flag"].is_null();
        // What is good is not the question: no Host is 400 here, and other protocols than HTTP are none.
        if !strict {
            tally.case(text(case, "name"), ask(&site, case).await);
        }
    }
    tally.finish(44);
}

async fn ask(site: &HttpSite, case: &Value) -> Outcome {
    let raw = BASE64_STANDARD.decode(text(case, "raw_b64")).expect("base64");
    match site.exchange(&raw).await {
        None => Outcome::Wrong("the server neither answers nor closes".to_owned()),
        Some(came) if came.whole == 0 => Outcome::Passed,
        Some(came) => {
            Outcome::Wrong(format!("{} requests taken for whole: {}", came.whole, text(case, "reason")))
        }
    }
}

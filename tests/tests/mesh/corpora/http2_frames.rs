//! Single frames that break HTTP/2, sent to a real server of the mesh after a good preface: each ends its connection, or at least
//! its stream, with an error.
//!
//! The corpus' good frames are for parsers: alone they are no conversation, and say nothing of a server.

use serde_json::Value;

use super::http_site::HttpSite;
use super::{Outcome, Tally, folder, items, text};

/// The client's preface and its empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const FRAME_HEAD_BYTES: usize = 9;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_breaks_the_protocol_is_answered_by_its_error() {
    let Some(folder) = folder("security") else { return };
    let file = folder.join("http2/frame-test-case.json");
    let corpus: Value = serde_json::from_slice(&std::fs::read(&file).expect("the corpus")).expect("JSON");
    let site = HttpSite::start().await;
    let mut tally = Tally::new("http2-frames");
    for case in items(&corpus, "cases").iter().filter(|case| case["error"].is_array()) {
        tally.case(text(case, "file"), ask(&site, case).await);
    }
    tally.finish(8);
}

async fn ask(site: &HttpSite, case: &Value) -> Outcome {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(bytes_of(text(case, "wire")));
    let Some(came) = site.exchange(&bytes).await else {
        return Outcome::Wrong("the server neither answers nor closes".to_owned());
    };
    let expected: Vec<u64> = items(case, "error").iter().filter_map(Value::as_u64).collect();
    let codes = error_codes(&came.answer);
    match came.whole == 0 && codes.iter().any(|code| expected.contains(&u64::from(*code))) {
        true => Outcome::Passed,
        false => Outcome::Wrong(format!("errors {codes:?}, not {expected:?}; {} requests", came.whole)),
    }
}

/// The codes of all GOAWAY and RST_STREAM frames.
fn error_codes(mut answer: &[u8]) -> Vec<u32> {
    let mut codes = Vec::new();
    while let Some((head, rest)) = answer.split_at_checked(FRAME_HEAD_BYTES) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        let code = match head[3] {
            RST_STREAM => payload.first_chunk(),
            // After the last stream's number.
            GOAWAY => payload.get(4..).and_then(<[u8]>::first_chunk),
            _ => None,
        };
        codes.extend(code.map(|code| u32::from_be_bytes(*code)));
        answer = rest;
    }
    codes
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(pair).collect()
}

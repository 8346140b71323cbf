//! When endpoints that fail are left alone: two are asked in turn while none is, and one of them alone where one is.

use super::ask::{Ask, See, get, grpc};
use super::case::{Case, case};
use super::destination_rule::everywhere;
use super::teller::{FAIL, WAIT};

const EJECTED: &str = "at random";
const NOT: &str = "in turn";

pub(super) fn cases() -> Vec<Case> {
    let fails = |status: &str| get("http://pair:9080/").header(FAIL, status).times(20).see(See::Turns);
    // Of local origin: the deadline passes before an answer begins.
    let late = grpc("/shop.v1.Shop/Buy").at("pair:9080").header("grpc-timeout", "30m").header(WAIT, "200");
    let late = late.times(8).see(See::Turns);
    let off = "consecutive5xxErrors: 0";
    let rows = [
        ("consecutive5xxErrors", "consecutive5xxErrors: <<3 -> 0>>".to_owned(), fails("500")),
        (
            "consecutiveGatewayErrors",
            format!("{off}, consecutiveGatewayErrors: <<3 -> 0>>"),
            fails("503"),
        ),
        (
            "consecutiveLocalOriginFailures",
            format!("{off}, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: <<2 -> 0>>"),
            late.clone(),
        ),
        (
            "splitExternalLocalOriginErrors",
            "consecutive5xxErrors: 2, consecutiveLocalOriginFailures: 0, splitExternalLocalOriginErrors: <<false -> true>>"
                .to_owned(),
            late,
        ),
        (
            "outlierDetectionHttpErrorCodes",
            "consecutive5xxErrors: 3, outlierDetectionHttpErrorCodes: [<<418 -> 419>>]".to_owned(),
            fails("418"),
        ),
    ];
    let row = |(field, settings, ask): (&'static str, String, Ask)| {
        let block = format!(
            "loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {{baseEjectionTime: 100ms, {settings}}}"
        );
        everywhere("pair", 9080, &block).into_iter().map(move |(place, documents)| {
            case(format!("{place}.outlierDetection.{field}"), documents, ask.clone(), EJECTED, NOT)
        })
    };
    // The other way round: while it counts, an endpoint that goes on failing is not readmitted.
    let older = "loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {baseEjectionTime: 100ms, consecutiveErrors: <<1000 -> 3>>}";
    let older = everywhere("pair", 9080, older).into_iter().map(|(place, documents)| {
        case(format!("{place}.outlierDetection.consecutiveErrors"), documents, fails("500"), NOT, EJECTED)
    });
    rows.into_iter().flat_map(row).chain(older).collect()
}

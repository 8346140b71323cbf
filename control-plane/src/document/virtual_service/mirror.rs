//! Mirrors of an `http` rule: copies of requests, to other destinations.
//!
//! Istio has two spellings, a single `mirror` with its share beside it and the list `mirrors`; both become one list here.

use super::super::{Code, Fields, integer, object};
use super::action::{self, HttpAction, RouteDestination};
use super::fault::percent;

/// Copies to one destination.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// Where the copies go.
    pub destination: RouteDestination,
    /// Of a hundred requests; all unless it is said.
    pub percentage: f64,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>, action: &HttpAction) -> Vec<Mirror> {
    let single = fields.optional("mirror", object(action::destination));
    let mut mirrors = fields.list("mirrors", |value| value.object(entry));
    let percentage = fields.optional("mirrorPercentage", object(percent));
    fields.deprecated("mirrorPercent", "`mirrorPercentage`");
    // A hundred at most, which is exact.
    let percent = fields.optional("mirrorPercent", integer(0, 100)).map(|percent| percent as f64);
    for share in ["mirrorPercentage", "mirrorPercent"] {
        if fields.has(share) && !fields.has("mirror") {
            fields.suspicious(share, "has no effect without `mirror`", "add `mirror`, or remove the field");
        }
    }
    let percentage = percentage.or(percent).unwrap_or(100.0);
    mirrors.extend(single.map(|destination| Mirror { destination, percentage }));
    for mirror in &mirrors {
        to_itself(fields, mirror, action);
    }
    mirrors
}

fn entry(fields: &mut Fields<'_, '_>) -> Mirror {
    Mirror {
        destination: fields.required("destination", object(action::destination)),
        percentage: fields.optional("percentage", object(percent)).unwrap_or(100.0),
    }
}

/// Copies to where the request goes anyway double its load, which nobody means.
fn to_itself(fields: &mut Fields<'_, '_>, mirror: &Mirror, action: &HttpAction) {
    let HttpAction::Route(routes) = action else { return };
    let place = |one: &RouteDestination| {
        (one.host.value.clone(), one.subset.as_ref().map(|subset| subset.value.clone()), one.port)
    };
    if routes.iter().any(|route| place(route) == place(&mirror.destination)) {
        let field = if fields.has("mirror") { "mirror" } else { "mirrors" };
        let message = "copies go where the requests go themselves, so that each is served twice";
        fields.note(Code::Suspicious, field, message, "mirror to another host or subset");
    }
}

//! How long a rule of the Gateway API lets a request, and each of its tries, take.

use std::time::Duration;

use super::{Fields, Value, duration_or_zero, shorten};

/// Limits in time; absent, like `0s`, is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// Of the whole request with its retries.
    pub request: Option<Duration>,
    /// Of each try, until its answer begins.
    pub backend_request: Option<Duration>,
}

pub(super) fn timeouts(fields: &mut Fields<'_, '_>) -> RouteTimeouts {
    let limit = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
    let timeouts = RouteTimeouts {
        request: limit(fields.optional("request", duration)),
        backend_request: limit(fields.optional("backendRequest", duration)),
    };
    if let (Some(request), Some(backend)) = (timeouts.request, timeouts.backend_request)
        && backend > request
    {
        fields.conflict("backendRequest", "is longer than `request`", "make it shorter");
    }
    timeouts
}

/// The Gateway API's durations (GEP-2257): as Go's, but whole numbers of at most five digits, and four of them at most.
pub(super) fn duration(mut value: Value<'_, '_>) -> Duration {
    const NEXT: &str = "write whole numbers with units: `250ms`, `1m30s`";
    let findings = value.reader.findings.len();
    let read = duration_or_zero(value.reborrow());
    if let Some(written) = value.written()
        && value.reader.findings.len() == findings
        && !is_of_the_gateway_api(written)
    {
        value.invalid(format!("`{}` is not a duration of the Gateway API", shorten(written)), NEXT);
    }
    read
}

fn is_of_the_gateway_api(written: &str) -> bool {
    let numbers: Vec<&str> =
        written.split(|letter: char| !letter.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let units: Vec<&str> =
        written.split(|letter: char| letter.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    numbers.len() == units.len()
        && (1..=4).contains(&units.len())
        && written.starts_with(|letter: char| letter.is_ascii_digit())
        && numbers.iter().all(|number| number.len() <= 5)
        && units.iter().all(|unit| matches!(*unit, "h" | "m" | "s" | "ms"))
}

//! One `http` rule of a VirtualService: what it matches, what it does.
//!
//! A rule does exactly one of three things, which is why the action is an enum and not three optional fields.

use std::time::Duration;

use super::super::{
    CorsPolicy, Fields, Headers, Retries, Span, Value, cors, duration_or_zero, header, object, retries, text,
};
use super::Bound;
use super::action::{self, Delegate, HttpAction, Rewrite};
use super::fault::{self, Fault};
use super::matching::{self, HttpMatch};
use super::mirror::{self, Mirror};

/// One rule.
#[derive(Clone, Debug, Default)]
pub struct HttpRule {
    /// Where the rule begins.
    pub span: Span,
    /// Its name, for people.
    pub name: Option<String>,
    /// Any of these must match; none at all matches everything.
    pub matches: Vec<HttpMatch>,
    /// Whose rules take this one's place; its own action is then none.
    pub delegate: Option<Delegate>,
    /// What is done with a request that matches.
    pub action: HttpAction,
    /// Operations on headers, before those of the destination.
    pub headers: Headers,
    /// What is rewritten before sending.
    pub rewrite: Option<Rewrite>,
    /// What is injected before sending.
    pub fault: Option<Fault>,
    /// What pages of other origins may do.
    pub cors: Option<CorsPolicy>,
    /// Where copies go.
    pub mirrors: Vec<Mirror>,
    /// How long request and retries may take together; zero is without limit.
    pub timeout: Option<Duration>,
    /// How often it is tried again.
    pub retries: Option<Retries>,
}

pub(super) fn decode(value: Value<'_, '_>, bound: Bound) -> HttpRule {
    value.object(|fields| {
        let action = action::decode(fields);
        let rule = HttpRule {
            span: fields.span(),
            name: fields.optional("name", text),
            matches: fields.list("match", |value| matching::decode(value, bound)),
            delegate: fields.optional("delegate", object(action::delegate)),
            mirrors: mirror::decode(fields, &action),
            action,
            headers: fields.or_default("headers", object(header::headers)),
            rewrite: fields.optional("rewrite", object(action::rewrite)),
            fault: fields.optional("fault", object(fault::decode)),
            cors: fields.optional("corsPolicy", object(cors::virtual_service)),
            timeout: fields.optional("timeout", duration_or_zero),
            retries: fields.optional("retries", object(retries::virtual_service)),
        };
        exclusions(fields, &rule, bound.delegate);
        rule
    })
}

fn exclusions(fields: &mut Fields<'_, '_>, rule: &HttpRule, delegate: bool) {
    if fields.has("delegate") {
        for excluded in ["route", "redirect", "directResponse"] {
            conflict(fields, "delegate", excluded);
        }
        if delegate {
            fields.conflict("delegate", "a delegate cannot delegate again", "route here");
        }
    } else {
        fields.exactly_one(&["route", "redirect", "directResponse"]);
    }
    for answered in ["redirect", "directResponse"] {
        conflict(fields, answered, "fault");
        conflict(fields, answered, "rewrite");
    }
    conflict(fields, "mirror", "mirrors");
    let per_try = rule.retries.as_ref().and_then(|retries| retries.per_try_timeout);
    let limit = rule.timeout.filter(|limit| !limit.is_zero());
    if per_try.zip(limit).is_some_and(|(per_try, limit)| per_try > limit) {
        fields.suspicious(
            "retries",
            "give an attempt more time than `timeout` gives all",
            "make `perTryTimeout` shorter",
        );
    }
    let request = &rule.headers.request;
    let mut authorities =
        request.set.iter().chain(&request.add).filter(|(name, _)| header::is_authority(name)).count();
    authorities += usize::from(rule.rewrite.as_ref().is_some_and(|rewrite| rewrite.authority.is_some()));
    if authorities > 1 {
        fields.conflict("headers", "the authority is written more than once", "keep `rewrite.authority`");
    }
}

fn conflict(fields: &mut Fields<'_, '_>, first: &'static str, second: &'static str) {
    if fields.has(first) && fields.has(second) {
        fields.conflict(second, format!("excludes `{first}`"), "keep one of the two");
    }
}

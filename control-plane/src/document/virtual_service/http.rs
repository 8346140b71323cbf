//! One `http` rule of a VirtualService: what it matches, what it does.
//!
//! A rule does exactly one of three things, which is why the action is an enum and not three optional fields.

use std::time::Duration;

use super::super::fields::Fields;
use super::super::header::{self, Headers};
use super::super::scalar::{duration_or_zero, text};
use super::super::value::{Value, object};
use super::super::yaml::Span;
use super::Bound;
use super::action::{self, Delegate, HttpAction, Rewrite};
use super::cors::{self, CorsPolicy};
use super::fault::{self, Fault};
use super::matching::{self, HttpMatch};
use super::mirror::{self, Mirror};
use super::resilience;

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
            cors: fields.optional("corsPolicy", object(cors::decode)),
            timeout: fields.optional("timeout", duration_or_zero),
        };
        fields.unsupported("retries", object(resilience::retries));
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

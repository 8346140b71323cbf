//! `sessionPersistence` of a route's rule: a caller comes back to the version and to the endpoint that answered it first.
//!
//! A session lasts as long as its token, which the caller keeps: a cookie while the browser runs, or with `Permanent` for
//! `absoluteTimeout`. Limits on it stand in the token, and whoever brings one whose time is over begins anew.

use std::time::Duration;

use mesh_core::route::StickyKey;

use super::route_timeouts::duration;
use super::{Code, Fields, Value, choice, object, some_text};

/// How a session is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPersistence {
    /// The name of the cookie or header; the mesh makes one up where there is none.
    pub name: Option<String>,
    /// Which of the two.
    pub carrier: Carrier,
    /// How long a session lasts; without it, as long as the caller keeps the token.
    pub absolute: Option<Duration>,
    /// How long it may go without a request.
    pub idle: Option<Duration>,
    /// Whether a cookie outlives the browser's run, up to `absolute`.
    pub permanent: bool,
}

/// What carries a session's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// A cookie, which browsers keep by themselves.
    #[default]
    Cookie,
    /// A header of the same name in response and request.
    Header,
}

impl SessionPersistence {
    /// By what a split is sticky, where the rule's own name for a session is `otherwise`.
    pub fn key(&self, otherwise: &str) -> Option<StickyKey> {
        let form = match self.carrier {
            Carrier::Cookie => "cookie",
            Carrier::Header => "header",
        };
        format!("{form}:{}", self.name.as_deref().unwrap_or(otherwise)).parse().ok()
    }
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> SessionPersistence {
    let carriers = [("Cookie", -1, Carrier::Cookie), ("Header", -2, Carrier::Header)];
    let carrier = fields.or_default("type", choice(&carriers));
    let name = fields.optional("sessionName", |value| name(value, carrier));
    let permanent = fields.or_default("cookieConfig", object(is_permanent));
    if carrier == Carrier::Header && fields.has("cookieConfig") {
        fields.note(Code::Conflict, "cookieConfig", "goes with `type: Cookie` only", "remove one of the two");
    }
    let limit = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
    let absolute = limit(fields.optional("absoluteTimeout", duration));
    let idle = limit(fields.optional("idleTimeout", duration));
    if permanent && absolute.is_none() {
        let message = "is required by `lifetimeType: Permanent`";
        fields.missing("absoluteTimeout", message, "write how long the cookie is kept");
    }
    SessionPersistence { name, carrier, absolute, idle, permanent }
}

fn is_permanent(fields: &mut Fields<'_, '_>) -> bool {
    fields.or_default("lifetimeType", choice(&[("Session", -1, false), ("Permanent", -2, true)]))
}

fn name(mut value: Value<'_, '_>, carrier: Carrier) -> String {
    let name = some_text(value.reborrow());
    let session = SessionPersistence { name: Some(name.clone()), carrier, ..Default::default() };
    if !name.is_empty() && session.key("").is_none() {
        let next = "use letters, digits, `-`, `_` and `.`, at most 128 of them";
        value.invalid("names no cookie or header that can carry a session", next);
    }
    name
}

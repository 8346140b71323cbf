//! What a split makes of the request of a question: the choice, where one is sure, and by what it is sticky.

use http::HeaderMap;
use mesh_core::route::{Choice, KeySource, Session, Split};

use super::{Question, Sticky, request};
use crate::model::World;

/// A split's answer.
pub(super) struct Chosen<'s> {
    /// The place of the destination that is sure: the only one, that of the key, or the drawn one.
    pub(super) at: Option<usize>,
    /// By what the split is sticky.
    pub(super) sticky: Option<Sticky>,
    /// The session that keeps its endpoint too.
    pub(super) session: Option<Session<'s>>,
}

/// Asks the data path's own function, with the question's draw if it has one.
pub(super) fn choose<'s>(
    split: &'s Split,
    world: &World,
    question: &Question,
    headers: &HeaderMap,
) -> Chosen<'s> {
    let identity = question.from.principal(&world.settings().trust_domain);
    let source = KeySource {
        headers,
        identity: identity.as_deref(),
        unix_seconds: split.minds_time().then(|| question.unix_seconds()),
    };
    let choice = split.choose(&source, question.draw);
    let place = |choice: &Choice<'_>| {
        split.destinations.iter().position(|destination| std::ptr::eq(destination, choice.destination))
    };
    let sticky = split.sticky_key().map(|key| Sticky {
        on: key.to_string(),
        key: key.of(&source).map(|key| String::from_utf8_lossy(&key).into_owned()),
        set_cookie: match &choice {
            Some(Choice { session: Some(session), .. }) => session.set_cookie_to_come(),
            Some(choice) if !split.keeps_endpoints() => choice.set_cookie.as_deref().map(request::text),
            _ => split.set_cookie_to_come(),
        },
    });
    Chosen { at: choice.as_ref().and_then(place), sticky, session: choice.and_then(|choice| choice.session) }
}

//! By what a route keeps its callers, as our metadata says it.
//!
//! The salt is the document's name: what happens to its rules moves nobody, and two documents choose independently.

use std::time::Duration;

use mesh_core::route::StickyKey;

use super::metadata::Entry;
use crate::document::SessionPersistence;
use crate::model::Declared;

/// A key of the metadata and its value.
pub(super) type Fact = (String, Entry);

/// The annotation's wish, for a rule that divides traffic.
pub(super) fn annotated<T>(document: &Declared<T>, destinations: usize) -> Option<Fact> {
    let key = document.sticky.as_ref().filter(|_| destinations > 1)?;
    Some(fact(key, document, []))
}

/// A rule's own `sessionPersistence`, which keeps the endpoint as well.
pub(super) fn session<T>(session: &SessionPersistence, document: &Declared<T>, rule: usize) -> Option<Fact> {
    // The rule's place comes first, since what is too long for a name is cut off.
    let own = format!("session-{rule}-{}", document.id.replace('/', "-"));
    let own: String = own.chars().take(NAME_CHARACTERS_MAX).collect();
    let seconds = |limit: Duration| Entry::number(u32::try_from(limit.as_secs().max(1)).unwrap_or(u32::MAX));
    let facts = [
        Some(("endpoint", Entry::boolean(true))),
        session.absolute.map(|limit| ("seconds_max", seconds(limit))),
        session.idle.map(|limit| ("idle_seconds_max", seconds(limit))),
        session.permanent.then(|| ("permanent", Entry::boolean(true))),
    ];
    let facts = facts.into_iter().flatten().map(|(name, entry)| (name.to_owned(), entry));
    Some(fact(&session.key(&own)?, document, facts))
}

fn fact<T>(key: &StickyKey, document: &Declared<T>, more: impl IntoIterator<Item = Fact>) -> Fact {
    let fields = [("on", &*key.to_string()), ("salt", &document.id)];
    let fields = fields.map(|(name, value)| (name.to_owned(), Entry::text(value)));
    ("sticky".to_owned(), Entry::object(fields.into_iter().chain(more)))
}

/// As long as the name of a cookie may be.
const NAME_CHARACTERS_MAX: usize = 128;

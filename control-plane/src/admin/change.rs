//! Changes of documents as the protocol says them.

use super::proto;
use crate::catalog::{Action, Change};
use crate::document::{DocumentKey, Kind};

/// A document's name on the wire.
pub(super) fn name(key: &DocumentKey) -> proto::DocumentName {
    proto::DocumentName {
        kind: key.kind.name().to_owned(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

/// A document's name from the wire; none where there is no such kind.
pub(super) fn key(name: &proto::DocumentName) -> Option<DocumentKey> {
    let kind = Kind::from_name(&name.kind)?;
    Some(DocumentKey { kind, namespace: name.namespace.clone(), name: name.name.clone() })
}

/// A change on the wire.
pub(super) fn change(change: &Change) -> proto::Change {
    use proto::change::Action as Wire;
    let action = match change.action {
        Action::Unchanged => Wire::Unchanged,
        Action::Created => Wire::Created,
        Action::Replaced => Wire::Replaced,
        Action::Deleted => Wire::Deleted,
    };
    proto::Change {
        document: Some(name(&change.key)),
        action: action.into(),
        before: change.before.clone().unwrap_or_default(),
        after: change.after.clone().unwrap_or_default(),
    }
}

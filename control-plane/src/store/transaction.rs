//! The one way to write: comparisons, and operations that happen only if all of them hold.
//!
//! Limits are checked here, before a transaction reaches an implementation, so that all of them refuse the same.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::StoreError;

/// A key is a path; longer ones are a mistake of ours or an attack.
pub const KEY_BYTES_MAX: usize = 1024;
/// One document, grant or endpoint. etcd's own limit for a request is 1.5 MiB.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Comparisons and operations of one transaction together: how many documents one `apply` may hold.
pub const TRANSACTION_OPS_MAX: usize = 16 * 1024;
/// Keys and values of one transaction together.
pub const TRANSACTION_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Comparisons and operations, applied together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    compares: Vec<Compare>,
    ops: Vec<Op>,
}

impl Transaction {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds the creation or replacement of `key`.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into() });
        self
    }

    /// Adds the removal of `key`; an absent key is no error.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// The conditions.
    pub fn compares(&self) -> &[Compare] {
        &self.compares
    }

    /// What is done when all conditions hold.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        limit("transaction_ops", self.compares.len() + self.ops.len(), TRANSACTION_OPS_MAX)?;
        let mut bytes = 0;
        for compare in &self.compares {
            limit("key_bytes", compare.key.len(), KEY_BYTES_MAX)?;
            bytes += compare.key.len();
        }
        let mut written = BTreeSet::new();
        for op in &self.ops {
            limit("key_bytes", op.key().len(), KEY_BYTES_MAX)?;
            limit("value_bytes", op.value_bytes(), VALUE_BYTES_MAX)?;
            bytes += op.key().len() + op.value_bytes();
            if !written.insert(op.key()) {
                return Err(StoreError::DuplicateKey(op.key().to_owned()));
            }
        }
        limit("transaction_bytes", bytes, TRANSACTION_BYTES_MAX)
    }

    pub(super) fn bytes(&self) -> usize {
        self.ops.iter().map(|op| op.key().len() + op.value_bytes()).sum()
    }
}

/// A condition on one key. In etcd both are a comparison of the `MOD` revision, absent being 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub(super) key: String,
    pub(super) mod_revision: u64,
}

impl Compare {
    /// Holds while `key` does not exist.
    pub fn absent(key: impl Into<String>) -> Self {
        Self { key: key.into(), mod_revision: 0 }
    }

    /// Holds while the value of `key` is the one that was put at `mod_revision`.
    pub fn unchanged(key: impl Into<String>, mod_revision: u64) -> Self {
        Self { key: key.into(), mod_revision }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces.
    Put {
        /// The path.
        key: String,
        /// What will be read there.
        value: Bytes,
    },
    /// Removes; an absent key is no error.
    Delete {
        /// The path.
        key: String,
    },
}

impl Op {
    /// The path that is written.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    fn value_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is stored.
    Committed {
        /// Its revision; the newest one if it changed nothing (only removed what was not there).
        revision: u64,
    },
    /// Nothing was done.
    Conflict {
        /// The first key whose condition did not hold.
        key: String,
    },
}

fn limit(what: &'static str, actual: usize, max: usize) -> Result<(), StoreError> {
    if actual > max { Err(StoreError::Limit { what, actual, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(transaction: Transaction, expected: &str) {
        let said = transaction.check().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{said}");
    }

    #[test]
    fn limits_hold_before_anything_is_tried() {
        let many = |count| (0..count).fold(Transaction::new(), |all, n| all.put(format!("k/{n}"), "v"));
        check(Transaction::new(), "");
        check(Transaction::new().put("a", "1").delete("b"), "");
        check(Transaction::new().put("a", "1").delete("a"), "key a is written twice");
        check(Transaction::new().put("k".repeat(KEY_BYTES_MAX), vec![0; VALUE_BYTES_MAX]), "");
        check(Transaction::new().put("k".repeat(KEY_BYTES_MAX + 1), "v"), "key_bytes is 1025");
        check(Transaction::new().when(Compare::absent("k".repeat(KEY_BYTES_MAX + 1))), "key_bytes is 1025");
        check(Transaction::new().put("k", vec![0; VALUE_BYTES_MAX + 1]), "value_bytes is 1048577");
        check(many(TRANSACTION_OPS_MAX), "");
        check(many(TRANSACTION_OPS_MAX).when(Compare::absent("a")), "transaction_ops is 16385");
        let large =
            (0..33).fold(Transaction::new(), |all, n| all.put(format!("{n}"), vec![0; VALUE_BYTES_MAX]));
        check(large, "transaction_bytes is");
    }
}

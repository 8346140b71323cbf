//! Connections of bytes: which rule takes one. All that is known before its first byte are the host that was dialled and, of
//! pass-through TLS, the server name.

use std::collections::HashMap;

use super::Split;
use crate::resource::Provenance;
use crate::trace::Trace;

/// The rules for a host's connections. The most specific server name decides, as in Envoy and whatever the order: an exact
/// one, then the longest wildcard, then the rule that names none.
#[derive(Debug, Default)]
pub struct OpaqueTable {
    rules: Vec<OpaqueRule>,
    exact: HashMap<Box<str>, usize>,
    /// By what follows the `*`.
    suffixes: HashMap<Box<str>, usize>,
    any: Option<usize>,
}

/// One rule for connections.
#[derive(Debug)]
pub struct OpaqueRule {
    /// Where it came from.
    pub provenance: Provenance,
    /// The server names that it takes, lower case, some beginning with `*.`; none at all: every connection.
    pub server_names: Vec<Box<str>>,
    /// Where a connection goes.
    pub split: Split,
    /// How many endpoints are tried until one takes the connection; at least one is.
    pub connects_max: u32,
}

/// Two rules would take the same connections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// By the same server name.
    #[error("name the server name `{0}` twice")]
    ServerName(Box<str>),
    /// By naming none.
    #[error("are two without server names")]
    Any,
}

impl OpaqueTable {
    /// Compiles rules.
    ///
    /// # Errors
    /// Where two of them take the same connections.
    pub fn new(rules: Vec<OpaqueRule>) -> Result<Self, Ambiguous> {
        let mut table = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            if rule.server_names.is_empty() && table.any.replace(at).is_some() {
                return Err(Ambiguous::Any);
            }
            for name in &rule.server_names {
                let before = match name.strip_prefix('*') {
                    Some(suffix) => table.suffixes.insert(suffix.into(), at),
                    None => table.exact.insert(name.clone(), at),
                };
                if before.is_some() {
                    return Err(Ambiguous::ServerName(name.clone()));
                }
            }
        }
        Ok(Self { rules, ..table })
    }

    /// The rule that takes a connection whose TLS client sends this server name, lower case; `None`: none does.
    pub fn decide(&self, server_name: Option<&str>, trace: &mut impl Trace) -> Option<&OpaqueRule> {
        let chosen = server_name.and_then(|name| self.named(name)).or(self.any);
        trace.note_all(self.rules.iter().enumerate().map(|(at, rule)| rule.account(chosen == Some(at))));
        chosen.map(|at| &self.rules[at])
    }

    fn named(&self, name: &str) -> Option<usize> {
        let suffixes = name.match_indices('.').map(|(dot, _)| &name[dot..]);
        let longest = || suffixes.filter_map(|suffix| self.suffixes.get(suffix)).next();
        self.exact.get(name).or_else(longest).copied()
    }

    /// All rules.
    pub fn rules(&self) -> &[OpaqueRule] {
        &self.rules
    }

    /// The documents whose rules these are, each once.
    pub fn documents(&self) -> Vec<&str> {
        let mut documents: Vec<_> =
            self.rules.iter().filter_map(|rule| rule.provenance.document.as_deref()).collect();
        documents.dedup();
        documents
    }
}

impl OpaqueRule {
    fn account(&self, is_chosen: bool) -> String {
        let wanted = match self.server_names.is_empty() {
            true => "every connection".to_owned(),
            false => format!("the server name {}", self.server_names.join(", ")),
        };
        let verdict = if is_chosen { "takes this connection" } else { "does not take this one" };
        format!("{}, for {wanted}: {verdict}", self.provenance.label_after(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::NoTrace;

    fn rule(server_names: &[&str]) -> OpaqueRule {
        OpaqueRule {
            provenance: Provenance { rule: Some(server_names.join(" ").into()), ..Provenance::default() },
            server_names: server_names.iter().map(|name| Box::from(*name)).collect(),
            split: Split::new(Vec::new()),
            connects_max: 1,
        }
    }

    fn table(rules: &[&[&str]]) -> Result<OpaqueTable, Ambiguous> {
        OpaqueTable::new(rules.iter().map(|names| rule(names)).collect())
    }

    #[test]
    fn the_most_specific_server_name_decides_whatever_the_order() {
        let with_default = table(&[&["*.com"], &[], &["*.a.com", "b.org"], &["x.a.com"]]).unwrap();
        let without = table(&[&["*.com"]]).unwrap();
        let check = |table: &OpaqueTable, name: Option<&str>, expected: Option<&str>| {
            let chosen = table.decide(name, &mut NoTrace);
            assert_eq!(chosen.and_then(|rule| rule.provenance.rule.as_deref()), expected, "{name:?}");
        };
        check(&with_default, Some("x.a.com"), Some("x.a.com"));
        check(&with_default, Some("y.a.com"), Some("*.a.com b.org"));
        check(&with_default, Some("z.y.a.com"), Some("*.a.com b.org"));
        check(&with_default, Some("b.org"), Some("*.a.com b.org"));
        check(&with_default, Some("a.com"), Some("*.com"));
        check(&with_default, Some("com"), Some(""));
        check(&with_default, None, Some(""));
        check(&without, Some("b.org"), None);
        check(&without, None, None);
    }

    #[test]
    fn two_rules_never_take_the_same_connections() {
        assert_eq!(table(&[&[], &[]]).unwrap_err(), Ambiguous::Any);
        assert_eq!(table(&[&["a.b"], &["a.b"]]).unwrap_err(), Ambiguous::ServerName("a.b".into()));
        assert_eq!(table(&[&["*.b"], &["*.b"]]).unwrap_err(), Ambiguous::ServerName("*.b".into()));
        assert!(table(&[&["*.b"], &["a.b"], &[]]).is_ok());
    }
}

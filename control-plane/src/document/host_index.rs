//! What is said about hosts, found by host: a set of documents may say it twenty thousand times, and each destination asks.

use std::collections::HashMap;

/// Values by host or wildcard.
#[derive(Debug, Default)]
pub(super) struct HostIndex<T> {
    exact: HashMap<String, T>,
    /// By what follows the `*`.
    wildcards: HashMap<String, T>,
}

impl<T: Default> HostIndex<T> {
    /// What is said about exactly this host or wildcard.
    pub(super) fn entry(&mut self, host: String) -> &mut T {
        match host.strip_prefix('*') {
            Some(suffix) => self.wildcards.entry(suffix.to_owned()).or_default(),
            None => self.exact.entry(host).or_default(),
        }
    }

    /// Everything that is said about a host or wildcard, also by wildcards that cover it.
    pub(super) fn covering<'i>(&'i self, host: &'i str) -> impl Iterator<Item = &'i T> {
        // Most sets have no wildcard, and then no end of the name needs to be looked up.
        let ends = host.char_indices().map(|(start, _)| &host[start..]).chain([""]);
        let ends = ends.take(if self.wildcards.is_empty() { 0 } else { usize::MAX });
        self.exact.get(host).into_iter().chain(ends.filter_map(|end| self.wildcards.get(end)))
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_by_its_name_and_by_every_wildcard_that_covers_it() {
        let mut index = HostIndex::<Vec<&str>>::default();
        for host in ["a.b.c", "*.b.c", "*", "*.c", "*.b", "b.c", "*a.b.c"] {
            index.entry(host.to_owned()).push(host);
        }
        let check = |host: &str, wanted: &[&str]| {
            assert_eq!(index.covering(host).flatten().copied().collect::<Vec<_>>(), wanted, "{host}");
        };
        check("a.b.c", &["a.b.c", "*a.b.c", "*.b.c", "*.c", "*"]);
        check("b.c", &["b.c", "*.c", "*"]);
        check("*.b.c", &["*.b.c", "*.c", "*"]);
        check("d", &["*"]);
    }
}

//! Changes to the headers of a request or response, in Istio's order.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header changes in order: set overwrites, add appends, remove last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderOperations {
    /// Overwritten.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Appended.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl HeaderOperations {
    /// Applies them.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (HeaderName, HeaderValue) {
        (name.parse().expect("name"), value.parse().expect("value"))
    }

    #[test]
    fn set_overwrites_add_appends_and_remove_comes_last() {
        let operations = HeaderOperations {
            set: vec![pair("a", "new"), pair("gone", "1")],
            add: vec![pair("b", "2")],
            remove: vec!["gone".parse().expect("name")],
        };
        let mut headers = HeaderMap::from_iter([pair("a", "old"), pair("b", "1")]);
        operations.apply(&mut headers);
        let seen: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        assert_eq!(seen, [pair("a", "new"), pair("b", "1"), pair("b", "2")]);
    }
}

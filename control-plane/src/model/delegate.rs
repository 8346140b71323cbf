//! Delegates (ISTIO-FIELDS §2.3): a rule of a host's VirtualService leaves its requests to the rules of another document.
//!
//! The other document's rules stand in the rule's place, each narrowed by what the rule matches and filled up by what it says.
//! What cannot be joined is left out, and nothing else with it: a document that is missing or not exported to the root's
//! namespace, a rule that matches what the root does not.

use std::collections::BTreeMap;

use super::{Declared, Visibility};
use crate::document::{Delegate, Headers, HttpMatch, HttpRule, MeshSettings, StringMatch, VirtualService};

/// A rule as it holds, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    /// The document that has the rule's action, which also completes its names.
    pub(super) document: Declared<VirtualService>,
    /// The rule's place in that document.
    pub(super) index: usize,
    /// The rule with what the root adds.
    pub(super) rule: HttpRule,
}

/// The documents that others may delegate to.
#[derive(Debug)]
pub(super) struct Delegates<'d> {
    by_name: BTreeMap<String, &'d Declared<VirtualService>>,
    settings: &'d MeshSettings,
}

impl<'d> Delegates<'d> {
    pub(super) fn of(all: &'d [Declared<VirtualService>], settings: &'d MeshSettings) -> Self {
        let delegates = all.iter().filter(|one| one.spec.hosts.is_empty());
        Self { by_name: delegates.map(|one| (one.id.to_string(), one)).collect(), settings }
    }

    /// The rules of a document that delegates some; none where it delegates nothing.
    pub(super) fn join(&self, root: &Declared<VirtualService>) -> Option<Vec<Joined>> {
        if root.spec.http.iter().all(|rule| rule.delegate.is_none()) {
            return None;
        }
        let mut rules = Vec::new();
        for (index, rule) in root.spec.http.iter().enumerate() {
            let Some(delegate) = &rule.delegate else {
                rules.push(Joined { document: root.clone(), index, rule: rule.clone() });
                continue;
            };
            let Some(document) = self.find(delegate, &root.namespace) else { continue };
            let theirs = document.spec.http.iter().enumerate();
            rules.extend(theirs.filter_map(|(index, leaf)| {
                Some(Joined { document: document.clone(), index, rule: joined(rule, leaf)? })
            }));
        }
        Some(rules)
    }

    fn find(&self, delegate: &Delegate, root: &str) -> Option<&'d Declared<VirtualService>> {
        let namespace = delegate.namespace.as_deref().unwrap_or(root);
        let document = self.by_name.get(&format!("VirtualService/{namespace}/{}", delegate.name))?;
        let default = &self.settings.default_export_to.virtual_service;
        let visibility = Visibility::new(&document.spec.export_to, &document.namespace, default);
        visibility.includes(root, &document.namespace).then_some(*document)
    }
}

/// A delegate's rule under a root's; none where it matches what the root does not.
fn joined(root: &HttpRule, leaf: &HttpRule) -> Option<HttpRule> {
    let said = |leaf: &HttpRule| leaf.headers != Headers::default();
    Some(HttpRule {
        name: named(&root.name, &leaf.name),
        matches: matches(&root.matches, &leaf.matches)?,
        headers: if said(leaf) { leaf.headers.clone() } else { root.headers.clone() },
        rewrite: leaf.rewrite.clone().or_else(|| root.rewrite.clone()),
        fault: leaf.fault.clone().or_else(|| root.fault.clone()),
        cors: leaf.cors.clone().or_else(|| root.cors.clone()),
        mirrors: if leaf.mirrors.is_empty() { root.mirrors.clone() } else { leaf.mirrors.clone() },
        timeout: leaf.timeout.or(root.timeout),
        retries: leaf.retries.clone().or_else(|| root.retries.clone()),
        ..leaf.clone()
    })
}

/// `root-delegate`.
fn named(root: &Option<String>, leaf: &Option<String>) -> Option<String> {
    match (root, leaf) {
        (Some(root), Some(leaf)) => Some(format!("{root}-{leaf}")),
        (root, leaf) => leaf.clone().or_else(|| root.clone()),
    }
}

/// Each of the delegate's entries under each of the root's that it is narrower than. One that is under none takes the rule away.
fn matches(root: &[HttpMatch], leaf: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() || leaf.is_empty() {
        return Some([root, leaf].concat());
    }
    let mut all = Vec::new();
    for leaf in leaf {
        let before = all.len();
        all.extend(root.iter().filter(|root| is_narrower(leaf, root)).map(|root| under(root, leaf)));
        if all.len() == before {
            return None;
        }
    }
    Some(all)
}

fn is_narrower(leaf: &HttpMatch, root: &HttpMatch) -> bool {
    let single = [
        (&leaf.uri, &root.uri),
        (&leaf.scheme, &root.scheme),
        (&leaf.method, &root.method),
        (&leaf.authority, &root.authority),
    ];
    let single = single.into_iter().all(|(leaf, root)| is_within(leaf.as_ref(), root.as_ref()));
    let named = [
        (&leaf.headers, &root.headers),
        (&leaf.without_headers, &root.without_headers),
        (&leaf.query_params, &root.query_params),
    ];
    let named = named
        .into_iter()
        .all(|(leaf, root)| leaf.iter().all(|(name, wanted)| is_within(Some(wanted), value(root, name))));
    let same =
        |leaf: &Option<String>, root: &Option<String>| leaf.is_none() || root.is_none() || leaf == root;
    let labels = leaf
        .source_labels
        .iter()
        .all(|(key, value)| root.source_labels.get(key).is_none_or(|wanted| wanted == value));
    let gateways = root.gateways.is_empty()
        || leaf.gateways.iter().all(|gateway| root.gateways.iter().any(|one| one.value == gateway.value));
    single
        && named
        && leaf.ignore_uri_case == root.ignore_uri_case
        && (leaf.port.is_none() || root.port.is_none() || leaf.port == root.port)
        && same(&leaf.source_namespace, &root.source_namespace)
        && labels
        && gateways
}

/// Whether whatever meets the delegate's condition meets the root's. Of expressions that cannot be known.
fn is_within(leaf: Option<&StringMatch>, root: Option<&StringMatch>) -> bool {
    use StringMatch::{Exact, Prefix, Present, Regex};
    let (Some(leaf), Some(root)) = (leaf, root) else { return true };
    match (leaf, root) {
        (Regex(_), _) | (_, Regex(_)) => false,
        (_, Present) => true,
        (Exact(leaf), Exact(root)) => leaf == root,
        (Exact(leaf) | Prefix(leaf), Prefix(root)) => leaf.starts_with(root.as_str()),
        (Present, _) | (Prefix(_), Exact(_)) => false,
    }
}

/// Both conditions as one entry.
fn under(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let both = |leaf: &[(String, StringMatch)], root: &[(String, StringMatch)]| {
        let others = root.iter().filter(|(name, _)| value(leaf, name).is_none());
        others.chain(leaf).cloned().collect()
    };
    HttpMatch {
        span: leaf.span,
        name: named(&root.name, &leaf.name),
        uri: leaf.uri.clone().or_else(|| root.uri.clone()),
        ignore_uri_case: leaf.ignore_uri_case,
        scheme: leaf.scheme.clone().or_else(|| root.scheme.clone()),
        method: leaf.method.clone().or_else(|| root.method.clone()),
        authority: leaf.authority.clone().or_else(|| root.authority.clone()),
        headers: both(&leaf.headers, &root.headers),
        without_headers: both(&leaf.without_headers, &root.without_headers),
        query_params: both(&leaf.query_params, &root.query_params),
        port: leaf.port.or(root.port),
        source_labels: root.source_labels.clone().into_iter().chain(leaf.source_labels.clone()).collect(),
        source_namespace: leaf.source_namespace.clone().or_else(|| root.source_namespace.clone()),
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
    }
}

fn value<'m>(all: &'m [(String, StringMatch)], name: &str) -> Option<&'m StringMatch> {
    all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, wanted)| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(leaf: StringMatch, root: StringMatch, within: bool) {
        assert_eq!(is_within(Some(&leaf), Some(&root)), within, "{leaf:?} {root:?}");
    }

    #[test]
    fn a_delegates_condition_is_narrower_or_in_conflict() {
        let exact = |text: &str| StringMatch::Exact(text.to_owned());
        let prefix = |text: &str| StringMatch::Prefix(text.to_owned());
        let regex = |text: &str| StringMatch::Regex(text.to_owned());
        check(exact("/a"), exact("/a"), true);
        check(exact("/a"), exact("/b"), false);
        check(exact("/a/b"), prefix("/a"), true);
        check(prefix("/a/b"), prefix("/a"), true);
        check(prefix("/"), prefix("/a"), false);
        check(prefix("/a"), exact("/a"), false);
        check(StringMatch::Present, exact("/a"), false);
        check(exact("/a"), StringMatch::Present, true);
        check(regex("/a"), regex("/a"), false);
        assert!(is_within(Some(&regex("/a")), None) && is_within(None, Some(&regex("/a"))));
    }

    #[test]
    fn what_both_ask_of_the_caller_must_agree() {
        let of = |namespace: &str, label: &str, gateway: &str| HttpMatch {
            source_namespace: Some(namespace.to_owned()),
            source_labels: [("app".to_owned(), label.to_owned())].into(),
            gateways: vec![crate::document::Spanned { value: gateway.to_owned(), span: Default::default() }],
            ..HttpMatch::default()
        };
        let root = of("n", "a", "mesh");
        assert!(is_narrower(&of("n", "a", "mesh"), &root));
        assert!(!is_narrower(&of("m", "a", "mesh"), &root));
        assert!(!is_narrower(&of("n", "b", "mesh"), &root));
        assert!(!is_narrower(&of("n", "a", "edge"), &root));
        assert_eq!(matches(&[root], &[of("m", "a", "mesh")]).map(|all| all.len()), None);
    }
}

//! Which HTTPRoutes and GRPCRoutes speak for a service's port, and in which order their rules are tried (ISTIO-FIELDS §2.11).
//!
//! Unlike VirtualServices they merge: all rules of all routes are put in one order, the most specific first.

use std::cmp::Reverse;

use super::{Declared, Origin, Service, View, host};
use crate::document::{HttpRoute, ParentKind, PathMatch, RouteMatch, RouteRule, StringMatch};

/// One alternative of one rule of one route.
#[derive(Debug, Clone, Copy)]
pub struct Alternative<'w> {
    /// The document.
    pub route: &'w Declared<HttpRoute>,
    /// The rule's place in it.
    pub index: usize,
    /// The rule.
    pub rule: &'w RouteRule,
    /// What must match; none matches everything.
    pub entry: Option<&'w RouteMatch>,
}

/// The alternatives for a service's port as a caller sees them, in the order in which they are tried; none at all if no
/// route speaks for it. `routes` are the oldest first.
pub(super) fn select<'w>(
    routes: &'w [Declared<HttpRoute>],
    view: &View<'_>,
    service: &Service,
    port: u16,
) -> Option<Vec<Alternative<'w>>> {
    let attached: Vec<_> = routes.iter().filter(|route| attaches(route, service, port)).collect();
    if attached.is_empty() {
        return None;
    }
    // A route of the caller's namespace is the caller's wish and replaces what the service's owner says.
    let of = |namespace: &str| -> Vec<&'w Declared<HttpRoute>> {
        attached.iter().copied().filter(|route| *route.namespace == *namespace).collect()
    };
    let all_by_owner = attached.iter().all(|route| route.namespace == service.namespace);
    let consumer = if all_by_owner { Vec::new() } else { of(view.namespace()) };
    let chosen = if consumer.is_empty() { of(&service.namespace) } else { consumer };
    if chosen.is_empty() {
        return None;
    }
    let mut alternatives: Vec<Alternative<'_>> = chosen.into_iter().flat_map(alternatives).collect();
    // Stable: what is equally specific stays in the order of age and of the document.
    alternatives.sort_by_key(precedence);
    Some(alternatives)
}

fn attaches(route: &Declared<HttpRoute>, service: &Service, port: u16) -> bool {
    route.spec.parents.iter().any(|parent| {
        let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
        let is_parent = match parent.kind {
            ParentKind::Gateway => false,
            ParentKind::Service => {
                matches!(service.origin, Origin::Kubernetes | Origin::Registered)
                    && *service.host == *host::service_host(&parent.name, namespace)
            }
            ParentKind::ServiceEntry => {
                service.entry.as_deref() == Some(&*parent.name) && *service.namespace == *namespace
            }
        };
        let named = |name: &String| service.port(port).is_some_and(|port| port.name == *name);
        is_parent
            && parent.port.is_none_or(|wanted| wanted == port)
            && parent.section.as_ref().is_none_or(named)
    })
}

fn alternatives(route: &Declared<HttpRoute>) -> Vec<Alternative<'_>> {
    let mut all = Vec::new();
    for (index, rule) in route.spec.rules.iter().enumerate() {
        let base = Alternative { route, index, rule, entry: None };
        if rule.matches.is_empty() {
            all.push(base);
        }
        all.extend(rule.matches.iter().map(|entry| Alternative { entry: Some(entry), ..base }));
    }
    all
}

/// Exact path, longest prefix, method, most headers, most query parameters; among gRPC's, most letters of the service, then
/// of the method, then headers. Where an expression stands is left open by the specification; here it comes after exact
/// paths and before prefixes, as in Istio, and what names a gRPC service or method before both, as it says more.
fn precedence(alternative: &Alternative<'_>) -> impl Ord + use<> {
    let nothing = RouteMatch::default();
    let entry = alternative.entry.unwrap_or(&nothing);
    let path = match &entry.path {
        Some(PathMatch::Exact(path)) => (0, Reverse(path.len()), Reverse(0)),
        Some(PathMatch::Method { service: None, method: None }) | None => (3, Reverse(0), Reverse(0)),
        Some(PathMatch::Method { service, method }) => {
            (1, Reverse(letters(service)), Reverse(letters(method)))
        }
        Some(PathMatch::Regex(path)) => (2, Reverse(path.len()), Reverse(0)),
        Some(PathMatch::Prefix(path)) => (3, Reverse(path.trim_end_matches('/').len()), Reverse(0)),
    };
    let (headers, queries) = (entry.headers.len(), entry.query_params.len());
    (path, Reverse(entry.method.is_some()), Reverse(headers), Reverse(queries))
}

fn letters(name: &Option<StringMatch>) -> usize {
    match name {
        Some(StringMatch::Exact(text) | StringMatch::Prefix(text) | StringMatch::Regex(text)) => text.len(),
        Some(StringMatch::Present) | None => 0,
    }
}

//! ReferenceGrant of the Gateway API: whose routes may send to the Services of its namespace.

use super::{
    BackendKind, BackendRef, Code, Fields, HttpRoute, ParentKind, ParentRef, name, object, some_text, text,
};

/// A ReferenceGrant's spec.
#[derive(Clone, Debug, Default)]
pub struct ReferenceGrant {
    /// Who may refer.
    pub from: Vec<Referrer>,
    /// To what.
    pub to: Vec<Referent>,
}

/// Documents of one kind in one namespace.
#[derive(Clone, Debug, Default)]
pub struct Referrer {
    /// Their API group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Their namespace.
    pub namespace: String,
}

/// Documents of one kind in the grant's own namespace, or a single one.
#[derive(Clone, Debug, Default)]
pub struct Referent {
    /// Their API group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// The one that is meant, if not all.
    pub name: Option<String>,
}

impl ReferenceGrant {
    /// Whether routes of this kind (`HTTPRoute`) and namespace may send to a Service of the grant's namespace.
    fn permits(&self, kind: &str, namespace: &str, service: &str) -> bool {
        let from =
            |from: &Referrer| from.group == GATEWAY_API && from.kind == kind && from.namespace == namespace;
        let to = |to: &Referent| {
            to.group.is_empty()
                && to.kind == "Service"
                && to.name.as_deref().is_none_or(|name| name == service)
        };
        self.from.iter().any(from) && self.to.iter().any(to)
    }
}

/// Whether a route of `own` kind and namespace may send to a backend, by the `grants` of all namespaces. The route's own
/// namespace needs none, nor does a host, which Istio lets anybody name, and neither does a Service to which the route is attached: its callers go there without the route.
pub fn is_granted<'g>(
    mut grants: impl Iterator<Item = (&'g str, &'g ReferenceGrant)>,
    own: (&str, &str),
    route: &HttpRoute,
    backend: &BackendRef,
) -> bool {
    let (kind, namespace) = own;
    let of = backend.namespace.as_deref().unwrap_or(namespace);
    let is_parent = |parent: &ParentRef| {
        parent.kind == ParentKind::Service
            && parent.name == backend.name
            && parent.namespace.as_deref().unwrap_or(namespace) == of
    };
    backend.kind == BackendKind::Hostname
        || of == namespace
        || route.parents.iter().any(is_parent)
        || grants.any(|(at, grant)| at == of && grant.permits(kind, namespace, &backend.name))
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> ReferenceGrant {
    let grant = ReferenceGrant {
        from: fields.list("from", object(referrer)),
        to: fields.list("to", object(referent)),
    };
    for (name, empty) in [("from", grant.from.is_empty()), ("to", grant.to.is_empty())] {
        if empty {
            fields.missing(name, "names nothing, so that nothing is granted", "add an entry");
        }
    }
    grant
}

fn referrer(fields: &mut Fields<'_, '_>) -> Referrer {
    let referrer = Referrer {
        group: fields.required("group", text),
        kind: fields.required("kind", some_text),
        namespace: fields.required("namespace", name::label),
    };
    note_foreign(fields, referrer.group == GATEWAY_API && ROUTES.contains(&&*referrer.kind));
    referrer
}

fn referent(fields: &mut Fields<'_, '_>) -> Referent {
    let referent = Referent {
        group: fields.required("group", text),
        kind: fields.required("kind", some_text),
        // The API reads an empty name as none.
        name: fields.optional("name", text).filter(|name| !name.is_empty()),
    };
    note_foreign(fields, referent.group.is_empty() && referent.kind == "Service");
    referent
}

/// Grants also speak of gateways and secrets, which nobody here asks about.
fn note_foreign(fields: &mut Fields<'_, '_>, known: bool) {
    if !known && fields.has("kind") {
        fields.note(Code::NoEffect, "kind", "has no effect here", "nothing needs to be done");
    }
}

const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// The kinds of route that can ask for a grant.
const ROUTES: [&str; 2] = ["HTTPRoute", "GRPCRoute"];

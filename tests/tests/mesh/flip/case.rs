//! A case: one field, documents that differ only there, a request, and what is seen under each.

use control_plane::document::Kind;
use serde_json::Value;

use super::ask::Ask;

/// A case of the table.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Below `spec`, as `known_fields` lists it.
    pub(super) field: String,
    /// With one `<<base -> flipped>>`.
    documents: String,
    pub(super) ask: Ask,
    pub(super) base: String,
    pub(super) flipped: String,
}

/// A row of the table: under `documents`, whose one `<<base -> flipped>>` stands in `field`, `ask` sees first `base`, then `flipped`.
pub(super) fn case(
    field: impl Into<String>,
    documents: impl Into<String>,
    ask: Ask,
    base: &str,
    flipped: &str,
) -> Case {
    Case {
        field: field.into(),
        documents: documents.into(),
        ask,
        base: base.to_owned(),
        flipped: flipped.to_owned(),
    }
}

/// A document named `case` of namespace `default`, its spec in braces.
pub(super) fn document(kind: &str, spec: &str) -> String {
    named(kind, "case", spec)
}

/// The same with a name, which may be `namespace/name`.
pub(super) fn named(kind: &str, name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let group = match kind {
        "VirtualService" | "DestinationRule" | "ServiceEntry" | "WorkloadEntry" => "networking.istio.io/v1",
        "PeerAuthentication" | "AuthorizationPolicy" => "security.istio.io/v1",
        "HTTPRoute" | "GRPCRoute" => "gateway.networking.k8s.io/v1",
        "ReferenceGrant" => "gateway.networking.k8s.io/v1beta1",
        "MeshSettings" => "proxyless.mesh/v1alpha1",
        _ => "v1",
    };
    format!(
        "---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

impl Case {
    /// The two sets of documents.
    pub(super) fn documents(&self) -> [String; 2] {
        let hole = self.documents.split_once("<<").and_then(|(before, rest)| {
            let (hole, after) = rest.split_once(">>")?;
            Some((before, hole.split_once("->")?, after))
        });
        let (before, (base, flipped), after) =
            hole.unwrap_or_else(|| panic!("{}: there is no `<<base -> flipped>>`", self.field));
        [base, flipped].map(|part| format!("{before}{}{after}", part.trim()))
    }

    /// What is wrong with the case itself: its documents differ at something else than its field.
    pub(super) fn mistake(&self, kind: Kind) -> Option<String> {
        let [base, flipped] = self.documents().map(|text| {
            serde_saphyr::from_multiple::<Value>(&text)
                .unwrap_or_else(|error| panic!("{}: {error}\n{text}", self.field))
        });
        if self.base == self.flipped {
            return Some(format!("{} sees the same twice", self.field));
        }
        let mut found = Vec::new();
        for (left, right) in base.iter().zip(&flipped) {
            let mut path = Vec::new();
            differences(left, right, &mut path, &mut |path| {
                let inside = left["kind"] == kind.name() && path.first().is_some_and(|key| key == "spec");
                found.push((inside && is_at(&self.field, &path[1..])).then_some(()).ok_or(path.join(".")));
            });
        }
        let elsewhere: Vec<String> = found.iter().filter_map(|one| one.clone().err()).collect();
        match (found.len(), elsewhere.is_empty()) {
            (0, _) => Some(format!("{} has two equal sets of documents", self.field)),
            (_, false) => Some(format!("{} differs at {}", self.field, elsewhere.join(", "))),
            _ => None,
        }
    }
}

/// Calls `at` with each path at which the two differ, as deep as both are of one shape.
fn differences(left: &Value, right: &Value, path: &mut Vec<String>, at: &mut impl FnMut(&[String])) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let added = right.keys().filter(|key| !left.contains_key(*key));
            for key in left.keys().chain(added) {
                path.push(key.clone());
                match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) => differences(left, right, path, at),
                    _ => at(path),
                }
                path.pop();
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (left, right) in left.iter().zip(right) {
                path.push("[]".to_owned());
                differences(left, right, path, at);
                path.pop();
            }
        }
        _ if left == right => {}
        _ => at(path),
    }
}

/// Whether `path` is at `field` or below it.
fn is_at(field: &str, path: &[String]) -> bool {
    let spaced = field.replace("[]", ".[]").replace("{}", ".{}");
    let mut path = path.iter();
    spaced.split('.').all(|part| path.next().is_some_and(|found| part == "{}" || part == found))
}

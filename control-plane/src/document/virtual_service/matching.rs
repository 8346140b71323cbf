//! What an `http` rule matches: the fields of one entry are all required, the entries are alternatives.
//!
//! Header and query names keep the document's order, so that a trace names the first that failed as the author sees it.

use std::collections::BTreeMap;

use super::super::header::is_header_name;
use super::super::{
    Span, Spanned, StringMatch, Value, boolean, name, object, port, shorten, string_match, text,
};
use super::Bound;

/// One entry of `match`.
#[derive(Clone, Debug, Default)]
pub struct HttpMatch {
    /// Where the entry begins.
    pub span: Span,
    /// Its name, for people.
    pub name: Option<String>,
    /// The path without its query.
    pub uri: Option<StringMatch>,
    /// Whether `exact` and `prefix` of `uri` take either case.
    pub ignore_uri_case: bool,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The authority.
    pub authority: Option<StringMatch>,
    /// Headers that must be there and match.
    pub headers: Vec<(String, StringMatch)>,
    /// Headers that must not match.
    pub without_headers: Vec<(String, StringMatch)>,
    /// Query parameters that must be there and match.
    pub query_params: Vec<(String, StringMatch)>,
    /// The service port that is called.
    pub port: Option<u16>,
    /// Labels of the caller.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the caller.
    pub source_namespace: Option<String>,
    /// Where the entry applies, instead of the document's `gateways`; empty is as there.
    pub gateways: Vec<Spanned<String>>,
}

pub(super) fn decode(value: Value<'_, '_>, bound: Bound) -> HttpMatch {
    value.object(|fields| {
        let matching = HttpMatch {
            span: fields.span(),
            name: fields.optional("name", text),
            uri: fields.optional("uri", object(string_match)),
            ignore_uri_case: fields.or_default("ignoreUriCase", boolean),
            scheme: fields.optional("scheme", object(string_match)),
            method: fields.optional("method", object(string_match)),
            authority: fields.optional("authority", object(string_match)),
            headers: fields.or_default("headers", |value| header_matches(value, bound)),
            without_headers: fields.or_default("withoutHeaders", |value| header_matches(value, bound)),
            query_params: fields.or_default("queryParams", string_matches),
            port: fields.optional("port", port),
            source_labels: fields.or_default("sourceLabels", name::labels),
            source_namespace: fields.optional("sourceNamespace", name::label),
            gateways: fields.list("gateways", name::gateway),
        };
        fields.no_effect("statPrefix", text);
        if bound.delegate && expressions(&matching) {
            fields.invalid("", "a delegate matches no expressions", "match `exact` or `prefix`");
        }
        matching
    })
}

fn expressions(matching: &HttpMatch) -> bool {
    let single = [&matching.uri, &matching.scheme, &matching.method, &matching.authority];
    let named = [&matching.headers, &matching.without_headers, &matching.query_params];
    let named = named.into_iter().flatten().map(|(_, wanted)| wanted);
    single.into_iter().flatten().chain(named).any(|wanted| matches!(wanted, StringMatch::Regex(_)))
}

fn string_matches(value: Value<'_, '_>) -> Vec<(String, StringMatch)> {
    value.entries(|_, value| value.object(string_match))
}

fn header_matches(value: Value<'_, '_>, bound: Bound) -> Vec<(String, StringMatch)> {
    value.entries(|key, mut value| {
        if value.node.is_some_and(super::super::yaml::Node::is_null) {
            value.invalid("has nothing to compare with", "write `{}` for \"is present\"");
        }
        let pseudo = matches!(key, ":method" | ":path" | ":authority" | ":scheme");
        let claim = key.starts_with("@request.auth.claims");
        if claim && bound.in_mesh {
            value.invalid("claims are matched only at a gateway", "use an AuthorizationPolicy with `when`");
        } else if value.node.is_some() && !claim && !pseudo && !is_header_name(key) {
            value.invalid(
                format!("`{}` is not the name of a header", shorten(key)),
                "use letters, digits and `-`",
            );
        }
        value.object(string_match)
    })
}

//! GRPCRoute of the Gateway API with a Service as its parent (GAMMA).
//!
//! It says of methods what an HTTPRoute says of paths, and a method is a path, so that both are kept in the same words and
//! merge in one order.

use super::{
    Fields, HttpRoute, PathMatch, RouteMatch, RouteRule, RouteTimeouts, StringMatch, Value, choice,
    http_route, name, object, regex, route_filter, route_match, session_persistence, text,
};

/// A GRPCRoute's spec.
#[derive(Clone, Debug, Default)]
pub struct GrpcRoute(pub HttpRoute);

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> GrpcRoute {
    let route = HttpRoute {
        span: fields.span(),
        parents: fields.list("parentRefs", object(http_route::parent)),
        rules: fields.list("rules", object(rule)),
    };
    http_route::common(fields, &route);
    GrpcRoute(route)
}

fn rule(fields: &mut Fields<'_, '_>) -> RouteRule {
    let rule = RouteRule {
        span: fields.span(),
        name: fields.optional("name", text),
        matches: fields.list("matches", object(entry)),
        filters: fields.or_default("filters", route_filter::grpc),
        timeouts: RouteTimeouts::default(),
        backends: fields
            .list("backendRefs", object(|fields| http_route::backend(fields, route_filter::grpc))),
        session: fields.optional("sessionPersistence", object(session_persistence::decode)),
        retries: None,
    };
    http_route::check_backend_mirrors(fields, &rule);
    http_route::check_matches(fields, &rule);
    rule
}

fn entry(fields: &mut Fields<'_, '_>) -> RouteMatch {
    RouteMatch {
        span: fields.span(),
        path: Some(fields.optional("method", method).unwrap_or(ANY)),
        headers: fields.or_default("headers", |value| route_match::named(value, true)),
        query_params: Vec::new(),
        method: None,
    }
}

/// Any method of any service.
const ANY: PathMatch = PathMatch::Method { service: None, method: None };

fn method(value: Value<'_, '_>) -> PathMatch {
    let read = value.object(|fields| {
        let expression =
            fields.or_default("type", choice(&[("Exact", -1, false), ("RegularExpression", -2, true)]));
        let service = fields.optional("service", |value| name_match(value, expression, is_service));
        let method = fields.optional("method", |value| name_match(value, expression, is_word));
        if service.is_none() && method.is_none() {
            fields.missing("", "names neither a service nor a method", "add `service` or `method`");
        }
        (service, method)
    });
    PathMatch::Method { service: read.0, method: read.1 }
}

fn name_match(value: Value<'_, '_>, expression: bool, good: impl FnOnce(&str) -> bool) -> StringMatch {
    if expression {
        return StringMatch::Regex(regex(value));
    }
    StringMatch::Exact(name::known(value, "a name of protobuf", good))
}

/// A full name of protobuf: words joined by dots.
fn is_service(name: &str) -> bool {
    name.strip_prefix('.').unwrap_or(name).split('.').all(is_word)
}

fn is_word(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

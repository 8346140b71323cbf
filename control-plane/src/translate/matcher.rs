//! What a rule matches, as xDS matchers: of VirtualServices and of HTTPRoutes.

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::BoolValue;

use crate::document::{self, HttpMatch, PathMatch, StringMatch};
use crate::model::{ClientKind, View};

/// Everything.
pub(super) fn any() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() }
}

/// One entry of a VirtualService's `match`; what concerns port and caller has been decided before.
pub(super) fn http(entry: &HttpMatch) -> RouteMatch {
    let pseudo = [(":scheme", &entry.scheme), (":method", &entry.method), (":authority", &entry.authority)];
    let pseudo = pseudo.into_iter().filter_map(|(name, wanted)| Some(header(name, wanted.as_ref()?)));
    let wanted = entry.headers.iter().map(|(name, wanted)| header(name, wanted));
    let unwanted = entry.without_headers.iter().map(|(name, unwanted)| HeaderMatcher {
        invert_match: true,
        // A header that is not there has no value, so it is not the one that is unwanted.
        treat_missing_header_as_empty: *unwanted != StringMatch::Present,
        ..header(name, unwanted)
    });
    let whole = matches!(entry.uri, Some(StringMatch::Exact(_) | StringMatch::Prefix(_)));
    RouteMatch {
        path_specifier: Some(match &entry.uri {
            Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
            Some(StringMatch::Prefix(prefix)) if !prefix.is_empty() => PathSpecifier::Prefix(prefix.clone()),
            Some(StringMatch::Regex(regex)) => PathSpecifier::SafeRegex(expression(regex)),
            Some(StringMatch::Prefix(_) | StringMatch::Present) | None => {
                PathSpecifier::Prefix("/".to_owned())
            }
        }),
        case_sensitive: (whole && entry.ignore_uri_case).then_some(BoolValue { value: false }),
        headers: pseudo.chain(wanted).chain(unwanted).collect(),
        query_parameters: entry.query_params.iter().map(|(name, wanted)| query(name, wanted)).collect(),
        ..RouteMatch::default()
    }
}

/// One entry of an HTTPRoute's or GRPCRoute's `matches`.
pub(super) fn gateway(entry: &document::RouteMatch, view: &View<'_>) -> RouteMatch {
    let method = entry.method.iter().map(|method| header(":method", &StringMatch::Exact(method.clone())));
    let headers = entry.headers.iter().map(|(name, wanted)| header(name, wanted));
    RouteMatch {
        path_specifier: Some(match &entry.path {
            Some(PathMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
            Some(PathMatch::Regex(regex)) => PathSpecifier::SafeRegex(expression(regex)),
            // By segments, and a final slash makes no difference.
            Some(PathMatch::Prefix(prefix)) if !prefix.trim_end_matches('/').is_empty() => {
                segments(prefix.trim_end_matches('/'), view)
            }
            Some(PathMatch::Method { service, method }) => grpc_method(service.as_ref(), method.as_ref()),
            Some(PathMatch::Prefix(_)) | None => PathSpecifier::Prefix("/".to_owned()),
        }),
        headers: method.chain(headers).collect(),
        query_parameters: entry.query_params.iter().map(|(name, wanted)| query(name, wanted)).collect(),
        ..RouteMatch::default()
    }
}

/// A prefix by whole segments. gRPC refuses a resource with Envoy's matcher for it, and knows expressions.
fn segments(prefix: &str, view: &View<'_>) -> PathSpecifier {
    match view.client() {
        ClientKind::Grpc => {
            PathSpecifier::SafeRegex(expression(&format!("{}(?:/.*)?", regex_syntax::escape(prefix))))
        }
        _ => PathSpecifier::PathSeparatedPrefix(prefix.to_owned()),
    }
}

/// `/service/method`, the path of a gRPC call.
fn grpc_method(service: Option<&StringMatch>, method: Option<&StringMatch>) -> PathSpecifier {
    let any = "[^/]+".to_owned();
    let part = |name: Option<&StringMatch>| match name {
        Some(StringMatch::Exact(name)) => regex_syntax::escape(name),
        Some(StringMatch::Regex(regex)) => format!("(?:{regex})"),
        Some(StringMatch::Prefix(_) | StringMatch::Present) | None => any.clone(),
    };
    match (service, method) {
        (None, None) => PathSpecifier::Prefix("/".to_owned()),
        (Some(StringMatch::Exact(service)), None) => PathSpecifier::Prefix(format!("/{service}/")),
        (Some(StringMatch::Exact(service)), Some(StringMatch::Exact(method))) => {
            PathSpecifier::Path(format!("/{service}/{method}"))
        }
        _ => PathSpecifier::SafeRegex(expression(&format!("/{}/{}", part(service), part(method)))),
    }
}

pub(super) fn header(name: &str, wanted: &StringMatch) -> HeaderMatcher {
    let specifier = match string(wanted) {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    HeaderMatcher {
        name: name.to_ascii_lowercase(),
        header_match_specifier: Some(specifier),
        ..HeaderMatcher::default()
    }
}

fn query(name: &str, wanted: &StringMatch) -> QueryParameterMatcher {
    let specifier = match string(wanted) {
        // `exact: ""` asks for the parameter, whatever its value.
        Some(matcher) if *wanted != StringMatch::Exact(String::new()) => {
            QueryParameterMatchSpecifier::StringMatch(matcher)
        }
        _ => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}

/// Presence is no string match.
pub(super) fn string(wanted: &StringMatch) -> Option<StringMatcher> {
    let pattern = match wanted {
        StringMatch::Present => return None,
        StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        // An empty prefix matches every value, which is presence.
        StringMatch::Prefix(text) if text.is_empty() => return None,
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.clone()),
        StringMatch::Regex(regex) => MatchPattern::SafeRegex(expression(regex)),
    };
    Some(StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() })
}

/// An expression that has to match the whole value, as Envoy's always do.
pub(super) fn expression(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() }
}

/// Istio's wildcards: the whole text, `abc*` its beginning, `*abc` its end, `*` any text that is not empty. `before` stands
/// in front of the whole and of a beginning.
pub(super) fn wildcard(text: &str, before: &str) -> StringMatcher {
    let pattern = match (text.strip_prefix('*'), text.strip_suffix('*')) {
        _ if text == "*" => MatchPattern::SafeRegex(expression(".+")),
        (Some(suffix), _) => MatchPattern::Suffix(suffix.to_owned()),
        (_, Some(prefix)) => MatchPattern::Prefix(format!("{before}{prefix}")),
        _ => MatchPattern::Exact(format!("{before}{text}")),
    };
    StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() }
}

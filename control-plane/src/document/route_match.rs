//! What a rule of the Gateway API matches: path or method, headers, query parameters.

use super::header::is_header_name;
use super::{Fields, Span, StringMatch, Value, choice, name, object, regex, shorten, some_text};

/// One entry of `matches`, of which every part must match.
#[derive(Clone, Debug, Default)]
pub struct RouteMatch {
    /// Where the entry begins.
    pub span: Span,
    /// The path; absent is everything.
    pub path: Option<PathMatch>,
    /// Headers.
    pub headers: Vec<(String, StringMatch)>,
    /// Query parameters.
    pub query_params: Vec<(String, StringMatch)>,
    /// The method.
    pub method: Option<String>,
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// As a whole.
    Exact(String),
    /// By its first segments.
    Prefix(String),
    /// By an expression that matches the whole path.
    Regex(String),
    /// As the method of a gRPC service: `/service/method`.
    Method {
        /// The service; absent is any.
        service: Option<StringMatch>,
        /// The method; absent is any.
        method: Option<StringMatch>,
    },
}

/// An entry of an HTTPRoute.
pub(super) fn http(fields: &mut Fields<'_, '_>) -> RouteMatch {
    RouteMatch {
        span: fields.span(),
        path: fields.optional("path", path),
        headers: fields.or_default("headers", |value| named(value, true)),
        query_params: fields.or_default("queryParams", |value| named(value, false)),
        method: fields.optional("method", method),
    }
}

fn method(value: Value<'_, '_>) -> String {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    name::known(value, "a method", |method| known.contains(&method))
}

/// How the `value` beside a `type` is compared.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Comparison {
    Exact,
    #[default]
    Prefix,
    Regex,
}

fn path(value: Value<'_, '_>) -> PathMatch {
    let read = value.object(|fields| {
        let kinds = [
            ("PathPrefix", -1, Comparison::Prefix),
            ("Exact", -2, Comparison::Exact),
            ("RegularExpression", -3, Comparison::Regex),
        ];
        let comparison = fields.or_default("type", choice(&kinds));
        let path = fields.optional("value", |value| match comparison {
            Comparison::Regex => regex(value),
            _ => name::checked(value, check_path).value,
        });
        (comparison, path)
    });
    let path = read.1.unwrap_or_else(|| "/".to_owned());
    match read.0 {
        Comparison::Exact => PathMatch::Exact(path),
        Comparison::Prefix => PathMatch::Prefix(path),
        Comparison::Regex => PathMatch::Regex(path),
    }
}

/// What the Gateway API refuses in paths, because no canonical path can have it.
fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("`{}` does not begin with `/`", shorten(path)));
    }
    let never = ["//", "/./", "/../", "%2f", "%2F", "#"];
    if let Some(never) = never.iter().find(|part| path.contains(**part)) {
        return Err(format!("`{}` has `{never}`, which no canonical path has", shorten(path)));
    }
    if path.ends_with("/..") || path.ends_with("/.") {
        return Err(format!("`{}` ends with dots, as no canonical path does", shorten(path)));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("is longer than {PATH_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Matches by name: of one name only the first counts, as the Gateway API says.
pub(super) fn named(value: Value<'_, '_>, header: bool) -> Vec<(String, StringMatch)> {
    let mut matches: Vec<(String, StringMatch)> = Vec::new();
    let read = value.items(object(|fields| {
        let kinds = [("Exact", -1, Comparison::Exact), ("RegularExpression", -2, Comparison::Regex)];
        let comparison = fields.optional("type", choice(&kinds)).unwrap_or(Comparison::Exact);
        let name = fields.required("name", |value| name::known(value, "a name", is_header_name));
        let wanted = fields.required("value", |value| match comparison {
            Comparison::Regex => StringMatch::Regex(regex(value)),
            _ => StringMatch::Exact(some_text(value)),
        });
        (name, wanted)
    }));
    for (name, wanted) in read {
        let same = |other: &str| if header { other.eq_ignore_ascii_case(&name) } else { other == name };
        if !matches.iter().any(|(other, _)| same(other)) {
            matches.push((name, wanted));
        }
    }
    matches
}

/// As long a path as the Gateway API takes.
const PATH_BYTES_MAX: usize = 1024;

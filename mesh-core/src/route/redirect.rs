//! An answer with another location, made by the caller's side itself.

use std::sync::Arc;

use http::StatusCode;

use super::{PathRewrite, RequestFacts};

/// An answer with another location.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The new scheme.
    pub scheme: Option<Arc<str>>,
    /// The new host, without port.
    pub host: Option<Arc<str>>,
    /// The new port. `None` keeps what the request says, save with a new host, or where it is the default port of a scheme
    /// that changes.
    pub port: Option<u16>,
    /// What the path becomes.
    pub path: Option<PathRewrite>,
}

impl Redirect {
    /// The `location` for a request. Its query is kept, unless the new path brings its own.
    pub fn location(&self, request: &RequestFacts<'_>) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(request.scheme);
        let host = match &self.host {
            Some(host) => host,
            None => self.host_of(request, scheme),
        };
        let path = request.path.as_str();
        let path = self.path.as_ref().map_or(path.into(), |rewrite| rewrite.apply(path));
        let mut location = format!("{scheme}://{host}");
        if let Some(port) = self.port {
            location.push_str(&format!(":{port}"));
        }
        location.push_str(&path);
        if let Some(query) = request.query.filter(|_| !path.contains('?')) {
            location.push('?');
            location.push_str(query);
        }
        location
    }

    /// The request's own host, without its port where another one is to stand there or where it was the default of the scheme
    /// that the redirect leaves.
    fn host_of<'a>(&self, request: &RequestFacts<'a>, scheme: &str) -> &'a str {
        let (host, port) = split_port(request.authority);
        let default = match request.scheme {
            "https" => "443",
            _ => "80",
        };
        let left_behind = scheme != request.scheme && port == Some(default);
        if self.port.is_some() || left_behind { host } else { request.authority }
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::canonical::{PathNormalization, canonicalize_uri};

    fn keep() -> Redirect {
        Redirect { status: StatusCode::MOVED_PERMANENTLY, scheme: None, host: None, port: None, path: None }
    }

    #[track_caller]
    fn check(redirect: &Redirect, url: &str, expected: &str) {
        let mut uri: Uri = url.parse().expect(url);
        let (scheme, authority) =
            (uri.scheme().cloned().expect("scheme"), uri.authority().cloned().expect("host"));
        let query = uri.query().map(str::to_owned);
        let facts = RequestFacts {
            method: &Method::GET,
            scheme: scheme.as_str(),
            authority: authority.as_str(),
            path: canonicalize_uri(&mut uri, PathNormalization::None).expect("path"),
            query: query.as_deref(),
            headers: &HeaderMap::new(),
        };
        assert_eq!(redirect.location(&facts), expected);
    }

    #[test]
    fn what_is_not_named_stays() {
        check(&keep(), "http://b:9080/x?q=1", "http://b:9080/x?q=1");
        check(&Redirect { host: Some("c".into()), ..keep() }, "http://b:9080/x", "http://c/x");
        check(&Redirect { port: Some(85), ..keep() }, "http://b:9080/x", "http://b:85/x");
        check(&Redirect { port: Some(80), ..keep() }, "http://b/x", "http://b:80/x");
        check(&Redirect { port: Some(81), ..keep() }, "http://[::1]/x", "http://[::1]:81/x");
    }

    #[test]
    fn a_default_port_is_left_behind_with_its_scheme() {
        let https = Redirect { scheme: Some("https".into()), ..keep() };
        check(&https, "http://b:80/x", "https://b/x");
        check(&https, "http://b:9080/x", "https://b:9080/x");
        check(&https, "https://b:443/x", "https://b:443/x");
    }

    #[test]
    fn a_path_is_replaced_whole_or_in_its_prefix_and_the_query_stays() {
        let full = |path: &str| Redirect { path: Some(PathRewrite::Full(path.into())), ..keep() };
        check(&full("/new"), "http://b/x?q=1", "http://b/new?q=1");
        check(&full("/new?own=1"), "http://b/x?q=1", "http://b/new?own=1");
        let prefix = PathRewrite::Prefix { matched: "/a".into(), replacement: "/b".into() };
        check(&Redirect { path: Some(prefix), ..keep() }, "http://h/a/rest?q=1", "http://h/b/rest?q=1");
    }
}

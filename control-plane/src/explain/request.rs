//! The request of a question as the data path has it: head, what is dialled, what it says.

use std::collections::HashMap;

use http::header::{HOST, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri};
use mesh_core::canonical::HostPort;

use super::{Protocol, Question, Unanswerable};

/// The request of a question.
pub(super) struct Request {
    /// As the caller hands it over; none where its path can be no request's.
    pub(super) parts: Option<http::request::Parts>,
    /// What is dialled.
    pub(super) dialled: HostPort,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
}

impl Request {
    pub(super) fn new(question: &Question) -> Result<Self, Unanswerable> {
        let url = question.url.as_str();
        let refuse = |reason: &str| Unanswerable::Url { url: url.to_owned(), reason: reason.to_owned() };
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| refuse("it has no scheme, such as `http://`"))?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (scheme, default_port) = match scheme {
            "http" | "grpc" => ("http", 80),
            "https" => ("https", 443),
            "tcp" if question.protocol() == Protocol::Tcp => ("http", 0),
            "tcp" => return Err(refuse("`tcp://` goes with `protocol: tcp`")),
            _ => return Err(refuse("its scheme is not http, https or tcp")),
        };
        let dialled = HostPort::parse(authority, default_port).map_err(|error| refuse(&error.to_string()))?;
        if dialled.port() == 0 {
            return Err(refuse("its port is missing"));
        }
        let authority = Authority::try_from(authority).map_err(|error| refuse(&error.to_string()))?;
        let path = match path {
            "" => "/".to_owned(),
            path if path.starts_with(['?', '#']) => format!("/{path}"),
            path => path.to_owned(),
        };
        let parts = match PathAndQuery::try_from(path.as_str()) {
            Ok(path) => Some(head(question, scheme, authority, path)?),
            Err(_) => None,
        };
        Ok(Self { parts, dialled, scheme })
    }

    /// The host that the `host` header names, on the dialled port.
    pub(super) fn named(&self) -> Option<HostPort> {
        let host = self.parts.as_ref()?.headers.get(HOST)?.to_str().ok()?;
        let named = HostPort::parse(host, self.dialled.port()).ok()?;
        HostPort::parse(&format!("{}:{}", named.host(), self.dialled.port()), 80).ok()
    }
}

fn head(
    question: &Question,
    scheme: &str,
    authority: Authority,
    path: PathAndQuery,
) -> Result<http::request::Parts, Unanswerable> {
    let method = question.method();
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| Unanswerable::Method(method.to_owned()))?;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Scheme::try_from(scheme).ok();
    uri.authority = Some(authority);
    uri.path_and_query = Some(path);
    let uri = Uri::from_parts(uri)
        .map_err(|error| Unanswerable::Url { url: question.url.clone(), reason: error.to_string() })?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    (parts.method, parts.uri) = (method, uri);
    parts.headers = headers(question)?;
    Ok(parts)
}

fn headers(question: &Question) -> Result<HeaderMap, Unanswerable> {
    let mut headers = HeaderMap::new();
    for (name, value) in &question.headers {
        let refuse = || Unanswerable::Header(name.clone());
        let spelled = if name == ":authority" { "host" } else { name };
        let spelled: HeaderName = spelled.parse().map_err(|_| refuse())?;
        headers.append(spelled, HeaderValue::from_str(value).map_err(|_| refuse())?);
    }
    Ok(headers)
}

/// Headers as pairs, without the one that says the authority: those asked about in the order of the question, then what
/// was added. The map's own order says nothing, for it keeps the values of a name together and fills the gap of a removed
/// name with its last one; between names order has no meaning, so the data path does not pay for it.
pub(super) fn pairs(headers: &HeaderMap, asked: &[(String, String)]) -> Vec<(String, String)> {
    let mut left: HashMap<&str, _> =
        headers.keys().map(|name| (name.as_str(), headers.get_all(name).iter())).collect();
    left.remove(HOST.as_str());
    let mut pairs = Vec::with_capacity(headers.len());
    for (name, _) in asked {
        let name = name.to_ascii_lowercase();
        let value = left.get_mut(name.as_str()).and_then(Iterator::next);
        pairs.extend(value.map(|value| (name, text(value))));
    }
    for name in headers.keys() {
        let values = left.remove(name.as_str()).into_iter().flatten();
        pairs.extend(values.map(|value| (name.to_string(), text(value))));
    }
    pairs
}

/// A header's value; what is no text is shown as well as it can be.
pub(super) fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The path with its query.
pub(super) fn path_and_query(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned())
}

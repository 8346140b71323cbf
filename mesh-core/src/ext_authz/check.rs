//! What a service is asked: the request's head and, where it is wanted, the beginning of its body, as a `CheckRequest` or as a request
//! of the same method.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::google::protobuf::Timestamp;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use prost::Message;

use super::headers;
use crate::route::{GrpcAuth, HttpAuth};

/// What is known of a request whose fate is asked about.
#[derive(Debug, Clone, Copy)]
pub struct CheckFacts<'a> {
    /// The method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host that it names.
    pub authority: &'a str,
    /// The path with its query.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Who makes it: a SPIFFE ID, if there is one.
    pub principal: Option<&'a str>,
    /// Now, since 1970.
    pub unix_time: Duration,
    /// The beginning of the body, where the service is told of it.
    pub body: Option<CheckBody<'a>>,
}

/// The beginning of a body.
#[derive(Debug, Clone, Copy)]
pub struct CheckBody<'a> {
    /// As much as is told.
    pub data: &'a [u8],
    /// Whether there is more.
    pub is_partial: bool,
    /// Whether gRPC carries it as bytes.
    pub as_bytes: bool,
}

impl CheckFacts<'_> {
    /// The question as gRPC carries it: a `CheckRequest` behind the five bytes that say its length.
    pub fn grpc(&self, auth: &GrpcAuth) -> Bytes {
        let request = self.check_request(auth.request_headers.as_deref());
        let length = request.encoded_len();
        let mut framed = BytesMut::with_capacity(5 + length);
        framed.put_u8(0);
        // A head is never near 4 GiB, and what is told of a body is bounded.
        framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        framed.put_slice(&request.encode_to_vec());
        framed.freeze()
    }

    /// The path that a service which speaks HTTP is asked.
    pub fn http_path(&self, auth: &HttpAuth) -> String {
        format!("{}{}", auth.path_prefix, self.path)
    }

    /// The headers that such a service is told. The length is the question's own, whatever the request has.
    pub fn http_headers(&self, auth: &HttpAuth) -> HeaderMap {
        let told = |name: &HeaderName| {
            let name_bytes = name.as_str().as_bytes();
            let listed = || auth.request_headers.iter().any(|wanted| wanted.matches(name_bytes));
            name == AUTHORIZATION || *name != HOST && !headers::is_of_one_hop(name) && listed()
        };
        let told = self.headers.iter().filter(|(name, _)| told(name));
        let mut told: HeaderMap = told.map(|(name, value)| (name.clone(), value.clone())).collect();
        let length = self.body.map_or(0, |body| body.data.len());
        told.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(body) = self.body {
            told.insert(PARTIAL_BODY, HeaderValue::from_static(truth(body.is_partial)));
        }
        told
    }

    fn check_request(&self, listed: Option<&[HeaderName]>) -> CheckRequest {
        let said = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let size = said(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
        let http = HttpRequest {
            id: said("x-request-id").unwrap_or_default().to_owned(),
            method: self.method.to_string(),
            headers: self.header_texts(listed),
            path: self.path.to_owned(),
            host: self.authority.to_owned(),
            scheme: self.scheme.to_owned(),
            size: size.unwrap_or(-1),
            protocol: "HTTP/2".to_owned(),
            ..self.body_fields()
        };
        let time = Timestamp {
            seconds: i64::try_from(self.unix_time.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(self.unix_time.subsec_nanos()).unwrap_or_default(),
        };
        let principal = self.principal.unwrap_or_default().to_owned();
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer { principal, ..Peer::default() }),
                request: Some(Request { time: Some(time), http: Some(http) }),
                ..AttributeContext::default()
            }),
        }
    }

    fn body_fields(&self) -> HttpRequest {
        match self.body {
            Some(body) if body.as_bytes => {
                HttpRequest { raw_body: body.data.to_vec(), ..HttpRequest::default() }
            }
            Some(body) => {
                let body = String::from_utf8_lossy(body.data).into_owned();
                HttpRequest { body, ..HttpRequest::default() }
            }
            None => HttpRequest::default(),
        }
    }

    /// One text for a name, of the headers that are listed; without a list of all, and Envoy's pseudo headers, which services
    /// written for it read.
    fn header_texts(&self, listed: Option<&[HeaderName]>) -> HashMap<String, String> {
        let mut texts: HashMap<String, String> = HashMap::with_capacity(self.headers.len() + 5);
        for name in self.headers.keys().filter(|name| listed.is_none_or(|listed| listed.contains(name))) {
            let separator = if name == COOKIE { "; " } else { "," };
            let values = self.headers.get_all(name).iter();
            let values: Vec<_> =
                values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
            texts.insert(name.to_string(), values.join(separator));
        }
        if let Some(body) = self.body {
            texts.insert(PARTIAL_BODY.to_owned(), truth(body.is_partial).to_owned());
        }
        if listed.is_some() {
            return texts;
        }
        let pseudo = [
            (":method", self.method.as_str()),
            (":path", self.path),
            (":authority", self.authority),
            (":scheme", self.scheme),
        ];
        texts.extend(pseudo.map(|(name, value)| (name.to_owned(), value.to_owned())));
        texts
    }
}

fn truth(it: bool) -> &'static str {
    if it { "true" } else { "false" }
}

/// By which Envoy's services know whether the body goes on behind what they are told.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";
/// The method of Envoy's authorization service.
pub const GRPC_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

//! What a service is asked: the request's head, as a `CheckRequest` or as a head of the same method.

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
use crate::route::HttpAuth;

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
}

impl CheckFacts<'_> {
    /// The question as gRPC carries it: a `CheckRequest` behind the five bytes that say its length.
    pub fn grpc(&self) -> Bytes {
        let request = self.check_request();
        let length = request.encoded_len();
        let mut framed = BytesMut::with_capacity(5 + length);
        framed.put_u8(0);
        // A head is never near 4 GiB.
        framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        framed.put_slice(&request.encode_to_vec());
        framed.freeze()
    }

    /// The path that a service which speaks HTTP is asked.
    pub fn http_path(&self, auth: &HttpAuth) -> String {
        format!("{}{}", auth.path_prefix, self.path)
    }

    /// The headers that such a service is told. The question has no body, whatever the request has.
    pub fn http_headers(&self, auth: &HttpAuth) -> HeaderMap {
        let told = |name: &HeaderName| {
            let name_bytes = name.as_str().as_bytes();
            let listed = || auth.request_headers.iter().any(|wanted| wanted.matches(name_bytes));
            name == AUTHORIZATION || *name != HOST && !headers::is_of_one_hop(name) && listed()
        };
        let told = self.headers.iter().filter(|(name, _)| told(name));
        let mut told: HeaderMap = told.map(|(name, value)| (name.clone(), value.clone())).collect();
        told.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        told
    }

    fn check_request(&self) -> CheckRequest {
        let said = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let size = said(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
        let http = HttpRequest {
            id: said("x-request-id").unwrap_or_default().to_owned(),
            method: self.method.to_string(),
            headers: self.header_texts(),
            path: self.path.to_owned(),
            host: self.authority.to_owned(),
            scheme: self.scheme.to_owned(),
            size: size.unwrap_or(-1),
            protocol: "HTTP/2".to_owned(),
            ..HttpRequest::default()
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

    /// One text for a name, and Envoy's pseudo headers, which services written for it read.
    fn header_texts(&self) -> HashMap<String, String> {
        let mut texts: HashMap<String, String> = HashMap::with_capacity(self.headers.len() + 4);
        for name in self.headers.keys() {
            let separator = if name == COOKIE { "; " } else { "," };
            let values = self.headers.get_all(name).iter();
            let values: Vec<_> =
                values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
            texts.insert(name.to_string(), values.join(separator));
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

/// The method of Envoy's authorization service.
pub const GRPC_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

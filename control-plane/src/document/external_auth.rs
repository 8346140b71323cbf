//! ExternalAuth of an HTTPRoute's rule: a service that is asked whether a request may go on.
//!
//! What it is told is the request's head and, where `forwardBody` says so, the beginning of its body.

use super::header::is_header_name;
use super::http_route::backend_reference;
use super::route_filter::path;
use super::{BackendRef, Fields, Value, choice, integer, name, object};

/// Whom a rule asks.
#[derive(Clone, Debug, Default)]
pub struct ExternalAuth {
    /// The service; its weight says nothing.
    pub backend: BackendRef,
    /// What it is told and what it may change, where it speaks HTTP; `None` for gRPC.
    pub http: Option<HttpAuth>,
    /// The headers that it is told, where it speaks gRPC; all where it is empty.
    pub grpc_headers: Vec<String>,
    /// How much of a body it is told, in bytes; 0 is nothing.
    pub body_bytes_max: u16,
}

/// An authorization service that speaks HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAuth {
    /// Put before each path.
    pub path: String,
    /// The headers that it is told beside those that it always is.
    pub request_headers: Vec<String>,
    /// The headers of its answer that the request takes along; all where it is empty.
    pub answer_headers: Vec<String>,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> ExternalAuth {
    let is_http = fields.required("protocol", choice(&[("GRPC", -1, false), ("HTTP", -2, true)]));
    let other = if is_http { "grpc" } else { "http" };
    if fields.has(other) && fields.has("protocol") {
        fields.conflict(other, "does not go with the protocol", "remove the field, or correct `protocol`");
    }
    let http = fields.or_default("http", object(http));
    ExternalAuth {
        backend: fields.required("backendRef", object(backend_reference)),
        http: is_http.then_some(http),
        grpc_headers: fields.or_default("grpc", object(|fields| headers(fields, "allowedHeaders"))),
        body_bytes_max: fields.or_default("forwardBody", object(body_bytes_max)),
    }
}

fn http(fields: &mut Fields<'_, '_>) -> HttpAuth {
    HttpAuth {
        path: fields.or_default("path", path),
        request_headers: headers(fields, "allowedHeaders"),
        answer_headers: headers(fields, "allowedResponseHeaders"),
    }
}

fn body_bytes_max(fields: &mut Fields<'_, '_>) -> u16 {
    let size = fields.optional("maxSize", integer(0, i64::from(u16::MAX)));
    size.and_then(|size| size.try_into().ok()).unwrap_or_default()
}

fn headers(fields: &mut Fields<'_, '_>, field: &'static str) -> Vec<String> {
    let names =
        fields.list(field, |value: Value<'_, '_>| name::known(value, "the name of a header", is_header_name));
    if names.len() > HEADERS_MAX {
        fields.invalid(field, format!("has more than {HEADERS_MAX} headers"), "remove some");
    }
    names
}

/// As many headers of one list as the Gateway API takes.
const HEADERS_MAX: usize = 64;

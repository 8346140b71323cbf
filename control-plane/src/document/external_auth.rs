//! ExternalAuth of an HTTPRoute's rule: a service that is asked whether a request may go on.
//!
//! What it is told is the request's head. Bodies are not sent to it (`forwardBody`), and one that speaks gRPC is told all headers, as
//! xDS has no place to choose them for a route.

use super::fields::Fields;
use super::header::is_header_name;
use super::http_route::{BackendRef, backend_reference};
use super::name;
use super::route_filter::path;
use super::scalar::{choice, integer};
use super::value::{Value, object};

/// Whom a rule asks.
#[derive(Clone, Debug, Default)]
pub struct ExternalAuth {
    /// The service; its weight says nothing.
    pub backend: BackendRef,
    /// What it is told and what it may change, where it speaks HTTP; `None` for gRPC.
    pub http: Option<HttpAuth>,
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
    fields.or_default("grpc", object(grpc));
    fields.or_default("forwardBody", object(forward_body));
    ExternalAuth {
        backend: fields.required("backendRef", object(backend_reference)),
        http: is_http.then_some(http),
    }
}

fn http(fields: &mut Fields<'_, '_>) -> HttpAuth {
    HttpAuth {
        path: fields.or_default("path", path),
        request_headers: headers(fields, "allowedHeaders"),
        answer_headers: headers(fields, "allowedResponseHeaders"),
    }
}

fn grpc(fields: &mut Fields<'_, '_>) {
    if !headers(fields, "allowedHeaders").is_empty() {
        let message = "chooses headers, which xDS cannot say for one route";
        fields.not_honoured(
            "allowedHeaders",
            message,
            "remove the field: a service of gRPC is told all headers",
        );
    }
}

fn forward_body(fields: &mut Fields<'_, '_>) {
    if fields.optional("maxSize", integer(0, i64::from(u16::MAX))).is_some_and(|size| size > 0) {
        let message = "has bodies sent along, which this mesh does not do";
        fields.not_honoured("maxSize", message, "remove the field, and decide by the head");
    }
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

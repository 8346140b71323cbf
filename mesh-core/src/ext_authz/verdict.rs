//! What an authorization service's answer means.
//!
//! HTTP: 200 is a yes, 5xx and 1xx are no verdict, anything else is a no with that status. gRPC: the `CheckResponse`'s own status decides. One
//! that says no status is a yes only where it says what a yes does, so that an empty message is none.

use bytes::{Buf, Bytes};
use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost::Message;

use super::headers::{self, Budget};
use crate::route::{AuthProtocol, HeaderOperations, HttpAuth};

/// What a service decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The request goes on.
    Allow(Allowed),
    /// It does not.
    Deny(Denial),
}

/// A yes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// What becomes of the request's headers.
    pub request: HeaderOperations,
    /// What becomes of the response's headers.
    pub response: HeaderOperations,
}

/// A no, as the caller is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why an answer decides nothing, so that the request is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its answer {0}")]
pub struct NoVerdict(String);

impl NoVerdict {
    pub(super) fn new(has: impl std::fmt::Display) -> Self {
        Self(format!("has {has}"))
    }
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailers, if there are any.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// Reads the answer of a service that speaks `protocol`.
    ///
    /// # Errors
    /// Where it decides nothing.
    pub fn verdict(self, protocol: &AuthProtocol) -> Result<Verdict, NoVerdict> {
        match protocol {
            AuthProtocol::Grpc(_) => self.grpc(),
            AuthProtocol::Http(auth) => self.http(auth),
        }
    }

    fn http(self, auth: &HttpAuth) -> Result<Verdict, NoVerdict> {
        if self.status.is_server_error() || self.status.is_informational() {
            return Err(NoVerdict::new(format!("the status {}", self.status)));
        }
        if self.status != StatusCode::OK {
            let mut headers = HeaderMap::new();
            self.each_header(|name, value| {
                if headers::may_be_told(name) {
                    headers.append(name, value.clone());
                }
            })?;
            return Ok(Verdict::Deny(Denial { status: self.status, headers, body: self.body }));
        }
        let mut request = HeaderOperations::default();
        self.each_header(|name, value| {
            let wanted = auth.answer_headers.iter().any(|one| one.matches(name.as_str().as_bytes()));
            if !wanted || !headers::may_go_on(name) {
                return;
            }
            // All values of the answer, and none that the request had.
            let further = request.set.iter().any(|(set, _)| set == name);
            let list = if further { &mut request.add } else { &mut request.set };
            list.push((name.clone(), value.clone()));
        })?;
        Ok(Verdict::Allow(Allowed { request, response: HeaderOperations::default() }))
    }

    /// Shows the headers that concern more than one hop.
    fn each_header(&self, mut see: impl FnMut(&HeaderName, &HeaderValue)) -> Result<(), NoVerdict> {
        let mut budget = Budget::default();
        for (name, value) in &self.headers {
            budget.take(name.as_str(), value.as_bytes())?;
            if !headers::is_named_by_connection(&self.headers, name) {
                see(name, value);
            }
        }
        Ok(())
    }

    fn grpc(self) -> Result<Verdict, NoVerdict> {
        if self.status != StatusCode::OK {
            return Err(NoVerdict::new(format!("the HTTP status {}", self.status)));
        }
        let content_type = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if !content_type.starts_with(b"application/grpc") {
            return Err(NoVerdict::new("no content type of gRPC"));
        }
        let said = |headers: &HeaderMap| headers.get("grpc-status").cloned();
        let status = self.trailers.as_ref().and_then(said).or_else(|| said(&self.headers));
        match status.as_ref().map(HeaderValue::as_bytes) {
            Some(b"0") => {}
            Some(status) => {
                let status = String::from_utf8_lossy(status).into_owned();
                return Err(NoVerdict::new(format!("the gRPC status {status}")));
            }
            None => return Err(NoVerdict::new("no gRPC status")),
        }
        let response = CheckResponse::decode(unframed(self.body)?)
            .map_err(|error| NoVerdict::new(format!("no CheckResponse: {error}")))?;
        of_check(response)
    }
}

/// The one message of a unary answer.
fn unframed(mut body: Bytes) -> Result<Bytes, NoVerdict> {
    if body.len() < 5 {
        return Err(NoVerdict::new("no message"));
    }
    if body.get_u8() != 0 {
        return Err(NoVerdict::new("a compressed message, which was not asked for"));
    }
    let length = body.get_u32();
    if usize::try_from(length) != Ok(body.len()) {
        return Err(NoVerdict::new("not exactly one whole message"));
    }
    Ok(body)
}

fn of_check(response: CheckResponse) -> Result<Verdict, NoVerdict> {
    let code = response.status.map(|status| status.code);
    match (code, response.http_response) {
        (_, Some(HttpResponse::ErrorResponse(_))) => Err(NoVerdict::new("an error of the service")),
        (Some(0) | None, Some(HttpResponse::OkResponse(ok))) => allowed(ok).map(Verdict::Allow),
        (Some(0), None) => Ok(Verdict::Allow(Allowed::default())),
        (Some(0) | None, Some(HttpResponse::DeniedResponse(_))) => {
            Err(NoVerdict::new("no status of a denial, and yet a denial"))
        }
        (None, None) => Err(NoVerdict::new("no status")),
        (Some(_), Some(HttpResponse::DeniedResponse(denied))) => self::denied(denied).map(Verdict::Deny),
        (Some(_), Some(HttpResponse::OkResponse(_)) | None) => {
            denied(DeniedHttpResponse::default()).map(Verdict::Deny)
        }
    }
}

fn allowed(ok: OkHttpResponse) -> Result<Allowed, NoVerdict> {
    // Its metadata (`dynamic_metadata`) is for Envoy's later filters, of which there are none here.
    if !ok.query_parameters_to_set.is_empty() || !ok.query_parameters_to_remove.is_empty() {
        return Err(NoVerdict::new("changes of query parameters, which this mesh does not make"));
    }
    let mut budget = Budget::default();
    let mut request = operations(ok.headers, &mut budget, headers::may_go_on)?;
    let response = operations(ok.response_headers_to_add, &mut budget, headers::may_go_on)?;
    for name in ok.headers_to_remove {
        budget.take(&name, b"")?;
        let name = header_name(&name)?;
        if headers::may_go_on(&name) {
            request.remove.push(name);
        }
    }
    Ok(Allowed { request, response })
}

fn denied(denied: DeniedHttpResponse) -> Result<Denial, NoVerdict> {
    let code = denied.status.map(|status| status.code).filter(|code| *code != 0);
    let status = match code {
        None => StatusCode::FORBIDDEN,
        Some(code) => {
            let known = u16::try_from(code).ok().filter(|code| (200..600).contains(code));
            let known = known.and_then(|code| StatusCode::from_u16(code).ok());
            known
                .ok_or_else(|| NoVerdict::new(format!("the status {code}, which is none from 200 to 599")))?
        }
    };
    let mut headers = HeaderMap::new();
    operations(denied.headers, &mut Budget::default(), headers::may_be_told)?.apply(&mut headers);
    Ok(Denial { status, headers, body: denied.body.into() })
}

fn operations(
    options: Vec<HeaderValueOption>,
    budget: &mut Budget,
    passes: impl Fn(&HeaderName) -> bool,
) -> Result<HeaderOperations, NoVerdict> {
    let mut operations = HeaderOperations::default();
    for option in options {
        let appends = appends(&option)?;
        let header = option.header.ok_or_else(|| NoVerdict::new("a header without name and value"))?;
        let value = if header.value.is_empty() { header.raw_value } else { header.value.into_bytes() };
        budget.take(&header.key, &value)?;
        let name = header_name(&header.key)?;
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| NoVerdict::new(format!("a value of {name} that no header can have")))?;
        if passes(&name) {
            let list = if appends { &mut operations.add } else { &mut operations.set };
            list.push((name, value));
        }
    }
    Ok(operations)
}

/// Whether the value is added to those that are there. Here, other than elsewhere in Envoy's API, nothing said is no.
#[allow(deprecated, reason = "it is what services write: `append_action` came later and has another default")]
fn appends(option: &HeaderValueOption) -> Result<bool, NoVerdict> {
    if let Some(append) = &option.append {
        return Ok(append.value);
    }
    match HeaderAppendAction::try_from(option.append_action) {
        Ok(HeaderAppendAction::AppendIfExistsOrAdd | HeaderAppendAction::OverwriteIfExistsOrAdd) => Ok(false),
        _ => Err(NoVerdict::new("an append_action that this mesh does not know")),
    }
}

/// A header's name; what only looks like one (`:path`) would change a request after it was asked about.
fn header_name(name: &str) -> Result<HeaderName, NoVerdict> {
    let read = HeaderName::from_bytes(name.as_bytes());
    read.map_err(|_| NoVerdict::new(format!("`{}`, which is no header", name.escape_default())))
}

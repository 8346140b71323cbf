//! A route's external authorization (`envoy.filters.http.ext_authz`): whom it asks, and what is told and taken.
//!
//! The route names the service itself (`service_override`); the listener's filter has none. What would let a request pass without
//! a word of the service has no field here, and so is refused.

use std::mem::take;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::grpc_service::TargetSpecifier;
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{GrpcService, HttpUri};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::check_settings::ServiceOverride;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    AuthorizationRequest, AuthorizationResponse, BufferSettings, CheckSettings, ExtAuthzPerRoute, HttpService,
};
use envoy_types::pb::envoy::r#type::matcher::v3::ListStringMatcher;
use envoy_types::pb::google::protobuf::Duration as WireDuration;
use http::HeaderName;
use http::uri::{Authority, PathAndQuery};

use super::invalid::{Inside, Invalid, duration, each, nothing_else};
use super::matchers;
use super::metadata::Facts;
use super::route::ClusterNames;
use crate::ext_authz::{CHECK_BODY_BYTES_MAX, CHECK_TIME_MAX};
use crate::matcher::Pattern;
use crate::route::{AuthBody, AuthProtocol, ExternalAuth, GrpcAuth, HttpAuth};

/// None where it is off for the route.
pub(super) fn of_route(
    wire: ExtAuthzPerRoute,
    clusters: &mut ClusterNames,
) -> Result<Option<ExternalAuth>, Invalid> {
    match wire.r#override {
        Some(Override::Disabled(true)) => Ok(None),
        Some(Override::CheckSettings(wire)) => {
            check_settings(wire, clusters).inside("check_settings").map(Some)
        }
        Some(Override::Disabled(false)) | None => Err(Invalid::new("check_settings", "is missing")),
    }
}

fn check_settings(mut wire: CheckSettings, clusters: &mut ClusterNames) -> Result<ExternalAuth, Invalid> {
    let service = take(&mut wire.service_override);
    let body = take(&mut wire.with_request_body).map(body).transpose().inside("with_request_body")?;
    // The filter itself tells no bodies, and questions are not traced by themselves.
    wire.disable_request_body_buffering = false;
    wire.emit_client_span = None;
    nothing_else(&wire)?;
    let auth = match service {
        Some(ServiceOverride::GrpcService(wire)) => grpc(wire, clusters).inside("grpc_service"),
        Some(ServiceOverride::HttpService(wire)) => http(wire, clusters).inside("http_service"),
        None => Err(Invalid::new("service_override", "is missing")),
    };
    Ok(ExternalAuth { body, ..auth? })
}

/// A body is cut off, and never refused for its length.
fn body(mut wire: BufferSettings) -> Result<AuthBody, Invalid> {
    let bytes_max = take(&mut wire.max_request_bytes) as usize;
    if !(1..=CHECK_BODY_BYTES_MAX).contains(&bytes_max) {
        let reason = format!("is not from 1 to {CHECK_BODY_BYTES_MAX}");
        return Err(Invalid::new("max_request_bytes", reason));
    }
    if !take(&mut wire.allow_partial_message) {
        return Err(Invalid::new("allow_partial_message", "`false` is not supported by this mesh"));
    }
    let as_bytes = take(&mut wire.pack_as_bytes);
    nothing_else(&wire)?;
    Ok(AuthBody { bytes_max, as_bytes })
}

/// What is ours on a route, for which Envoy has a place on the whole filter alone: the headers that a service of gRPC is told.
pub(super) fn telling(auth: ExternalAuth, facts: Facts<'_>) -> Result<ExternalAuth, Invalid> {
    if !facts.has("external_auth") {
        return Ok(auth);
    }
    let names = facts.object("external_auth").texts("allowed_headers");
    let names = names.map(|names| names.iter().map(|name| HeaderName::try_from(*name)).collect());
    match (auth.protocol, names) {
        (AuthProtocol::Grpc(grpc), Some(Ok(names))) => {
            let grpc = GrpcAuth { request_headers: Some(names), ..grpc };
            Ok(ExternalAuth { protocol: AuthProtocol::Grpc(grpc), ..auth })
        }
        (AuthProtocol::Http(_), _) => Err(Invalid::new("", "goes with a service of gRPC only")),
        (_, Some(Err(error))) => Err(Invalid::new("allowed_headers", error)),
        (_, None) => Err(Invalid::new("allowed_headers", "is no list of texts")),
    }
}

fn grpc(mut wire: GrpcService, clusters: &mut ClusterNames) -> Result<ExternalAuth, Invalid> {
    let timeout = timeout(take(&mut wire.timeout))?;
    let mut target = match take(&mut wire.target_specifier) {
        Some(TargetSpecifier::EnvoyGrpc(target)) => target,
        _ => return Err(Invalid::new("target_specifier", "is not envoy_grpc")),
    };
    nothing_else(&wire)?;
    let (cluster, authority) = (take(&mut target.cluster_name), take(&mut target.authority));
    nothing_else(&target).inside("envoy_grpc")?;
    let authority =
        Authority::try_from(authority).map_err(|error| Invalid::new("envoy_grpc.authority", error))?;
    let grpc = GrpcAuth { authority, request_headers: None };
    asks(cluster, AuthProtocol::Grpc(grpc), timeout, clusters).inside("envoy_grpc.cluster_name")
}

fn http(mut wire: HttpService, clusters: &mut ClusterNames) -> Result<ExternalAuth, Invalid> {
    let HttpUri { uri: _, timeout: limit, http_upstream_type } =
        take(&mut wire.server_uri).ok_or(Invalid::new("server_uri", "is missing"))?;
    let timeout = timeout(limit).inside("server_uri")?;
    let Some(HttpUpstreamType::Cluster(cluster)) = http_upstream_type else {
        return Err(Invalid::new("server_uri.cluster", "is missing"));
    };
    let path_prefix = take(&mut wire.path_prefix);
    check_prefix(&path_prefix)?;
    let request = take(&mut wire.authorization_request).unwrap_or_default();
    let request_headers = told(request).inside("authorization_request")?;
    let answer = take(&mut wire.authorization_response).unwrap_or_default();
    let answer_headers = taken(answer).inside("authorization_response")?;
    nothing_else(&wire)?;
    let auth = HttpAuth { path_prefix: path_prefix.into(), request_headers, answer_headers };
    asks(cluster, AuthProtocol::Http(auth), timeout, clusters).inside("server_uri.cluster")
}

/// It stands before a path, and so is one itself, or nothing.
fn check_prefix(prefix: &str) -> Result<(), Invalid> {
    let read = PathAndQuery::try_from(prefix);
    let whole = prefix.starts_with('/') && read.is_ok_and(|read| read.path().len() == prefix.len());
    match prefix.is_empty() || whole {
        true => Ok(()),
        false => Err(Invalid::new("path_prefix", "is no path")),
    }
}

#[allow(deprecated, reason = "a route has no other place for the headers that its service is told")]
fn told(mut wire: AuthorizationRequest) -> Result<Vec<Pattern>, Invalid> {
    let patterns = patterns("allowed_headers", take(&mut wire.allowed_headers))?;
    nothing_else(&wire)?;
    Ok(patterns)
}

fn taken(mut wire: AuthorizationResponse) -> Result<Vec<Pattern>, Invalid> {
    let patterns = patterns("allowed_upstream_headers", take(&mut wire.allowed_upstream_headers))?;
    nothing_else(&wire)?;
    Ok(patterns)
}

fn patterns(field: &str, wire: Option<ListStringMatcher>) -> Result<Vec<Pattern>, Invalid> {
    each("patterns", wire.unwrap_or_default().patterns, matchers::pattern).inside(field)
}

fn timeout(wire: Option<WireDuration>) -> Result<Duration, Invalid> {
    let wire = wire.map(|wire| duration("timeout", wire)).transpose()?;
    Ok(wire.filter(|limit| !limit.is_zero()).map_or(CHECK_TIME_MAX, |limit| limit.min(CHECK_TIME_MAX)))
}

fn asks(
    cluster: String,
    protocol: AuthProtocol,
    timeout: Duration,
    clusters: &mut ClusterNames,
) -> Result<ExternalAuth, Invalid> {
    if cluster.is_empty() {
        return Err(Invalid::new("", "is missing"));
    }
    let (cluster, cluster_index) = clusters.place(cluster);
    Ok(ExternalAuth { cluster, cluster_index, protocol, timeout, body: None })
}

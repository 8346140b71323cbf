//! Transport sockets: the mesh's own mTLS by certificate provider instance, plaintext, or towards a cluster TLS by files.
//! Everything else is refused.

use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket};
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SubjectAltNameMatcher,
    UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::Any;

use super::UpstreamTls;
use super::invalid::{Inside, Invalid, each, holds, nothing_else, unpack};
use super::outside_tls::{OutsideTls, is_outside};

/// Towards a cluster.
pub(super) fn upstream(socket: Option<TransportSocket>) -> Result<UpstreamTls, Invalid> {
    let Some(config) = config(socket)? else { return Ok(UpstreamTls::Plaintext) };
    let mut wire: UpstreamTlsContext = unpack(&config).inside("typed_config")?;
    let common = take(&mut wire.common_tls_context).unwrap_or_default();
    let sni = take(&mut wire.sni).into();
    nothing_else(&wire).inside("typed_config")?;
    let read = match is_outside(&common) {
        true => OutsideTls::parse(common, sni).map(|tls| UpstreamTls::Outside(tls.into())),
        false => mesh_identity(common)
            .map(|identities| UpstreamTls::MeshMtls { identities: identities.into(), sni }),
    };
    read.inside("typed_config.common_tls_context")
}

/// At a server: mTLS, or plaintext (`false`).
pub(super) fn is_downstream_mtls(socket: Option<TransportSocket>) -> Result<bool, Invalid> {
    let Some(config) = config(socket)? else { return Ok(false) };
    let mut wire: DownstreamTlsContext = unpack(&config).inside("typed_config")?;
    let common = take(&mut wire.common_tls_context).unwrap_or_default();
    let identities = mesh_identity(common).inside("typed_config.common_tls_context")?;
    if !identities.is_empty() {
        // Who may call is the policy's to say; a second list beside it would be passed over.
        return Err(Invalid::new("typed_config.common_tls_context", "names clients"));
    }
    if !take(&mut wire.require_client_certificate).is_some_and(|required| required.value) {
        return Err(Invalid::new("typed_config.require_client_certificate", "is not true"));
    }
    nothing_else(&wire).inside("typed_config")?;
    Ok(true)
}

/// The TLS context, or none for plaintext.
fn config(socket: Option<TransportSocket>) -> Result<Option<Any>, Invalid> {
    let Some(socket) = socket else { return Ok(None) };
    let Some(transport_socket::ConfigType::TypedConfig(config)) = socket.config_type else {
        return Err(Invalid::new("typed_config", "is missing"));
    };
    Ok((!holds::<RawBuffer>(&config)).then_some(config))
}

/// Checks that both certificates are the mesh's, and reads whom the peer may be.
#[allow(deprecated, reason = "gRPC reads `match_subject_alt_names` only, so both lists are sent")]
fn mesh_identity(mut wire: CommonTlsContext) -> Result<Vec<Arc<str>>, Invalid> {
    if take(&mut wire.tls_certificate_provider_instance).is_none() {
        return Err(Invalid::new("tls_certificate_provider_instance", "is missing"));
    }
    let validation = take(&mut wire.validation_context_type);
    let Some(ValidationContextType::ValidationContext(validation)) = validation else {
        return Err(Invalid::new("validation_context", "is missing"));
    };
    let identities = peer_identities(validation).inside("validation_context")?;
    // What this mesh always offers.
    wire.alpn_protocols.retain(|protocol| !matches!(protocol.as_str(), "h2" | "http/1.1"));
    nothing_else(&wire)?;
    Ok(identities)
}

#[allow(deprecated, reason = "gRPC reads `match_subject_alt_names` only, so both lists are sent")]
fn peer_identities(mut wire: CertificateValidationContext) -> Result<Vec<Arc<str>>, Invalid> {
    if take(&mut wire.ca_certificate_provider_instance).is_none() {
        return Err(Invalid::new("ca_certificate_provider_instance", "is missing"));
    }
    let typed =
        each("match_typed_subject_alt_names", take(&mut wire.match_typed_subject_alt_names), spiffe_id)?;
    let older = each("match_subject_alt_names", take(&mut wire.match_subject_alt_names), exact)?;
    if !older.is_empty() && older != typed {
        return Err(Invalid::new("match_subject_alt_names", "differ from match_typed_subject_alt_names"));
    }
    nothing_else(&wire)?;
    Ok(typed)
}

fn spiffe_id(mut wire: SubjectAltNameMatcher) -> Result<Arc<str>, Invalid> {
    if take(&mut wire.san_type) != i32::from(SanType::Uri) {
        return Err(Invalid::new("san_type", "is not URI"));
    }
    let identity = exact(take(&mut wire.matcher).unwrap_or_default()).inside("matcher")?;
    nothing_else(&wire)?;
    Ok(identity)
}

pub(super) fn exact(wire: StringMatcher) -> Result<Arc<str>, Invalid> {
    match wire.match_pattern {
        Some(MatchPattern::Exact(identity)) if !wire.ignore_case => Ok(identity.into()),
        _ => Err(Invalid::new("", "is not exact")),
    }
}

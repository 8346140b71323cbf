//! The mesh's mTLS on the wire, for both sides: own certificate against theirs, by certificate provider instances.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext, DownstreamTlsContext,
    SubjectAltNameMatcher, UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use super::encode::{self, PLAIN};

/// Towards a cluster whose servers are one of `identities`.
pub(super) fn upstream(sni: &str, identities: &BTreeSet<String>) -> TransportSocket {
    let context = UpstreamTlsContext {
        common_tls_context: Some(common(identities)),
        sni: sni.to_owned(),
        ..UpstreamTlsContext::default()
    };
    socket(encode::pack(&context, &PLAIN))
}

/// At a server: a client certificate is demanded.
pub(super) fn downstream() -> TransportSocket {
    let context = DownstreamTlsContext {
        common_tls_context: Some(common(&BTreeSet::new())),
        require_client_certificate: Some(BoolValue { value: true }),
        ..DownstreamTlsContext::default()
    };
    socket(encode::pack(&context, &PLAIN))
}

fn common(identities: &BTreeSet<String>) -> CommonTlsContext {
    let matchers: Vec<StringMatcher> = identities
        .iter()
        .map(|identity| StringMatcher {
            match_pattern: Some(MatchPattern::Exact(identity.clone())),
            ..StringMatcher::default()
        })
        .collect();
    let typed = matchers.iter().map(|matcher| SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(matcher.clone()),
        ..SubjectAltNameMatcher::default()
    });
    #[expect(deprecated, reason = "gRPC reads the older list of names, Envoy the newer one")]
    let validation = CertificateValidationContext {
        ca_certificate_provider_instance: Some(provider("ROOTCA")),
        match_typed_subject_alt_names: typed.collect(),
        match_subject_alt_names: matchers,
        ..CertificateValidationContext::default()
    };
    CommonTlsContext {
        tls_certificate_provider_instance: Some(provider("default")),
        alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn provider(certificate: &str) -> CertificateProviderPluginInstance {
    CertificateProviderPluginInstance {
        instance_name: "default".to_owned(),
        certificate_name: certificate.to_owned(),
    }
}

fn socket(config: Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(config)),
    }
}

//! TLS on the wire: the mesh's own for both sides, own certificate against theirs, by certificate provider instances; towards
//! a cluster also TLS that is not the mesh's, by files.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{
    ApiVersion, ConfigSource, DataSource, PathConfigSource, TransportSocket, transport_socket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::{
    SystemRootCerts, TrustChainVerification,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext, DownstreamTlsContext,
    SdsSecretConfig, SubjectAltNameMatcher, TlsCertificate, TlsParameters, UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use super::encode::{self, PLAIN};
use crate::agent::{CERTIFICATE_SECRET, CERTIFICATE_SECRET_FILE, ROOTS_SECRET, ROOTS_SECRET_FILE};
use crate::document::{TlsMode, TlsSettings};
use crate::model::ClientKind;

/// Towards a cluster whose servers are one of `identities` and speak one of `protocols`.
pub(super) fn upstream(
    sni: &str,
    identities: &BTreeSet<String>,
    protocols: &[&str],
    client: &ClientKind,
) -> TransportSocket {
    let common = match client {
        ClientKind::Envoy { directory: Some(directory) } => by_secrets(identities, protocols, directory),
        // An Envoy that names no directory refuses the cluster, for it knows no certificate providers.
        _ => common(identities),
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: sni.to_owned(),
        ..UpstreamTlsContext::default()
    };
    socket(encode::pack(&context, &PLAIN))
}

/// Towards a cluster by files of the client's host. The server must be who the settings say, else who the service says, else
/// the host.
pub(super) fn outside(settings: &TlsSettings, of_service: &[String], host: &str) -> TransportSocket {
    let sni = match (&settings.sni, is_dns(host)) {
        (Some(sni), _) => sni.clone(),
        (None, true) => host.to_owned(),
        (None, false) => String::new(),
    };
    let shown = match (settings.mode, &settings.client_certificate, &settings.private_key) {
        (TlsMode::Mutual, Some(chain), Some(key)) => Some(TlsCertificate {
            certificate_chain: Some(file(chain)),
            private_key: Some(file(key)),
            ..TlsCertificate::default()
        }),
        _ => None,
    };
    let common = CommonTlsContext {
        tls_certificates: shown.into_iter().collect(),
        alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        validation_context_type: Some(ValidationContextType::ValidationContext(verification(
            settings,
            of_service,
            if sni.is_empty() { host } else { &sni },
        ))),
        ..CommonTlsContext::default()
    };
    let context =
        UpstreamTlsContext { common_tls_context: Some(common), sni, ..UpstreamTlsContext::default() };
    socket(encode::pack(&context, &PLAIN))
}

fn verification(
    settings: &TlsSettings,
    of_service: &[String],
    implied: &str,
) -> CertificateValidationContext {
    if settings.insecure_skip_verify {
        return CertificateValidationContext {
            trust_chain_verification: TrustChainVerification::AcceptUntrusted.into(),
            ..CertificateValidationContext::default()
        };
    }
    let implied = [implied.to_owned()];
    let said = [&settings.subject_alt_names, of_service, &implied];
    let names = said.into_iter().find(|names| !names.is_empty()).unwrap_or_default();
    CertificateValidationContext {
        trusted_ca: settings.ca_certificates.as_deref().map(file),
        system_root_certs: settings.ca_certificates.is_none().then(SystemRootCerts::default),
        crl: settings.ca_crl.as_deref().map(file),
        match_typed_subject_alt_names: names.iter().map(|name| subject(name)).collect(),
        ..CertificateValidationContext::default()
    }
}

/// A name of the server's certificate, of the kind that it looks like.
fn subject(name: &str) -> SubjectAltNameMatcher {
    let kind = match name {
        uri if uri.contains("://") => SanType::Uri,
        address if !is_dns(address) => SanType::IpAddress,
        _ => SanType::Dns,
    };
    of_kind(kind, name)
}

fn of_kind(kind: SanType, name: &str) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(exact(name)),
        ..SubjectAltNameMatcher::default()
    }
}

fn is_dns(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_err()
}

fn file(path: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..DataSource::default() }
}

fn exact(text: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(text.to_owned())), ..StringMatcher::default() }
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

/// As Envoy wants it: its certificate and roots are secrets in files that the agent beside it keeps.
fn by_secrets(identities: &BTreeSet<String>, protocols: &[&str], directory: &str) -> CommonTlsContext {
    let secret = |name: &str, file: &str| SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(ConfigSource {
            config_source_specifier: Some(ConfigSourceSpecifier::PathConfigSource(PathConfigSource {
                path: format!("{directory}/{file}"),
                ..PathConfigSource::default()
            })),
            resource_api_version: ApiVersion::V3.into(),
            ..ConfigSource::default()
        }),
    };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: typed(identities).collect(),
            ..CertificateValidationContext::default()
        }),
        validation_context_sds_secret_config: Some(secret(ROOTS_SECRET, ROOTS_SECRET_FILE)),
        ..CombinedCertificateValidationContext::default()
    };
    CommonTlsContext {
        // The mesh's servers speak nothing older.
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv13.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..TlsParameters::default()
        }),
        tls_certificate_sds_secret_configs: vec![secret(CERTIFICATE_SECRET, CERTIFICATE_SECRET_FILE)],
        alpn_protocols: protocols.iter().map(|protocol| (*protocol).to_owned()).collect(),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn typed(identities: &BTreeSet<String>) -> impl Iterator<Item = SubjectAltNameMatcher> {
    identities.iter().map(|identity| of_kind(SanType::Uri, identity))
}

fn common(identities: &BTreeSet<String>) -> CommonTlsContext {
    let matchers: Vec<StringMatcher> = identities.iter().map(|identity| exact(identity)).collect();
    #[expect(deprecated, reason = "gRPC reads the older list of names, Envoy the newer one")]
    let validation = CertificateValidationContext {
        ca_certificate_provider_instance: Some(provider("ROOTCA")),
        match_typed_subject_alt_names: typed(identities).collect(),
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

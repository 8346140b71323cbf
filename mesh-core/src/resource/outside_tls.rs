//! TLS that is not the mesh's own: by files of the client's host, or the roots that its system trusts.
//!
//! Whom the server may be is always said: a list of names, or in so many words nobody in particular.

use std::fmt;
use std::mem::take;
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::TrustChainVerification;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, TlsCertificate,
};

use super::invalid::{Inside, Invalid, each, nothing_else};
use super::transport_socket::exact;

/// How a cluster outside the mesh's own TLS is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideTls {
    /// The server name to send; empty sends none.
    pub sni: Arc<str>,
    /// What this side shows, where it shows a certificate.
    pub certificate: Option<CertificateFiles>,
    /// Whom the server may be.
    pub verification: ServerVerification,
}

/// A certificate in files of the client's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The path of its chain, PEM.
    pub chain: Arc<str>,
    /// The path of its private key, PEM.
    pub key: Arc<str>,
}

/// Whom a server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerVerification {
    /// Anybody: the configuration says so in so many words.
    Skipped,
    /// Somebody whom these roots vouch for under one of these names.
    Named {
        /// Who vouches.
        roots: Roots,
        /// The path of the list of what has been revoked, PEM; with one, each certificate's issuer must be on it.
        revocations: Option<Arc<str>>,
        /// The names; never empty.
        names: Arc<[PeerName]>,
    },
}

/// Who vouches for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Whom the client's system trusts.
    System,
    /// The certificates in the file of that path, PEM.
    File(Arc<str>),
}

/// A name in a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName {
    /// A DNS name.
    Dns(Arc<str>),
    /// An IP address.
    Ip(IpAddr),
    /// A URI.
    Uri(Arc<str>),
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Whether a context names neither of the mesh's own certificates, and says itself what to verify.
pub(super) fn is_outside(wire: &CommonTlsContext) -> bool {
    let Some(ValidationContextType::ValidationContext(validation)) = &wire.validation_context_type else {
        return false;
    };
    wire.tls_certificate_provider_instance.is_none()
        && validation.ca_certificate_provider_instance.is_none()
        && (validation.trusted_ca.is_some()
            || validation.system_root_certs.is_some()
            || validation.trust_chain_verification != 0)
}

impl OutsideTls {
    pub(super) fn parse(mut wire: CommonTlsContext, sni: Arc<str>) -> Result<Self, Invalid> {
        let mut certificates = each("tls_certificates", take(&mut wire.tls_certificates), certificate)?;
        let certificate = certificates.pop();
        if !certificates.is_empty() {
            return Err(Invalid::new("tls_certificates", "are more than one"));
        }
        let verification = match take(&mut wire.validation_context_type) {
            Some(ValidationContextType::ValidationContext(validation)) => {
                verification(validation).inside("validation_context")?
            }
            _ => return Err(Invalid::new("validation_context", "is missing")),
        };
        wire.alpn_protocols.retain(|protocol| !matches!(protocol.as_str(), "h2" | "http/1.1"));
        nothing_else(&wire)?;
        Ok(Self { sni, certificate, verification })
    }
}

fn certificate(mut wire: TlsCertificate) -> Result<CertificateFiles, Invalid> {
    let files = CertificateFiles {
        chain: path(take(&mut wire.certificate_chain)).inside("certificate_chain")?,
        key: path(take(&mut wire.private_key)).inside("private_key")?,
    };
    nothing_else(&wire)?;
    Ok(files)
}

fn verification(mut wire: CertificateValidationContext) -> Result<ServerVerification, Invalid> {
    let skipped = i32::from(TrustChainVerification::AcceptUntrusted);
    let names = each("match_typed_subject_alt_names", take(&mut wire.match_typed_subject_alt_names), name)?;
    let verification = match (take(&mut wire.trust_chain_verification), names.is_empty()) {
        (0, false) => ServerVerification::Named {
            roots: match (take(&mut wire.trusted_ca), take(&mut wire.system_root_certs)) {
                (Some(file), None) => Roots::File(path(Some(file)).inside("trusted_ca")?),
                (None, Some(_)) => Roots::System,
                _ => {
                    return Err(Invalid::new(
                        "trusted_ca",
                        "and system_root_certs: not exactly one is there",
                    ));
                }
            },
            revocations: match take(&mut wire.crl) {
                Some(file) => Some(path(Some(file)).inside("crl")?),
                None => None,
            },
            names: names.into(),
        },
        (0, true) => return Err(Invalid::new("match_typed_subject_alt_names", "is empty, which is anybody")),
        (how, true) if how == skipped => ServerVerification::Skipped,
        _ => return Err(Invalid::new("trust_chain_verification", "does not go with what is to be verified")),
    };
    nothing_else(&wire)?;
    Ok(verification)
}

fn path(source: Option<DataSource>) -> Result<Arc<str>, Invalid> {
    match source {
        Some(DataSource { specifier: Some(Specifier::Filename(path)), watched_directory: None })
            if !path.is_empty() =>
        {
            Ok(path.into())
        }
        _ => Err(Invalid::new("filename", "is missing")),
    }
}

fn name(mut wire: SubjectAltNameMatcher) -> Result<PeerName, Invalid> {
    let kind = SanType::try_from(take(&mut wire.san_type));
    let name = exact(take(&mut wire.matcher).unwrap_or_default()).inside("matcher")?;
    nothing_else(&wire)?;
    match kind {
        Ok(SanType::Dns) => Ok(PeerName::Dns(name)),
        Ok(SanType::Uri) => Ok(PeerName::Uri(name)),
        Ok(SanType::IpAddress) => {
            name.parse().map(PeerName::Ip).map_err(|_| Invalid::new("matcher", "is no IP address"))
        }
        _ => Err(Invalid::new("san_type", "is neither DNS, URI nor IP_ADDRESS")),
    }
}

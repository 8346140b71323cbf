//! `tls`: how connections to a host are secured (ISTIO-FIELDS §2.7).
//!
//! Files are paths on the client's host, where they are read at each connect; here they are words.

use rustls_pki_types::DnsName;

use super::super::fields::Fields;
use super::super::finding::Code;
use super::super::scalar::{boolean, choice, some_text, spanned_text, text};
use super::super::value::Value;

/// How connections to a host are secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whose TLS it is.
    pub mode: TlsMode,
    /// The server name to send, instead of the host or the mesh's own.
    pub sni: Option<String>,
    /// Whom the server may be, instead of what follows from the host; empty says nothing.
    pub subject_alt_names: Vec<String>,
    /// The path of what MUTUAL shows.
    pub client_certificate: Option<String>,
    /// The path of its key.
    pub private_key: Option<String>,
    /// The path of who vouches for the server; absent is the client's system.
    pub ca_certificates: Option<String>,
    /// The path of what has been revoked.
    pub ca_crl: Option<String>,
    /// Whether anybody may be the server.
    pub insecure_skip_verify: bool,
}

/// Whose TLS is spoken to a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Nobody's: plaintext.
    #[default]
    Disable,
    /// The server's, without a client certificate.
    Simple,
    /// The server's, with a client certificate of the user's.
    Mutual,
    /// The mesh's own mutual TLS.
    IstioMutual,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> TlsSettings {
    let modes = [
        ("DISABLE", 0, TlsMode::Disable),
        ("SIMPLE", 1, TlsMode::Simple),
        ("MUTUAL", 2, TlsMode::Mutual),
        ("ISTIO_MUTUAL", 3, TlsMode::IstioMutual),
    ];
    let mut path = |name| fields.optional(name, text).filter(|path| !path.is_empty());
    let (client_certificate, private_key) = (path("clientCertificate"), path("privateKey"));
    let (ca_certificates, ca_crl) = (path("caCertificates"), path("caCrl"));
    let settings = TlsSettings {
        mode: fields.optional("mode", choice(&modes)).unwrap_or_default(),
        sni: fields.optional("sni", sni).filter(|sni| !sni.is_empty()),
        subject_alt_names: fields.list("subjectAltNames", some_text),
        client_certificate,
        private_key,
        ca_certificates,
        ca_crl,
        insecure_skip_verify: fields.or_default("insecureSkipVerify", boolean),
    };
    fields.gateway_only("credentialName", text);
    match settings.mode {
        TlsMode::Simple | TlsMode::Mutual => outside(fields, &settings),
        TlsMode::Disable | TlsMode::IstioMutual => inside(fields, &settings),
    }
    settings
}

fn sni(value: Value<'_, '_>) -> String {
    let mut value = value;
    let name = spanned_text(value.reborrow()).value;
    if value.node.is_some() && !name.is_empty() && DnsName::try_from(name.as_str()).is_err() {
        value.invalid("is no name that a TLS handshake can carry", "write a DNS name without wildcards");
    }
    name
}

/// The mesh's own TLS and plaintext know no files, and the mesh's peers are SPIFFE IDs.
fn inside(fields: &mut Fields<'_, '_>, settings: &TlsSettings) {
    for name in ["clientCertificate", "privateKey", "caCertificates", "caCrl", "insecureSkipVerify"] {
        if fields.filled(name) && !fields.wrote(name, "false") {
            fields.suspicious(name, "acts with SIMPLE and MUTUAL only", "remove it, or change the mode");
        }
    }
    if settings.mode == TlsMode::Disable {
        for name in ["sni", "subjectAltNames"] {
            if fields.filled(name) {
                fields.suspicious(name, "plaintext names nobody", "remove it, or change the mode");
            }
        }
    } else if settings.subject_alt_names.iter().any(|name| !name.starts_with("spiffe://")) {
        let message = "the peers of the mesh's own TLS are SPIFFE IDs, which one of these is not";
        fields.not_honoured("subjectAltNames", message, "write `spiffe://…`, or use SIMPLE or MUTUAL");
    }
}

fn outside(fields: &mut Fields<'_, '_>, settings: &TlsSettings) {
    let (mode, skips) = (settings.mode, settings.insecure_skip_verify);
    let credential = fields.filled("credentialName");
    // A credential of MUTUAL holds the client's own certificate too, and so says nothing about verifying.
    let verifies = fields.filled("subjectAltNames")
        || fields.filled("caCertificates")
        || (credential && mode == TlsMode::Simple);
    if skips && verifies {
        let message = "contradicts the fields that say what to verify";
        fields.conflict("insecureSkipVerify", message, "remove it, or remove those");
    } else if skips && settings.ca_crl.is_some() {
        fields.suspicious("caCrl", "nothing is verified, so nothing is revoked", "remove one of the two");
    }
    for name in ["clientCertificate", "privateKey", "caCertificates", "caCrl"] {
        if credential && fields.filled(name) {
            fields.conflict(name, "excludes `credentialName`", "keep one of the two");
        }
    }
    for name in ["clientCertificate", "privateKey"] {
        if mode == TlsMode::Mutual && !credential && !fields.filled(name) {
            fields.missing(name, "is required by MUTUAL", "add the path of the file");
        } else if mode == TlsMode::Simple && fields.filled(name) {
            fields.note(Code::Suspicious, name, "acts with MUTUAL only", "remove it, or use MUTUAL");
        }
    }
    if settings.subject_alt_names.iter().any(|name| name.contains('@') && !name.contains("://")) {
        let message = "mail addresses in certificates are not looked at by this mesh";
        fields.not_honoured("subjectAltNames", message, "write DNS names, IP addresses or URIs");
    }
}

//! MeshSettings: what holds for the whole mesh, under the names that Istio's MeshConfig gives it.
//!
//! Absent fields have Istio's defaults, save that TLS is 1.3 and that only what is known unprocessed is retried.

use std::time::Duration;

use http::header::{self, HeaderName};
use mesh_core::canonical::PathNormalization;
use mesh_core::context::PROPAGATED_BY_DEFAULT;
use mesh_core::locality::{LocalitySetting, Preference};
use serde::{Deserialize, Serialize};

use super::{Fields, Span, Value, boolean, choice, duration, integer, name, object, preference, shorten};

/// The settings of a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// Where the spec stands.
    pub span: Span,
    /// The trust domain of every identity.
    pub trust_domain: String,
    /// Trust domains that count as ours.
    pub trust_domain_aliases: Vec<String>,
    /// The namespace whose policies hold everywhere.
    pub root_namespace: String,
    /// Whether mesh TLS is spoken to whoever speaks it.
    pub auto_mtls: bool,
    /// What becomes of hosts that no document knows.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// How paths are made canonical.
    pub path_normalization: PathNormalization,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// After how long clients look a name up again; at least 5 s.
    pub dns_refresh_rate: Duration,
    /// Who sees documents that do not say so.
    pub default_export_to: DefaultExportTo,
    /// Which endpoints go before others, where neither a rule nor the service says so.
    pub preference: Preference,
    /// The headers, in small letters, that go on from a request to those made on its behalf; none switches it off.
    pub propagated_headers: Vec<String>,
}

/// Who sees documents that do not say so, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultExportTo {
    /// Services and ServiceEntries.
    pub service: Vec<String>,
    /// VirtualServices.
    pub virtual_service: Vec<String>,
    /// DestinationRules.
    pub destination_rule: Vec<String>,
}

/// What becomes of hosts that no document knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficPolicy {
    /// They are called as they are.
    #[default]
    AllowAny,
    /// They are refused.
    RegistryOnly,
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self {
            span: Span::default(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            auto_mtls: true,
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            path_normalization: PathNormalization::default(),
            connect_timeout: Duration::from_secs(10),
            dns_refresh_rate: Duration::from_secs(60),
            default_export_to: DefaultExportTo::default(),
            preference: Preference::Locality(LocalitySetting::default()),
            propagated_headers: PROPAGATED_BY_DEFAULT.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Default for DefaultExportTo {
    fn default() -> Self {
        let all = || vec!["*".to_owned()];
        Self { service: all(), virtual_service: all(), destination_rule: all() }
    }
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> MeshSettings {
    let defaults = MeshSettings::default();
    let settings = MeshSettings {
        span: fields.span(),
        trust_domain: fields.optional("trustDomain", trust_domain).unwrap_or(defaults.trust_domain),
        trust_domain_aliases: fields.list("trustDomainAliases", trust_domain),
        root_namespace: fields.optional("rootNamespace", name::label).unwrap_or(defaults.root_namespace),
        auto_mtls: fields.optional("enableAutoMtls", boolean).unwrap_or(defaults.auto_mtls),
        outbound_traffic_policy: fields.or_default("outboundTrafficPolicy", object(outbound_traffic_policy)),
        path_normalization: fields.or_default("pathNormalization", object(path_normalization)),
        connect_timeout: fields.optional("connectTimeout", duration).unwrap_or(defaults.connect_timeout),
        dns_refresh_rate: fields.optional("dnsRefreshRate", duration).unwrap_or(defaults.dns_refresh_rate),
        default_export_to: default_export_to(fields),
        preference: preference::decode(fields).unwrap_or(defaults.preference),
        propagated_headers: fields
            .optional("propagatedHeaders", propagated_headers)
            .unwrap_or(defaults.propagated_headers),
    };
    if settings.dns_refresh_rate < DNS_REFRESH_MIN {
        fields.suspicious("dnsRefreshRate", "clients look a name up every 5s at most", "write 5s or more");
    }
    not_yet(fields);
    settings
}

/// What MeshConfig has and this mesh not yet.
fn not_yet(fields: &mut Fields<'_, '_>) {
    fields.unsupported("meshMTLS", |value| {
        value.object(|fields| {
            fields.optional(
                "minProtocolVersion",
                choice(&[("TLS_AUTO", 0, ()), ("TLSV1_2", 1, ()), ("TLSV1_3", 2, ())]),
            );
        })
    });
    fields.unsupported("defaultHttpRetryPolicy", opaque);
    fields.unsupported("defaultTrafficPolicy", opaque);
    fields.unsupported("extensionProviders", opaque);
    fields.unsupported("defaultProviders", opaque);
    fields.unsupported("discoverySelectors", opaque);
    fields.unsupported("serviceEntryVisibility", opaque);
    fields.unsupported("numTrustedProxies", integer(0, i64::from(u32::MAX)));
    fields.unsupported("drainDuration", duration);
    fields.unsupported("terminationDrainDuration", duration);
}

/// A block whose insides are not known before it is honoured.
fn opaque(_: Value<'_, '_>) {}

fn default_export_to(fields: &mut Fields<'_, '_>) -> DefaultExportTo {
    let defaults = DefaultExportTo::default();
    DefaultExportTo {
        service: fields.optional("defaultServiceExportTo", name::export_to).unwrap_or(defaults.service),
        virtual_service: fields
            .optional("defaultVirtualServiceExportTo", name::export_to)
            .unwrap_or(defaults.virtual_service),
        destination_rule: fields
            .optional("defaultDestinationRuleExportTo", name::export_to)
            .unwrap_or(defaults.destination_rule),
    }
}

fn propagated_headers(mut value: Value<'_, '_>) -> Vec<String> {
    let names = value.reborrow().items(|value| {
        name::checked(value, |name| {
            let parsed =
                HeaderName::try_from(name).map_err(|_| format!("`{}` is not a name", shorten(name)))?;
            if OF_ONE_MESSAGE.contains(&parsed) {
                return Err(format!("`{parsed}` concerns one message alone and cannot go on with another"));
            }
            Ok(())
        })
        .value
        .to_ascii_lowercase()
    });
    if names.len() > PROPAGATED_HEADERS_MAX {
        value.invalid(
            format!("names more than {PROPAGATED_HEADERS_MAX} headers"),
            "name those that decisions further on need, or put them into `baggage`",
        );
    }
    names
}

fn trust_domain(value: Value<'_, '_>) -> String {
    name::checked(value, |domain| {
        let good = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
        };
        if !domain.is_empty() && domain.len() <= 255 && domain.bytes().all(good) {
            return Ok(());
        }
        Err("is not a trust domain: small letters, digits, `.`, `-`, `_`".to_owned())
    })
    .value
}

fn outbound_traffic_policy(fields: &mut Fields<'_, '_>) -> OutboundTrafficPolicy {
    let modes = [
        ("REGISTRY_ONLY", 0, OutboundTrafficPolicy::RegistryOnly),
        ("ALLOW_ANY", 1, OutboundTrafficPolicy::AllowAny),
    ];
    fields.or_default("mode", choice(&modes))
}

fn path_normalization(fields: &mut Fields<'_, '_>) -> PathNormalization {
    let levels = [
        ("DEFAULT", 0, PathNormalization::Base),
        ("NONE", 1, PathNormalization::None),
        ("BASE", 2, PathNormalization::Base),
        ("MERGE_SLASHES", 3, PathNormalization::MergeSlashes),
        ("DECODE_AND_MERGE_SLASHES", 4, PathNormalization::DecodeAndMergeSlashes),
    ];
    fields.or_default("normalization", choice(&levels))
}

/// As many headers go on as may be named; each costs a look-up per request.
const PROPAGATED_HEADERS_MAX: usize = 16;
/// What frames a message or a hop: sent on with another message, it would be a lie.
const OF_ONE_MESSAGE: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("grpc-timeout"),
];

/// What clients hold to, whatever they are told.
const DNS_REFRESH_MIN: Duration = Duration::from_secs(5);

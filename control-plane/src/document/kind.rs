//! Which kinds there are, by API group and version, and what becomes of each.
//!
//! Three answers are possible for a kind of the mesh's own groups: read, kept inert, refused by name. A kind that is in
//! none of these lists does not exist, which is an error; a kind of any other group is none of the mesh's, and skipped:
//! with a warning where it looks like one of the mesh's that was misspelled, because a policy that is not read lets in
//! whom it was to keep out.

use serde::Serialize;

use super::spelling::distance;

/// A kind of document that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// `proxyless.mesh` MeshSettings.
    MeshSettings,
    /// Kubernetes Service.
    Service,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
    /// `networking.istio.io` WorkloadEntry.
    WorkloadEntry,
    /// `networking.istio.io` VirtualService.
    VirtualService,
    /// `networking.istio.io` DestinationRule.
    DestinationRule,
    /// `gateway.networking.k8s.io` HTTPRoute.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// `gateway.networking.k8s.io` GRPCRoute.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
    /// `gateway.networking.k8s.io` ReferenceGrant.
    ReferenceGrant,
    /// `security.istio.io` PeerAuthentication.
    PeerAuthentication,
    /// `security.istio.io` AuthorizationPolicy.
    AuthorizationPolicy,
    /// `networking.istio.io` Gateway, inert.
    Gateway,
    /// `gateway.networking.k8s.io` Gateway, inert.
    KubernetesGateway,
    /// `gateway.networking.k8s.io` GatewayClass, inert.
    GatewayClass,
    /// Kubernetes Deployment, for its workload.
    Deployment,
    /// Kubernetes EndpointSlice, for its endpoints.
    EndpointSlice,
}

impl Kind {
    /// The name as documents write it.
    pub fn name(self) -> &'static str {
        // The first entry of a kind is its name; only the two gateways share one.
        KINDS.iter().find(|facts| facts.fate.kind() == Some(self)).map_or("", |facts| facts.name)
    }

    /// The kind that a user means by `vs`, `virtualservice`, `virtualservices` or `VirtualService`.
    pub fn from_name(name: &str) -> Option<Self> {
        let written = name.to_ascii_lowercase();
        let written = match written.as_str() {
            "vs" => "virtualservice",
            "dr" => "destinationrule",
            "se" => "serviceentry",
            "we" => "workloadentry",
            "pa" => "peerauthentication",
            "ap" => "authorizationpolicy",
            "svc" => "service",
            other => other,
        };
        let means = |kind: &str| {
            let kind = kind.to_ascii_lowercase();
            let many = kind.strip_suffix('y').map(|stem| format!("{stem}ies"));
            written == kind || written == many.unwrap_or_else(|| format!("{kind}s"))
        };
        KINDS.iter().find(|facts| means(facts.name)).and_then(|facts| facts.fate.kind())
    }

    /// Whether a user who names `named` means this kind: the two gateways share a name.
    pub fn is_meant_by(self, named: Self) -> bool {
        self == named || (self, named) == (Self::KubernetesGateway, Self::Gateway)
    }

    /// Whether the kind is kept for what it says about workloads, and carries no configuration.
    pub fn is_workload_fact(self) -> bool {
        matches!(self, Self::Deployment | Self::EndpointSlice)
    }
}

/// What becomes of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is read.
    Read(Kind),
    /// It is kept and does nothing until there is an edge.
    Inert(Kind),
    /// It is refused by name.
    Unsupported,
}

impl Fate {
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Read(kind) | Self::Inert(kind) => Some(kind),
            Self::Unsupported => None,
        }
    }
}

/// What is known about a kind.
#[derive(Debug)]
pub(super) struct KindFacts {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) versions: &'static [&'static str],
    pub(super) fate: Fate,
}

impl KindFacts {
    /// Whether the name of the kind means something in a mesh only.
    fn is_ours_alone(&self) -> bool {
        [NETWORKING, SECURITY, GATEWAY_API].contains(&self.group) || self.name == "MeshSettings"
    }

    /// How a document of the kind begins.
    pub(super) fn head(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        let version = self.versions.first().unwrap_or(&"v1");
        format!("`apiVersion: {}{slash}{version}` and `kind: {}`", self.group, self.name)
    }

    /// Whether the kind is defined in protobuf, whose reader takes field names in both spellings.
    pub(super) fn is_of_protobuf(&self) -> bool {
        self.group.ends_with("istio.io") || self.group == OWN
    }
}

/// What an `apiVersion` and `kind` come to.
#[derive(Debug)]
pub(super) enum Known {
    /// A known kind, in a version that is served.
    Kind(&'static KindFacts),
    /// A known kind in a version that is not.
    Version(&'static KindFacts),
    /// No kind of this group, which is the mesh's own.
    Unknown,
    /// None of the mesh's as it stands, but so like this one that it is probably meant.
    Misspelled(&'static KindFacts),
    /// None of the mesh's.
    Foreign,
}

/// Looks a kind up.
pub(super) fn look_up(api_version: &str, kind: &str) -> Known {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let Some(facts) = KINDS.iter().find(|facts| facts.group == group && facts.name == kind) else {
        if OWN_GROUPS.contains(&group) {
            return Known::Unknown;
        }
        return nearest(group, kind).map_or(Known::Foreign, Known::Misspelled);
    };
    if facts.versions.contains(&version) { Known::Kind(facts) } else { Known::Version(facts) }
}

/// The kind that was probably meant by one of another group. A kind whose name means something in a mesh only is taken for
/// ours in any group; one that others have too (Knative's `Service`) only where the group is right, or nearly so.
fn nearest(group: &str, kind: &str) -> Option<&'static KindFacts> {
    let far = |facts: &KindFacts| {
        let (of_group, of_kind) = (distance(group, facts.group), distance(kind, facts.name));
        let near = of_group <= facts.group.len() / GROUP_LETTERS_PER_SLIP && of_kind <= SLIPS_MAX;
        (near || (facts.is_ours_alone() && of_kind <= 1)).then_some((of_kind, of_group))
    };
    let near = KINDS.iter().filter_map(|facts| Some((far(facts)?, facts)));
    near.min_by_key(|(far, _)| *far).map(|(_, facts)| facts)
}

/// One slip of the pen is forgiven for so many letters of a group: none in `""`, three in `networking.istio.io`.
const GROUP_LETTERS_PER_SLIP: usize = 6;
/// Letters that may be wrong in a kind whose group is right.
const SLIPS_MAX: usize = 2;

/// Kinds of a group that can be written, for messages.
pub(super) fn names(group: &str) -> Vec<&'static str> {
    KINDS.iter().filter(|facts| facts.group == group).map(|facts| facts.name).collect()
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";
const OWN: &str = "proxyless.mesh";

const OWN_GROUPS: [&str; 6] = [NETWORKING, SECURITY, TELEMETRY, EXTENSIONS, GATEWAY_API, OWN];

const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];
const GATEWAY_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha2", "v1alpha3"];

const fn facts(
    group: &'static str,
    name: &'static str,
    versions: &'static [&'static str],
    fate: Fate,
) -> KindFacts {
    KindFacts { group, name, versions, fate }
}

static KINDS: [KindFacts; 31] = [
    facts(OWN, "MeshSettings", &["v1alpha1"], Fate::Read(Kind::MeshSettings)),
    facts("", "Service", &["v1"], Fate::Read(Kind::Service)),
    facts(NETWORKING, "ServiceEntry", NETWORKING_VERSIONS, Fate::Read(Kind::ServiceEntry)),
    facts(NETWORKING, "WorkloadEntry", NETWORKING_VERSIONS, Fate::Read(Kind::WorkloadEntry)),
    facts(NETWORKING, "VirtualService", NETWORKING_VERSIONS, Fate::Read(Kind::VirtualService)),
    facts(NETWORKING, "DestinationRule", NETWORKING_VERSIONS, Fate::Read(Kind::DestinationRule)),
    facts(GATEWAY_API, "HTTPRoute", GATEWAY_VERSIONS, Fate::Read(Kind::HttpRoute)),
    facts(GATEWAY_API, "GRPCRoute", GATEWAY_VERSIONS, Fate::Read(Kind::GrpcRoute)),
    facts(GATEWAY_API, "ReferenceGrant", GATEWAY_VERSIONS, Fate::Read(Kind::ReferenceGrant)),
    facts(SECURITY, "PeerAuthentication", SECURITY_VERSIONS, Fate::Read(Kind::PeerAuthentication)),
    facts(SECURITY, "AuthorizationPolicy", SECURITY_VERSIONS, Fate::Read(Kind::AuthorizationPolicy)),
    facts("apps", "Deployment", &["v1"], Fate::Read(Kind::Deployment)),
    facts("discovery.k8s.io", "EndpointSlice", &["v1"], Fate::Read(Kind::EndpointSlice)),
    facts(NETWORKING, "Gateway", NETWORKING_VERSIONS, Fate::Inert(Kind::Gateway)),
    facts(GATEWAY_API, "Gateway", GATEWAY_VERSIONS, Fate::Inert(Kind::KubernetesGateway)),
    facts(GATEWAY_API, "GatewayClass", GATEWAY_VERSIONS, Fate::Inert(Kind::GatewayClass)),
    facts(NETWORKING, "Sidecar", NETWORKING_VERSIONS, Fate::Unsupported),
    facts(NETWORKING, "EnvoyFilter", NETWORKING_VERSIONS, Fate::Unsupported),
    facts(NETWORKING, "WorkloadGroup", NETWORKING_VERSIONS, Fate::Unsupported),
    facts(NETWORKING, "ProxyConfig", NETWORKING_VERSIONS, Fate::Unsupported),
    facts(SECURITY, "RequestAuthentication", SECURITY_VERSIONS, Fate::Unsupported),
    facts(TELEMETRY, "Telemetry", &["v1", "v1alpha1"], Fate::Unsupported),
    facts(EXTENSIONS, "WasmPlugin", &["v1alpha1"], Fate::Unsupported),
    facts(EXTENSIONS, "TrafficExtension", &["v1alpha1"], Fate::Unsupported),
    facts(GATEWAY_API, "TLSRoute", GATEWAY_VERSIONS, Fate::Unsupported),
    facts(GATEWAY_API, "TCPRoute", GATEWAY_VERSIONS, Fate::Unsupported),
    facts(GATEWAY_API, "UDPRoute", GATEWAY_VERSIONS, Fate::Unsupported),
    facts(GATEWAY_API, "BackendTLSPolicy", GATEWAY_VERSIONS, Fate::Unsupported),
    facts(GATEWAY_API, "ListenerSet", GATEWAY_VERSIONS, Fate::Unsupported),
    facts(OWN, "RateLimitPolicy", &["v1alpha1"], Fate::Unsupported),
    facts(OWN, "Rollout", &["v1alpha1"], Fate::Unsupported),
];

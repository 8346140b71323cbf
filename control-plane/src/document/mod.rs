//! Documents: YAML as users write it, read into typed values that remember where each was written.
//!
//! ```text
//!  text ── yaml ──► tree with spans ── kind, metadata ──► one decoder per kind ──► Document
//!                                          fields: collects every finding, with its field path
//!  Documents ── set ──► DocumentSet ── whole ──► findings that only the set shows
//! ```
//!
//! A kind's decoder is its schema: each field is named once, as honoured, unsupported or without effect
//! (`fields::Fields`). A document that has an error is never seen by the rest of the control plane.

mod annotation;
mod applied;
mod authorization_policy;
mod cors;
mod destination_rule;
mod external_auth;
mod fields;
mod finding;
mod grpc_route;
mod header;
mod host_index;
mod http_route;
mod kind;
mod mesh_settings;
mod metadata;
mod name;
mod pattern;
mod peer_authentication;
mod preference;
mod printable;
mod read;
mod reader;
mod reference_grant;
mod retries;
mod route_filter;
mod route_match;
mod route_timeouts;
mod scalar;
mod service;
mod service_entry;
mod session_persistence;
mod set;
mod size;
mod spec;
mod spelling;
mod value;
mod virtual_service;
mod whole;
mod workload;
mod workload_entry;
mod yaml;

#[cfg(test)]
mod tests;

// What decoders are written with.
use fields::Fields;
use pattern::{regex, string_match};
use scalar::{
    boolean, choice, duration, duration_or_zero, integer, number, port, some, some_text, spanned_text, text,
    text_map,
};
use spelling::shorten;
use value::{Value, object};

pub use applied::Applied;
pub use authorization_policy::{Action, Asked, AuthorizationPolicy, Rule, What, Who};
pub use cors::{CorsPolicy, UnmatchedPreflights};
pub use destination_rule::{
    DestinationRule, LoadBalancer, OutlierSettings, PolicyBlocks, PoolSettings, PortPolicy, Subset, TlsMode,
    TlsSettings, TrafficPolicy,
};
pub use external_auth::{ExternalAuth, HttpAuth};
pub use finding::{Code, Finding, Severity, Verdict};
pub use grpc_route::GrpcRoute;
pub use header::{HeaderOperations, Headers};
pub use http_route::{BackendKind, BackendRef, HttpRoute, ParentKind, ParentRef, RouteRule};
pub use kind::Kind;
pub use mesh_settings::{DefaultExportTo, MeshSettings, OutboundTrafficPolicy};
pub use metadata::{DEFAULT_NAMESPACE, Metadata};
pub use name::{SERVICE_DOMAIN, is_dns_label, is_label_text, qualified};
pub use pattern::{REGEX_BYTES_MAX, StringMatch};
pub use peer_authentication::{MtlsMode, PeerAuthentication};
pub use preference::traffic_distribution;
pub use printable::Printable;
pub use read::{Reading, Report, Source};
pub use reader::{FieldFact, Support};
pub use reference_grant::{ReferenceGrant, Referent, Referrer, is_granted};
pub use retries::Retries;
pub use route_filter::{PathModifier, RouteFilters, RouteMirror, RouteRedirect, RouteRewrite};
pub use route_match::{PathMatch, RouteMatch};
pub use route_timeouts::RouteTimeouts;
pub use service::{Service, ServicePort, TargetPort};
pub use service_entry::{EntryPort, Location, Resolution, ServiceEntry};
pub use session_persistence::{Carrier, SessionPersistence};
pub use set::{Age, Document, DocumentKey, DocumentSet};
pub use size::DOCUMENT_BYTES_MAX;
pub use spec::{Spec, SpecOf, known_fields};
pub use virtual_service::{
    Abort, AbortStatus, Delay, Delegate, DirectResponse, Fault, HttpAction, HttpMatch, HttpRule, Mirror,
    Redirect, RedirectPath, RedirectPort, RegexRewrite, Rewrite, RouteDestination, TransportMatch,
    TransportRule, VirtualService,
};
pub use whole::{WholeFinding, attach, check_trust_domain, check_whole};
pub use workload::{ContainerPort, Deployment, EndpointSlice, SERVICE_NAME_LABEL, SliceEndpoint};
pub use workload_entry::WorkloadEntry;
pub use yaml::{
    Content, DEPTH_LEVELS_MAX, Node, OBJECT_KEYS_MAX, SOURCE_BYTES_MAX, SOURCE_DOCUMENTS_MAX,
    SOURCE_NODES_MAX, Span, Spanned,
};

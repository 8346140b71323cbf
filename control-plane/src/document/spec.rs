//! The typed content of a document, one variant per kind that is kept.
//!
//! [`SpecOf`] lets a caller ask a set for "all VirtualServices" by type and get them typed.

use super::authorization_policy::{self, AuthorizationPolicy};
use super::destination_rule::{self, DestinationRule};
use super::grpc_route::{self, GrpcRoute};
use super::http_route::{self, HttpRoute};
use super::kind::Kind;
use super::mesh_settings::{self, MeshSettings};
use super::peer_authentication::{self, PeerAuthentication};
use super::reader::{FieldFact, Reader};
use super::reference_grant::{self, ReferenceGrant};
use super::service::{self, Service};
use super::service_entry::{self, ServiceEntry};
use super::value::Value;
use super::virtual_service::{self, VirtualService};
use super::workload::{self, Deployment, EndpointSlice};
use super::workload_entry::{self, WorkloadEntry};
use super::yaml::Span;

/// A type that is the content of one kind of document.
pub trait SpecOf: Sized {
    /// The kind.
    const KIND: Kind;
    /// The content, if it is of this type.
    fn of(spec: &Spec) -> Option<&Self>;
}

macro_rules! specs {
    ($($kind:ident: $decode:expr;)+) => {
        /// What a document says.
        #[derive(Clone, Debug)]
        pub enum Spec {
            $(#[doc = concat!("A ", stringify!($kind), ".")] $kind($kind),)+
            /// A document that does nothing until there is an edge.
            Inert,
        }

        $(impl SpecOf for $kind {
            const KIND: Kind = Kind::$kind;
            fn of(spec: &Spec) -> Option<&Self> {
                match spec {
                    Spec::$kind(content) => Some(content),
                    _ => None,
                }
            }
        })+

        impl Spec {
            /// Reads the content of a document of this kind.
            pub(super) fn decode(kind: Kind, value: Value<'_, '_>) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind(value.object($decode)),)+
                    Kind::Gateway | Kind::KubernetesGateway | Kind::GatewayClass => Self::Inert,
                }
            }
        }
    };
}

specs! {
    MeshSettings: mesh_settings::decode;
    Service: service::decode;
    ServiceEntry: service_entry::decode;
    WorkloadEntry: workload_entry::decode;
    VirtualService: virtual_service::decode;
    DestinationRule: destination_rule::decode;
    HttpRoute: http_route::decode;
    GrpcRoute: grpc_route::decode;
    ReferenceGrant: reference_grant::decode;
    PeerAuthentication: peer_authentication::decode;
    AuthorizationPolicy: authorization_policy::decode;
    Deployment: workload::deployment;
    EndpointSlice: workload::endpoint_slice;
}

impl Spec {
    /// What a document of this kind says that has no spec.
    pub(super) fn absent(kind: Kind) -> Self {
        Self::decode(kind, Value { reader: &mut Reader::default(), node: None, span: Span::default() })
    }
}

/// Every field that is known of a kind, and what becomes of it.
pub fn known_fields(kind: Kind) -> Vec<FieldFact> {
    Reader::listing("spec", |value| {
        Spec::decode(kind, value);
    })
}

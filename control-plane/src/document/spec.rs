//! The typed content of a document, one variant per kind that is kept.
//!
//! [`SpecOf`] lets a caller ask a set for "all VirtualServices" by type and get them typed.

use super::reader::Reader;
use super::{
    AuthorizationPolicy, Deployment, DestinationRule, EndpointSlice, FieldFact, GrpcRoute, HttpRoute, Kind,
    MeshSettings, PeerAuthentication, ReferenceGrant, Service, ServiceEntry, Span, Value, VirtualService,
    WorkloadEntry, authorization_policy, destination_rule, grpc_route, http_route, mesh_settings,
    peer_authentication, reference_grant, service, service_entry, virtual_service, workload, workload_entry,
};

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

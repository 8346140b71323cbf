//! What Kubernetes' Deployment and EndpointSlice say about workloads, for answering questions without a cluster.
//!
//! Only the few facts below are read; everything else in these documents is none of the mesh's.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::scalar::{boolean, port, text, text_map};
use super::value::{Value, object};
use super::yaml::Span;

/// The workload that a Deployment describes.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// Where the spec stands.
    pub span: Span,
    /// Labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// Service account of its pods; absent is `default`.
    pub service_account: Option<String>,
    /// Ports that its containers name.
    pub ports: Vec<ContainerPort>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name, by which Services may point at it.
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
}

/// Endpoints of a Service.
#[derive(Clone, Debug, Default)]
pub struct EndpointSlice {
    /// Where the document stands.
    pub span: Span,
    /// The endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// Ports that every endpoint listens on, by the service port's name.
    pub ports: Vec<ContainerPort>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, Default)]
pub struct SliceEndpoint {
    /// Where the entry begins.
    pub span: Span,
    /// Its addresses, of which the first is used.
    pub addresses: Vec<String>,
    /// Whether it is ready; unsaid is yes.
    pub ready: bool,
    /// Its zone.
    pub zone: Option<String>,
    /// The pod behind it.
    pub pod: Option<String>,
}

/// The label of a slice that names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

pub(super) fn deployment(fields: &mut Fields<'_, '_>) -> Deployment {
    let span = fields.span();
    let deployment = fields.or_default("template", object(pod_template));
    fields.ignore_the_rest();
    Deployment { span, ..deployment }
}

fn pod_template(fields: &mut Fields<'_, '_>) -> Deployment {
    let labels = fields.or_default("metadata", |value| {
        value.object(|fields| {
            fields.ignore_the_rest();
            fields.or_default("labels", text_map)
        })
    });
    let pod = fields.or_default("spec", object(pod));
    fields.ignore_the_rest();
    Deployment { labels, ..pod }
}

fn pod(fields: &mut Fields<'_, '_>) -> Deployment {
    let account = fields.optional("serviceAccountName", text);
    let containers = fields.list("containers", |value| {
        value.object(|fields| {
            fields.ignore_the_rest();
            fields.list("ports", |value| container_port(value, "containerPort"))
        })
    });
    let old_account = fields.optional("serviceAccount", text);
    fields.ignore_the_rest();
    let ports = containers.into_iter().flatten().collect();
    Deployment { service_account: account.or(old_account), ports, ..Deployment::default() }
}

fn container_port(value: Value<'_, '_>, number: &'static str) -> ContainerPort {
    value.object(|fields| {
        fields.ignore_the_rest();
        ContainerPort {
            name: fields.optional("name", text).filter(|name| !name.is_empty()),
            port: fields.required(number, port),
        }
    })
}

/// Reads a whole EndpointSlice, which has no `spec`.
pub(super) fn endpoint_slice(fields: &mut Fields<'_, '_>) -> EndpointSlice {
    fields.ignore_the_rest();
    EndpointSlice {
        span: fields.span(),
        endpoints: fields.list("endpoints", object(slice_endpoint)),
        ports: fields.list("ports", |value| container_port(value, "port")),
    }
}

fn slice_endpoint(fields: &mut Fields<'_, '_>) -> SliceEndpoint {
    let ready = fields.optional("conditions", |value| {
        value.object(|fields| {
            fields.ignore_the_rest();
            fields.optional("ready", boolean)
        })
    });
    let pod = fields.optional("targetRef", |value| {
        value.object(|fields| {
            fields.ignore_the_rest();
            fields.optional("name", text)
        })
    });
    fields.ignore_the_rest();
    SliceEndpoint {
        span: fields.span(),
        addresses: fields.list("addresses", text),
        ready: ready.flatten().unwrap_or(true),
        zone: fields.optional("zone", text),
        pod: pod.flatten(),
    }
}

//! Subscriptions in Envoy's messages, both encodings and both directions.
//!
//! A type that the mesh does not serve (secrets, say) yields `None`: its subscriber is left waiting, as xDS servers do,
//! because ending the stream would take the types that are served with it.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc::Status;

use super::{Answer, NACK_BYTES_MAX, Request, SotwRequest};
use crate::resource::ResourceType;

/// Writes a client's request; `node` goes with the first of a stream.
pub fn encode_request(request: Request, node: Option<Node>) -> discovery::DeltaDiscoveryRequest {
    let versions = request.initial_versions.into_iter();
    discovery::DeltaDiscoveryRequest {
        node,
        type_url: request.kind.url().into(),
        resource_names_subscribe: request.subscribe.iter().map(|name| name.to_string()).collect(),
        resource_names_unsubscribe: request.unsubscribe.iter().map(|name| name.to_string()).collect(),
        initial_resource_versions: versions
            .map(|(name, version)| (name.to_string(), version.to_string()))
            .collect(),
        response_nonce: request.nonce.map(|nonce| nonce.to_string()).unwrap_or_default(),
        error_detail: request.error.map(|message| Status {
            code: INVALID_ARGUMENT,
            message,
            details: vec![],
        }),
        ..Default::default()
    }
}

/// Reads a client's delta request.
pub fn decode_delta_request(message: discovery::DeltaDiscoveryRequest) -> Option<Request> {
    let versions = message.initial_resource_versions.into_iter();
    Some(Request {
        kind: ResourceType::from_url(&message.type_url)?,
        subscribe: message.resource_names_subscribe.into_iter().map(Arc::from).collect(),
        unsubscribe: message.resource_names_unsubscribe.into_iter().map(Arc::from).collect(),
        initial_versions: versions.map(|(name, version)| (name.into(), version.into())).collect(),
        nonce: nonce(message.response_nonce),
        error: message.error_detail.map(reason),
    })
}

/// Reads a client's state-of-the-world request.
pub fn decode_sotw_request(message: discovery::DiscoveryRequest) -> Option<SotwRequest> {
    Some(SotwRequest {
        kind: ResourceType::from_url(&message.type_url)?,
        names: message.resource_names.into_iter().map(Arc::from).collect(),
        nonce: nonce(message.response_nonce),
        error: message.error_detail.map(reason),
    })
}

/// Writes a delta answer.
pub fn encode_delta_answer(answer: Answer<Bytes>) -> discovery::DeltaDiscoveryResponse {
    let url = answer.kind.url();
    let resources = answer.resources.into_iter().map(|(name, found)| discovery::Resource {
        name: name.to_string(),
        version: found.version.to_string(),
        resource: Some(any(url, &found.body)),
        ..Default::default()
    });
    discovery::DeltaDiscoveryResponse {
        resources: resources.collect(),
        type_url: url.into(),
        removed_resources: answer.removed.iter().map(|name| name.to_string()).collect(),
        nonce: answer.nonce.to_string(),
        ..Default::default()
    }
}

/// Writes a state-of-the-world answer.
pub fn encode_sotw_answer(answer: Answer<Bytes>) -> discovery::DiscoveryResponse {
    let url = answer.kind.url();
    discovery::DiscoveryResponse {
        // Opaque to clients, who only repeat it; the nonce is unique on its stream.
        version_info: answer.nonce.to_string(),
        resources: answer.resources.iter().map(|(_, found)| any(url, &found.body)).collect(),
        type_url: url.into(),
        nonce: answer.nonce.to_string(),
        ..Default::default()
    }
}

fn any(url: &str, body: &Bytes) -> Any {
    Any { type_url: url.into(), value: body.to_vec() }
}

fn nonce(text: String) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

fn reason(status: Status) -> String {
    let mut message = status.message;
    message.truncate(message.floor_char_boundary(NACK_BYTES_MAX));
    message
}

const INVALID_ARGUMENT: i32 = 3;

//! What documents and registrations mean together: names resolved, rules selected, workloads found. Pure.
//!
//! # Layout
//!
//! [`World`] is the value that translation reads; [`Config`] is its documents and [`Fleet`] what serves. [`Caller`] is who asks.
//! `virtual_service`, `destination_rule`, `http_route`, `peer_authentication` and `authorization` each answer "which documents
//! apply here"; `service`, `workload`, `host` and `visibility` are the nouns beneath.

mod authorization;
mod build;
mod caller;
mod carried;
mod client_kind;
mod config;
mod declared;
mod delegate;
mod destination_rule;
mod fleet;
pub mod host;
mod http_route;
mod peer_authentication;
mod serves;
mod service;
mod subset;
mod virtual_service;
mod visibility;
mod workload;
mod world;

pub use caller::{Caller, CallerKey, Inputs, Labels, View};
pub use carried::Carried;
pub use client_kind::{AGENT_DIRECTORY, ClientKind};
pub use config::Config;
pub use declared::Declared;
pub use destination_rule::Merged;
pub use fleet::{Fleet, GrantedService};
pub use http_route::Alternative;
pub use peer_authentication::EffectiveMode;
pub use serves::{is_serves, served, serves};
pub use service::{Origin, Protocol, Service, ServicePort, TargetPort};
pub use subset::{SubsetView, Transport};
pub use virtual_service::{Applicable, ConnectionRule, Routing};
pub use visibility::Visibility;
pub use workload::{Binding, Listening, Workload};
pub use world::{Endpoint, Resolved, World, address_of_name, is_untold};

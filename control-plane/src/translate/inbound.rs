//! The inbound listener of the caller's own workload: which transports a port takes, and who may call what there.

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{NonForwardingAction, Route, RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::google::protobuf::Any;
use mesh_core::resource::MtlsMode;

use super::encode::{self, LISTENER, PLAIN};
use super::listener::{normalizing, router};
use super::metadata::{self, Entry};
use super::{endpoints, matcher, name, rbac, tls};
use crate::document::AuthorizationPolicy;
use crate::model::{Declared, EffectiveMode, View, World};

pub(super) fn translate(world: &World, view: &View<'_>, resource_name: &str) -> Option<Any> {
    let address = name::inbound_address(resource_name)?;
    let (namespace, labels) = (view.namespace(), view.labels());
    let mode = world.config().mtls_mode(namespace, labels, address.port());
    let policies: Vec<_> = world.config().authorization_policies(namespace, labels).collect();
    let manager = manager(world, &policies);
    let mut filter_chains = Vec::new();
    if mode.mode != MtlsMode::Disable {
        filter_chains.push(FilterChain {
            name: "mtls".to_owned(),
            transport_socket: Some(tls::downstream()),
            ..chain("tls", manager.clone())
        });
    }
    if mode.mode != MtlsMode::Strict {
        filter_chains.push(FilterChain { name: "plaintext".to_owned(), ..chain("raw_buffer", manager) });
    }
    let listener = Listener {
        name: resource_name.to_owned(),
        address: Some(endpoints::socket(address)),
        filter_chains,
        traffic_direction: TrafficDirection::Inbound.into(),
        metadata: Some(metadata::ours(facts(world, view, &mode, &policies))),
        ..Listener::default()
    };
    Some(encode::pack(&listener, &LISTENER))
}

fn chain(transport: &str, manager: Any) -> FilterChain {
    FilterChain {
        filter_chain_match: Some(FilterChainMatch {
            transport_protocol: transport.to_owned(),
            ..FilterChainMatch::default()
        }),
        filters: vec![Filter {
            name: "envoy.filters.network.http_connection_manager".to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(manager)),
        }],
        ..FilterChain::default()
    }
}

fn manager(world: &World, policies: &[&Declared<AuthorizationPolicy>]) -> Any {
    let settings = world.settings();
    let aliases = settings.trust_domain_aliases.iter().map(String::as_str);
    let trust_domains: Vec<&str> = std::iter::once(settings.trust_domain.as_str()).chain(aliases).collect();
    let mut http_filters = rbac::filters(policies, &trust_domains);
    http_filters.push(router());
    let route = Route {
        r#match: Some(matcher::any()),
        action: Some(Action::NonForwardingAction(NonForwardingAction {})),
        ..Route::default()
    };
    let virtual_host = VirtualHost {
        name: "inbound".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    let routes = RouteConfiguration {
        name: "inbound".to_owned(),
        virtual_hosts: vec![virtual_host],
        ..RouteConfiguration::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "inbound".to_owned(),
        http_filters,
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        ..normalizing(world)
    };
    encode::pack(&manager, &PLAIN)
}

fn facts(
    world: &World,
    view: &View<'_>,
    mode: &EffectiveMode,
    policies: &[&Declared<AuthorizationPolicy>],
) -> Vec<(String, Entry)> {
    let spelled = match mode.mode {
        MtlsMode::Disable => "DISABLE",
        MtlsMode::Permissive => "PERMISSIVE",
        MtlsMode::Strict => "STRICT",
    };
    let places = policies.iter().flat_map(|policy| {
        let rules = policy.spec.rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| (rbac::key(policy, index), Entry::text(&policy.at(rule.span))));
        let whole = (policy.id.to_string(), Entry::text(&policy.at(policy.spec.span)));
        rules.chain(policy.spec.rules.is_empty().then_some(whole))
    });
    let propagated = world.settings().propagated_headers.iter();
    let mut facts = vec![
        ("mtls_mode".to_owned(), Entry::text(spelled)),
        ("policies".to_owned(), Entry::object(places.collect::<Vec<_>>())),
        ("propagated_headers".to_owned(), Entry::list(propagated.map(|name| Entry::text(name)))),
    ];
    if mode.provenance.document.is_some() {
        facts.push(("mtls".to_owned(), Entry::object(metadata::provenance(&mode.provenance))));
    }
    if let Some(workload) = view.workload() {
        facts.push(("workload".to_owned(), Entry::text(workload)));
    }
    facts
}

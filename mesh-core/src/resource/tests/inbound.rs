use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener, filter};
use envoy_types::pb::envoy::config::rbac::v3::permission::Rule as PermissionRule;
use envoy_types::pb::envoy::config::rbac::v3::principal::{Authenticated, Identifier};
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::config::rbac::v3::{self as rbac, Permission, Policy, Principal};
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, NonForwardingAction, RedirectAction, Route, RouteConfiguration, VirtualHost, route,
};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, DownstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, path_matcher};
use envoy_types::pb::google::protobuf::{BoolValue, ListValue, UInt32Value};
use http::{HeaderMap, Method, Uri};

use super::*;
use crate::authz::{InboundFacts, InboundHttp};
use crate::canonical::{PathNormalization, canonicalize_uri};
use crate::trace::NoTrace;

const KEY: &str = "AuthorizationPolicy/default/reviews rules[0]";

fn permission(rule: PermissionRule) -> Permission {
    Permission { rule: Some(rule) }
}

fn principal(identifier: Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

fn any() -> (Permission, Principal) {
    (permission(PermissionRule::Any(true)), principal(Identifier::Any(true)))
}

fn filter(action: Action, (permission, principal): (Permission, Principal)) -> Rbac {
    let policy = Policy { permissions: vec![permission], principals: vec![principal], ..Policy::default() };
    let policies = [(KEY.to_owned(), policy)].into();
    Rbac {
        rules: Some(rbac::Rbac { action: action.into(), policies, ..rbac::Rbac::default() }),
        ..Rbac::default()
    }
}

fn chain(mtls: bool, filters: &[Rbac]) -> FilterChain {
    let route = Route {
        action: Some(route::Action::NonForwardingAction(NonForwardingAction {})),
        ..Route::default()
    };
    let virtual_host =
        VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
    let routes = RouteConfiguration { virtual_hosts: vec![virtual_host], ..RouteConfiguration::default() };
    let filters = filters.iter().map(|filter| http_filter(pack_any(filter.clone())));
    let manager = HttpConnectionManager {
        http_filters: filters.chain([router()]).collect(),
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        ..HttpConnectionManager::default()
    };
    let validation = CertificateValidationContext {
        ca_certificate_provider_instance: Some(CertificateProviderPluginInstance::default()),
        ..CertificateValidationContext::default()
    };
    let tls = DownstreamTlsContext {
        common_tls_context: Some(clusters::common(validation)),
        require_client_certificate: Some(BoolValue { value: true }),
        ..DownstreamTlsContext::default()
    };
    let transport_protocol = if mtls { "tls" } else { "raw_buffer" }.to_owned();
    FilterChain {
        filter_chain_match: Some(FilterChainMatch { transport_protocol, ..FilterChainMatch::default() }),
        filters: vec![Filter {
            name: "manager".into(),
            config_type: Some(filter::ConfigType::TypedConfig(pack_any(manager))),
        }],
        transport_socket: mtls.then(|| clusters::socket(pack_any(tls))),
        ..FilterChain::default()
    }
}

fn listener(filter_chains: Vec<FilterChain>) -> Listener {
    let place = object(&[(KEY, text("policy.yaml:7"))]);
    let mtls = object(&[("document", text("PeerAuthentication/default/default"))]);
    Listener {
        name: "inbound/10.0.0.7:9080".into(),
        filter_chains,
        metadata: ours(&[
            ("workload", text("default/reviews-v1")),
            ("policies", Value { kind: Some(Kind::StructValue(place)) }),
            ("mtls", Value { kind: Some(Kind::StructValue(mtls)) }),
        ]),
        ..Listener::default()
    }
}

pub(super) fn good() -> Listener {
    let filters = [filter(Action::Allow, any())];
    listener(vec![chain(true, &filters), chain(false, &filters)])
}

fn parsed(listener: &Listener) -> Arc<InboundListener> {
    match parse(ResourceType::Listener, &listener.encode_to_vec()) {
        Ok(Resource::Inbound(listener)) => listener,
        other => panic!("{other:?}"),
    }
}

/// Whether GET /reviews/1 at port 9080 by `productpage`, from 10.0.0.9, is let in by an ALLOW rule of these conditions.
#[track_caller]
fn check(conditions: (Permission, Principal), allowed: bool) {
    let listener = parsed(&listener(vec![chain(true, &[filter(Action::Allow, conditions)])]));
    let headers = HeaderMap::new();
    let mut uri = Uri::from_static("/reviews/1");
    let path = canonicalize_uri(&mut uri, PathNormalization::Base).expect("path");
    let http = InboundHttp { method: &Method::GET, authority: "reviews:9080", path, headers: &headers };
    let facts = InboundFacts {
        principal: Some("cluster.local/ns/default/sa/productpage"),
        source_ip: Some(IpAddr::from([10, 0, 0, 9])),
        destination_ip: Some(IpAddr::from([10, 0, 1, 9])),
        destination_port: 9080,
        server_name: "outbound_.9080_._.reviews",
        http: Some(http),
    };
    let verdict = listener.policy.decide(&facts, &mut NoTrace);
    assert_eq!(verdict.allowed, allowed);
    assert_eq!(verdict.rule, allowed.then_some(KEY));
    assert_eq!(verdict.at, allowed.then_some("policy.yaml:7"));
}

#[track_caller]
fn refused_rule(conditions: (Permission, Principal), field: &str) {
    let wire = listener(vec![chain(true, &[filter(Action::Allow, conditions)])]);
    let field = format!("filter_chains[0].http_filters[0] filter.rules.policies[{KEY}].{field}");
    check_refused(ResourceType::Listener, wire, |_| {}, &field);
}

#[test]
fn the_chains_say_which_transports_are_let_in() {
    let mode = |chains| parsed(&listener(chains)).mtls_mode;
    assert_eq!(mode(vec![chain(true, &[])]), MtlsMode::Strict);
    assert_eq!(mode(vec![chain(false, &[])]), MtlsMode::Disable);
    assert_eq!(mode(vec![chain(false, &[]), chain(true, &[])]), MtlsMode::Permissive);
    let listener = parsed(&good());
    assert_eq!(listener.workload.as_deref(), Some("default/reviews-v1"));
    assert_eq!(listener.mtls_provenance.document.as_deref(), Some("PeerAuthentication/default/default"));
}

#[test]
fn conditions_are_read_as_envoy_means_them() {
    let permit = |rule| (permission(rule), any().1);
    let admit = |identifier| (any().0, principal(identifier));
    let path = |text: &str| {
        PermissionRule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(exact(text))) })
    };
    let template = |path_template: &str| {
        let config = UriTemplateMatchConfig { path_template: path_template.into() };
        PermissionRule::UriTemplate(TypedExtensionConfig {
            name: "t".into(),
            typed_config: Some(pack_any(config)),
        })
    };
    let header = |name: &str, value: &str| HeaderMatcher {
        name: name.into(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(exact(value))),
        ..HeaderMatcher::default()
    };
    let named = |name: &str| Identifier::Authenticated(Authenticated { principal_name: Some(exact(name)) });
    let range = |ip: &str, length| {
        let prefix_len = Some(UInt32Value { value: length });
        Identifier::DirectRemoteIp(CidrRange { address_prefix: ip.into(), prefix_len })
    };
    check(any(), true);
    check(permit(path("/reviews/1")), true);
    check(permit(path("/reviews")), false);
    check(permit(template("/reviews/*")), true);
    check(permit(PermissionRule::NotRule(Box::new(permission(path("/reviews/1"))))), false);
    check(permit(PermissionRule::Header(header(":method", "GET"))), true);
    check(permit(PermissionRule::Header(header(":authority", "ratings"))), false);
    check(permit(PermissionRule::DestinationPort(9080)), true);
    check(permit(PermissionRule::DestinationPort(9081)), false);
    check(admit(named("spiffe://cluster.local/ns/default/sa/productpage")), true);
    check(admit(named("cluster.local/ns/default/sa/productpage")), false);
    check(admit(Identifier::Authenticated(Authenticated { principal_name: None })), true);
    check(admit(Identifier::NotId(Box::new(any().1))), false);
    check(admit(range("10.0.0.0", 24)), true);
    check(admit(range("10.0.1.0", 24)), false);
    let at = |ip: &str| {
        let prefix_len = Some(UInt32Value { value: 32 });
        PermissionRule::DestinationIp(CidrRange { address_prefix: ip.into(), prefix_len })
    };
    check(permit(at("10.0.1.9")), true);
    check(permit(at("10.0.1.8")), false);
    check(permit(PermissionRule::RequestedServerName(exact("outbound_.9080_._.reviews"))), true);
    check(permit(PermissionRule::RequestedServerName(exact("reviews"))), false);
}

#[test]
fn a_condition_that_is_not_understood_refuses_the_listener() {
    let permit = |rule| (permission(rule), any().1);
    let admit = |identifier| (any().0, principal(identifier));
    refused_rule(permit(PermissionRule::Any(false)), "permissions[0]");
    refused_rule(permit(PermissionRule::SourcedMetadata(Default::default())), "permissions[0]");
    refused_rule(
        permit(PermissionRule::DestinationIp(CidrRange::default())),
        "permissions[0].destination_ip.address_prefix",
    );
    refused_rule(
        permit(PermissionRule::AndRules(rbac::permission::Set { rules: vec![] })),
        "permissions[0].and_rules",
    );
    refused_rule(
        permit(PermissionRule::Header(HeaderMatcher { name: ":path".into(), ..HeaderMatcher::default() })),
        "permissions[0].header.name",
    );
    refused_rule(admit(Identifier::RemoteIp(CidrRange::default())), "principals[0]");
    refused_rule((Permission::default(), any().1), "permissions[0].rule");
    refused_rule((any().0, Principal::default()), "principals[0].identifier");
}

#[test]
fn filters_that_would_be_passed_over_refuse_the_listener() {
    let refused = |filter_change: fn(&mut Rbac), field: &str| {
        let mut filter = filter(Action::Allow, any());
        filter_change(&mut filter);
        let field = format!("filter_chains[0].http_filters[0] filter.{field}");
        check_refused(ResourceType::Listener, listener(vec![chain(true, &[filter])]), |_| {}, &field);
    };
    refused(|filter| filter.shadow_rules = filter.rules.clone(), "shadow_rules");
    refused(|filter| filter.rules.as_mut().expect("rules").action = Action::Log.into(), "rules.action");
    let empty: fn(&mut Rbac) = |filter| {
        let policies = &mut filter.rules.as_mut().expect("rules").policies;
        policies.get_mut(KEY).expect("policy").principals.clear();
    };
    refused(empty, &format!("rules.policies[{KEY}].principals"));
}

#[test]
fn headers_that_go_on_are_baggage_unless_named() {
    let named = |value: Value| Listener {
        metadata: ours(&[("propagated_headers", value)]),
        ..listener(vec![chain(true, &[])])
    };
    let list = |names: &[&str]| {
        let values = names.iter().map(|name| text(name)).collect();
        Value { kind: Some(Kind::ListValue(ListValue { values })) }
    };
    let check = |listener: &Listener, expected: &[&str]| {
        assert_eq!(&*parsed(listener).propagated_headers, expected);
    };
    check(&good(), &["baggage"]);
    check(&named(list(&[])), &[]);
    check(&named(list(&["X-User", "baggage"])), &["x-user", "baggage"]);
    for bad in [text("baggage"), list(&["x user"])] {
        check_refused(ResourceType::Listener, named(bad), |_| {}, "metadata.propagated_headers");
    }
}

#[test]
fn chains_that_do_not_fit_together_are_refused() {
    let check = |chains, field| check_refused(ResourceType::Listener, listener(chains), |_| {}, field);
    check(vec![], "filter_chains");
    check(vec![chain(true, &[]), chain(true, &[])], "filter_chains");
    check(vec![chain(true, &[filter(Action::Allow, any())]), chain(false, &[])], "filter_chains");
    let mut mixed = chain(true, &[]);
    mixed.transport_socket = None;
    check(vec![mixed], "filter_chains[0].filter_chain_match.transport_protocol");
    let mut narrow = chain(true, &[]);
    narrow.filter_chain_match.as_mut().expect("match").server_names = vec!["a".into()];
    check(vec![narrow], "filter_chains[0].filter_chain_match.server_names");
    let spoil = |wire: &mut Listener| wire.default_filter_chain = Some(FilterChain::default());
    check_refused(ResourceType::Listener, good(), spoil, "default_filter_chain");
}

#[test]
fn a_servers_routes_only_lead_to_the_application() {
    let mut chain = chain(false, &[]);
    let Some(filter::ConfigType::TypedConfig(config)) = &mut chain.filters[0].config_type else {
        panic!("no filter")
    };
    let mut manager = HttpConnectionManager::decode(config.value.as_slice()).expect("manager");
    let Some(RouteSpecifier::RouteConfig(routes)) = &mut manager.route_specifier else { panic!("no routes") };
    routes.virtual_hosts[0].routes[0].action = Some(route::Action::Redirect(RedirectAction::default()));
    *config = pack_any(manager);
    let field = "filter_chains[0].filters[0].route_config.virtual_hosts[0].routes";
    check_refused(ResourceType::Listener, listener(vec![chain]), |_| {}, field);
}

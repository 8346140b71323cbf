use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    PathWithEscapedSlashesAction as EscapedSlashes, RouteSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{HttpConnectionManager, Rds};
use envoy_types::pb::google::protobuf::BoolValue;

use super::*;
use crate::canonical::PathNormalization;

fn manager() -> HttpConnectionManager {
    let rds = Rds { config_source: Some(ads()), route_config_name: "reviews.default:9080".into() };
    HttpConnectionManager {
        stat_prefix: "reviews:9080".into(),
        http_filters: vec![router()],
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        ..HttpConnectionManager::default()
    }
}

fn with(manager: HttpConnectionManager) -> Listener {
    let api_listener = Some(ApiListener { api_listener: Some(pack_any(manager)) });
    Listener { name: "reviews:9080".into(), api_listener, ..Listener::default() }
}

pub(super) fn good() -> Listener {
    with(manager())
}

#[track_caller]
fn refused(change: impl FnOnce(&mut HttpConnectionManager), field: &str) {
    let mut manager = manager();
    change(&mut manager);
    check_refused(ResourceType::Listener, with(manager), |_| {}, field);
}

#[test]
fn an_outbound_listener_leads_to_its_routes() {
    let Ok(Resource::Outbound(listener)) = parse(ResourceType::Listener, &good().encode_to_vec()) else {
        panic!("no outbound listener");
    };
    let requests = listener.requests().expect("takes requests");
    assert_eq!((&*listener.name, &*requests.route_configuration), ("reviews:9080", "reviews.default:9080"));
    assert_eq!(requests.path_normalization, PathNormalization::Base);
    assert!(listener.connections().is_none());
}

#[test]
fn a_filter_that_routes_configure_is_named_by_the_listener() {
    let mut manager = manager();
    manager.http_filters.insert(0, http_filter(pack_any(HttpFault::default())));
    assert!(parse(ResourceType::Listener, &with(manager).encode_to_vec()).is_ok());
}

#[test]
fn what_an_outbound_listener_must_not_say_is_refused() {
    refused(|manager| manager.http_filters.clear(), "api_listener.http_filters");
    refused(
        |manager| manager.http_filters.push(http_filter(pack_any(Rbac::default()))),
        "api_listener.http_filters",
    );
    refused(
        |manager| manager.http_filters.insert(0, http_filter(pack_any(Rbac::default()))),
        "api_listener.http_filters[0] filter",
    );
    refused(
        |manager| {
            let fault = HttpFault { upstream_cluster: "a".into(), ..HttpFault::default() };
            manager.http_filters.insert(0, http_filter(pack_any(fault)));
        },
        "api_listener.http_filters[0] filter.upstream_cluster",
    );
    refused(|manager| manager.http_filters[0].disabled = true, "api_listener.http_filters[0] filter");
    refused(|manager| manager.route_specifier = None, "api_listener.route_specifier");
    refused(
        |manager| manager.route_specifier = Some(RouteSpecifier::RouteConfig(Default::default())),
        "api_listener.route_specifier",
    );
    refused(
        |manager| manager.route_specifier = Some(RouteSpecifier::Rds(Rds::default())),
        "api_listener.rds.config_source",
    );
    refused(|manager| manager.xff_num_trusted_hops = 1, "api_listener.xff_num_trusted_hops");
    check_refused(ResourceType::Listener, good(), |listener| listener.enable_mptcp = true, "enable_mptcp");
    let foreign = |listener: &mut Listener| {
        listener.api_listener = Some(ApiListener { api_listener: Some(pack_any(Rbac::default())) });
    };
    check_refused(ResourceType::Listener, good(), foreign, "api_listener.type_url");
}

#[test]
fn path_normalization_is_one_of_the_known_levels() {
    let check = |normalize: Option<bool>, merge: bool, escaped: EscapedSlashes, expected| {
        let mut manager = manager();
        manager.normalize_path = normalize.map(|value| BoolValue { value });
        manager.merge_slashes = merge;
        manager.path_with_escaped_slashes_action = escaped.into();
        let level = match parse(ResourceType::Listener, &with(manager).encode_to_vec()) {
            Ok(Resource::Outbound(listener)) => {
                listener.requests().map(|requests| requests.path_normalization)
            }
            _ => None,
        };
        assert_eq!(level, expected);
    };
    let (keep, unescape) = (EscapedSlashes::KeepUnchanged, EscapedSlashes::UnescapeAndForward);
    check(Some(false), false, keep, Some(PathNormalization::None));
    check(Some(true), false, keep, Some(PathNormalization::Base));
    check(None, true, keep, Some(PathNormalization::MergeSlashes));
    check(Some(true), true, unescape, Some(PathNormalization::DecodeAndMergeSlashes));
    check(Some(true), false, unescape, None);
    check(Some(false), true, keep, None);
    check(None, false, EscapedSlashes::RejectRequest, None);
}

//! Resources as control planes send them, and what is refused. Each file builds one good message and spoils it.

mod clusters;
mod connection_pools;
mod endpoints;
mod ext_authz;
mod filters;
mod hash_policies;
mod health_checks;
mod inbound;
mod listeners;
mod opaque;
mod outlier_detections;
mod outside_tls;
mod routes;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{AggregatedConfigSource, ConfigSource, Metadata};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, Struct, Value};
use envoy_types::util::pack_any;
use proptest::prelude::*;

use super::provenance::METADATA_KEY;
use super::*;

fn ads() -> ConfigSource {
    let ads = ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
    ConfigSource { config_source_specifier: Some(ads), ..ConfigSource::default() }
}

fn exact(text: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(text.into())), ..StringMatcher::default() }
}

fn http_filter(config: Any) -> HttpFilter {
    let config_type = Some(http_filter::ConfigType::TypedConfig(config));
    HttpFilter { name: "filter".into(), config_type, ..HttpFilter::default() }
}

fn router() -> HttpFilter {
    http_filter(pack_any(Router::default()))
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn object(fields: &[(&str, Value)]) -> Struct {
    Struct { fields: fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect() }
}

fn ours(fields: &[(&str, Value)]) -> Option<Metadata> {
    let filter_metadata = [(METADATA_KEY.to_owned(), object(fields))].into();
    Some(Metadata { filter_metadata, ..Metadata::default() })
}

/// Spoils a good message and checks that it is refused for the named field.
#[track_caller]
fn check_refused<M: Message + Default>(
    resource_type: ResourceType,
    mut message: M,
    spoil: impl FnOnce(&mut M),
    field: &str,
) {
    spoil(&mut message);
    match parse(resource_type, &message.encode_to_vec()) {
        Ok(parsed) => panic!("accepted: {parsed:?}"),
        Err(refused) => assert_eq!(refused.field, field, "{refused}"),
    }
}

#[test]
fn what_is_no_message_or_has_no_name_is_refused() {
    for kind in ResourceType::ALL {
        assert_eq!(parse(kind, &[0xff; 3]).map(|_| ()).map_err(|refused| refused.name), Err(String::new()));
        assert_eq!(parse(kind, &[]).map(|_| ()).map_err(|refused| refused.field), Err("name".to_owned()));
    }
}

/// One good resource of each kind.
fn good() -> [(ResourceType, Vec<u8>); 6] {
    [
        (ResourceType::Cluster, clusters::good().encode_to_vec()),
        (ResourceType::Endpoints, endpoints::good().encode_to_vec()),
        (ResourceType::Listener, listeners::good().encode_to_vec()),
        (ResourceType::Listener, opaque::good().encode_to_vec()),
        (ResourceType::Listener, inbound::good().encode_to_vec()),
        (ResourceType::RouteConfiguration, routes::good().encode_to_vec()),
    ]
}

#[test]
fn a_good_resource_of_each_kind_is_read() {
    for (kind, bytes) in good() {
        let parsed = parse(kind, &bytes).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(parsed.resource_type(), kind);
        assert!(!parsed.name().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(
        which in 0_usize..6,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (kind, mut bytes) = good()[which].clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = parse(kind, &bytes);
        let _ = parse(kind, &bytes[..cut.index(bytes.len())]);
    }
}

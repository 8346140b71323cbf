use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::config::core::v3::{
    Http2ProtocolOptions, HttpProtocolOptions as CommonOptions, KeepaliveSettings, RoutingPriority,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{self, UInt32Value};

use super::clusters::{changed, refused};
use super::*;

fn http2(options: Http2ProtocolOptions) -> HttpProtocolOptions {
    let protocol_config = Some(ProtocolConfig::Http2ProtocolOptions(options));
    let explicit = UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config });
    HttpProtocolOptions { upstream_protocol_options: Some(explicit), ..HttpProtocolOptions::default() }
}

fn set(cluster: &mut Cluster, http: HttpProtocolOptions) {
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    cluster.typed_extension_protocol_options.insert(name, pack_any(http));
}

#[test]
fn what_is_written_is_read() {
    let check = |pool: ConnectionPool| {
        let cluster = changed(|cluster| {
            let mut http = http2(Http2ProtocolOptions::default());
            pool.write(cluster, &mut http);
            set(cluster, http);
        });
        assert_eq!(cluster.connection_pool, pool);
        assert_eq!(cluster.protocol, UpstreamProtocol::Http2);
    };
    check(ConnectionPool::DEFAULT);
    let second = Duration::from_secs(1);
    let budget = RetryBudget { millionths: 125_000, retries_min: 7, interval: 10 * second };
    let breaker = CircuitBreaker {
        connections_max: 1,
        pending_max: 2,
        requests_max: 3,
        retries_max: 4,
        retry_budget: Some(budget),
    };
    let terms = ConnectionTerms {
        idle_timeout: Some(second / 2),
        opaque_idle_timeout: Some(second * 3),
        age_max: Some(second * 4),
        requests_max: 5,
        streams_max: 6,
        http2_keep_alive: Some(Http2KeepAlive { interval: second, timeout: second * 2 }),
        tcp_keep_alive: Some(TcpKeepAlive {
            probes: Some(3),
            time: Some(second),
            interval: Some(second * 2),
        }),
    };
    check(ConnectionPool { connect_timeout: second / 4, breaker, terms });
    let system = Some(TcpKeepAlive::default());
    check(ConnectionPool {
        terms: ConnectionTerms { tcp_keep_alive: system, ..terms },
        ..ConnectionPool::DEFAULT
    });
}

#[test]
fn limits_that_are_not_said_are_those_of_xds() {
    let breaker = changed(|_| {}).connection_pool.breaker;
    let said = [breaker.connections_max, breaker.pending_max, breaker.requests_max, breaker.retries_max];
    assert_eq!((said, breaker.retry_budget), ([1024, 1024, 1024, 3], None));
    let one = Thresholds {
        max_requests: Some(UInt32Value { value: 9 }),
        retry_budget: Some(thresholds::RetryBudget::default()),
        track_remaining: true,
        ..Thresholds::default()
    };
    let breakers = CircuitBreakers { thresholds: vec![one], ..CircuitBreakers::default() };
    let breaker = changed(|cluster| cluster.circuit_breakers = Some(breakers)).connection_pool.breaker;
    let budget = RetryBudget { millionths: 200_000, retries_min: 3, interval: Duration::ZERO };
    let expected =
        CircuitBreaker { requests_max: 9, retry_budget: Some(budget), ..CircuitBreaker::default() };
    assert_eq!(breaker, expected);
}

#[test]
fn zero_switches_a_limit_off() {
    let zero = || Some(protobuf::Duration::default());
    let none = Some(UInt32Value { value: 0 });
    let cluster = changed(|cluster| {
        let common = CommonOptions {
            idle_timeout: zero(),
            max_requests_per_connection: none,
            ..CommonOptions::default()
        };
        let keep_alive =
            KeepaliveSettings { interval: zero(), timeout: zero(), ..KeepaliveSettings::default() };
        let mut http = http2(Http2ProtocolOptions {
            max_concurrent_streams: none,
            connection_keepalive: Some(keep_alive),
            ..Http2ProtocolOptions::default()
        });
        http.common_http_protocol_options = Some(common);
        set(cluster, http);
    });
    let never = ConnectionTerms { idle_timeout: Some(Duration::MAX), ..ConnectionTerms::DEFAULT };
    assert_eq!(cluster.connection_pool.terms, never);
}

#[test]
fn what_cannot_be_honoured_is_refused_by_its_field() {
    let breakers = |thresholds: Thresholds, field: &str| {
        let breakers = CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() };
        let field = format!("circuit_breakers.{field}");
        refused(|cluster| cluster.circuit_breakers = Some(breakers), &field);
    };
    breakers(Thresholds { priority: RoutingPriority::High.into(), ..Thresholds::default() }, "thresholds[0]");
    breakers(
        Thresholds { max_connection_pools: Some(UInt32Value { value: 1 }), ..Thresholds::default() },
        "thresholds[0].max_connection_pools",
    );
    let budget = thresholds::RetryBudget {
        budget_percent: Some(Percent { value: 101.0 }),
        ..thresholds::RetryBudget::default()
    };
    breakers(
        Thresholds { retry_budget: Some(budget), ..Thresholds::default() },
        "thresholds[0].retry_budget.budget_percent",
    );
    let per_host =
        CircuitBreakers { per_host_thresholds: vec![Thresholds::default()], ..CircuitBreakers::default() };
    refused(|cluster| cluster.circuit_breakers = Some(per_host), "circuit_breakers.per_host_thresholds");
    let options = |http: HttpProtocolOptions, field: &str| {
        let field = format!("typed_extension_protocol_options.{field}");
        refused(|cluster| set(cluster, http), &field);
    };
    let http2_options = |options_of: Http2ProtocolOptions, field: &str| options(http2(options_of), field);
    http2_options(
        Http2ProtocolOptions { allow_connect: true, ..Http2ProtocolOptions::default() },
        "http2_protocol_options.allow_connect",
    );
    http2_options(
        Http2ProtocolOptions {
            connection_keepalive: Some(KeepaliveSettings::default()),
            ..Http2ProtocolOptions::default()
        },
        "http2_protocol_options.connection_keepalive.timeout",
    );
    let mut streams = http2(Http2ProtocolOptions::default());
    streams.common_http_protocol_options = Some(CommonOptions {
        max_stream_duration: Some(protobuf::Duration::default()),
        ..CommonOptions::default()
    });
    options(streams, "common_http_protocol_options.max_stream_duration");
}

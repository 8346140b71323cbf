//! Health checks of clusters: read as they are written, and refused by name where they cannot be kept.

use envoy_types::pb::envoy::config::core::v3::HealthCheck as Wire;
use envoy_types::pb::envoy::config::core::v3::health_check::{
    HealthChecker, HttpHealthCheck, TcpHealthCheck,
};
use envoy_types::pb::envoy::r#type::v3::Int64Range;

use super::clusters::{changed, refused};
use crate::health::{HealthCheck, Probe};

fn written(text: &str) -> Wire {
    text.parse::<HealthCheck>().expect("a health check").to_wire("reviews.default.svc.cluster.local")
}

#[test]
fn what_an_annotation_says_is_read_off_the_wire() {
    let read =
        |text: &str| changed(|cluster| cluster.health_checks = vec![written(text)]).health_check.clone();
    for text in ["tcp", "grpc:shop.v1.Shop, unhealthy=1", "grpc, interval=1m, timeout=10ms, healthy=9"] {
        assert_eq!(read(text), text.parse().ok(), "{text}");
    }
    let read = read("http:/healthz?deep=1, status=200-399").expect("a check");
    let host = "reviews.default.svc.cluster.local".into();
    assert_eq!(read.probe, Probe::Http { host, path: "/healthz?deep=1".into(), statuses: 200..400 });
    assert_eq!(changed(|_| {}).health_check, None);
}

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    refused(|cluster| cluster.health_checks = vec![written("tcp"), written("tcp")], "health_checks");
    let check = |text: &str, spoil: fn(&mut Wire), field: &str| {
        let mut wire = written(text);
        spoil(&mut wire);
        refused(|cluster| cluster.health_checks = vec![wire], &format!("health_checks[0].{field}"));
    };
    check("tcp", |wire| wire.health_checker = None, "health_checker");
    check("tcp", |wire| wire.timeout = None, "timeout");
    check("tcp", |wire| wire.interval = Some(Default::default()), "interval");
    check("tcp", |wire| wire.unhealthy_threshold = None, "unhealthy_threshold");
    check("tcp", |wire| wire.healthy_threshold = Some(Default::default()), "healthy_threshold");
    check("tcp", |wire| wire.interval_jitter_percent = 101, "interval_jitter_percent");
    check("tcp", |wire| wire.alt_port = Some(Default::default()), "alt_port");
    let sends = |wire: &mut Wire| {
        let tcp = TcpHealthCheck { send: Some(Default::default()), ..TcpHealthCheck::default() };
        wire.health_checker = Some(HealthChecker::TcpHealthCheck(tcp));
    };
    check("tcp", sends, "tcp_health_check.send");
    fn http(wire: &mut Wire) -> &mut HttpHealthCheck {
        match &mut wire.health_checker {
            Some(HealthChecker::HttpHealthCheck(http)) => http,
            other => panic!("{other:?}"),
        }
    }
    check("http:/", |wire| http(wire).path.clear(), "http_health_check.path");
    let range = |wire: &mut Wire| http(wire).expected_statuses[0] = Int64Range { start: 300, end: 200 };
    check("http:/", range, "http_health_check.expected_statuses");
    check("http:/", |wire| http(wire).retriable_statuses.clear(), "http_health_check.retriable_statuses");
    check("http:/", |wire| http(wire).method = 2, "http_health_check.method");
}

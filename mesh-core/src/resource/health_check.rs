//! A cluster's health check, as xDS carries it.

use std::mem::take;

use envoy_types::pb::envoy::config::core::v3::HealthCheck as Wire;
use envoy_types::pb::envoy::config::core::v3::health_check::{
    GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck,
};
use envoy_types::pb::envoy::r#type::v3::Int64Range;
use envoy_types::pb::google::protobuf::{Duration as WireDuration, UInt32Value};

use super::invalid::{Inside, Invalid, duration, nothing_else};
use crate::health::{HealthCheck, Probe, is_path};

impl HealthCheck {
    /// As a cluster of the service `host` carries it.
    pub fn to_wire(&self, host: &str) -> Wire {
        let time = |time: std::time::Duration| WireDuration {
            seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
        };
        Wire {
            timeout: Some(time(self.timeout)),
            interval: Some(time(self.interval)),
            // An Envoy's is a minute while it sends no requests there.
            no_traffic_interval: Some(time(self.interval)),
            interval_jitter_percent: self.jitter_percent,
            unhealthy_threshold: Some(UInt32Value { value: self.unhealthy_threshold }),
            healthy_threshold: Some(UInt32Value { value: self.healthy_threshold }),
            health_checker: Some(match &self.probe {
                Probe::Http { path, statuses, .. } => HealthChecker::HttpHealthCheck(HttpHealthCheck {
                    host: host.to_owned(),
                    path: path.to_string(),
                    expected_statuses: vec![Int64Range {
                        start: statuses.start.into(),
                        end: statuses.end.into(),
                    }],
                    retriable_statuses: vec![ALL_STATUSES],
                    ..HttpHealthCheck::default()
                }),
                Probe::Grpc(service) => HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
                    service_name: service.to_string(),
                    ..GrpcHealthCheck::default()
                }),
                Probe::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck::default()),
            }),
            ..Wire::default()
        }
    }
}

/// At most one: several would have to agree.
pub(super) fn parse(mut wire: Vec<Wire>) -> Result<Option<HealthCheck>, Invalid> {
    let Some(wire_check) = wire.pop() else { return Ok(None) };
    match wire.is_empty() {
        true => one(wire_check).inside("health_checks[0]").map(Some),
        false => Err(Invalid::new("health_checks", "are more than one")),
    }
}

fn one(mut wire: Wire) -> Result<HealthCheck, Invalid> {
    let probe = match take(&mut wire.health_checker) {
        Some(HealthChecker::HttpHealthCheck(http)) => self::http(http).inside("http_health_check")?,
        Some(HealthChecker::GrpcHealthCheck(mut grpc)) => {
            let service = take(&mut grpc.service_name);
            nothing_else(&grpc).inside("grpc_health_check")?;
            Probe::Grpc(service.into())
        }
        Some(HealthChecker::TcpHealthCheck(tcp)) => {
            nothing_else(&tcp).inside("tcp_health_check")?;
            Probe::Tcp
        }
        _ => return Err(Invalid::new("health_checker", "is none of HTTP, gRPC and TCP")),
    };
    let time = |field: &str, wire: Option<WireDuration>| {
        let time = duration(field, wire.ok_or(Invalid::new(field, "is missing"))?)?;
        match time.is_zero() {
            true => Err(Invalid::new(field, "is 0")),
            false => Ok(time),
        }
    };
    let number = |field: &str, wire: Option<UInt32Value>| {
        let number = wire.map(|wire| wire.value).filter(|number| *number > 0);
        number.ok_or(Invalid::new(field, "is missing or 0"))
    };
    let check = HealthCheck {
        probe,
        interval: time("interval", take(&mut wire.interval))?,
        jitter_percent: take(&mut wire.interval_jitter_percent),
        timeout: time("timeout", take(&mut wire.timeout))?,
        unhealthy_threshold: number("unhealthy_threshold", take(&mut wire.unhealthy_threshold))?,
        healthy_threshold: number("healthy_threshold", take(&mut wire.healthy_threshold))?,
    };
    if check.jitter_percent > 100 {
        return Err(Invalid::new("interval_jitter_percent", "is more than 100"));
    }
    // There are no other intervals here: who is not called is not probed, and connections are kept.
    wire.no_traffic_interval = None;
    wire.reuse_connection = None;
    nothing_else(&wire)?;
    Ok(check)
}

fn http(mut wire: HttpHealthCheck) -> Result<Probe, Invalid> {
    let (host, path) = (take(&mut wire.host), take(&mut wire.path));
    if !is_path(&path) {
        return Err(Invalid::new("path", "is no path"));
    }
    let status = |number: i64| u16::try_from(number).ok().filter(|status| (100..=600).contains(status));
    let statuses = match take(&mut wire.expected_statuses).as_slice() {
        [] => Some(200..201),
        [one] => status(one.start).zip(status(one.end)).map(|(start, end)| start..end),
        _ => None,
    };
    let statuses = statuses.filter(|statuses| !statuses.is_empty());
    let statuses = statuses.ok_or(Invalid::new("expected_statuses", "is no single range of statuses"))?;
    // Without it a bad status would count for as many as the threshold says.
    if take(&mut wire.retriable_statuses) != [ALL_STATUSES] {
        return Err(Invalid::new("retriable_statuses", "are not all, from 100 to 599"));
    }
    nothing_else(&wire)?;
    Ok(Probe::Http { host: host.into(), path: path.into(), statuses })
}

const ALL_STATUSES: Int64Range = Int64Range { start: 100, end: 600 };

//! What a cluster's connections and requests are limited to, and on what terms a connection lives: a DestinationRule's
//! `connectionPool` and `retryBudget`. What is written and what is read stand here together.

use std::mem::take;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster, UpstreamConnectionOptions};
use envoy_types::pb::envoy::config::core::v3::{
    HttpProtocolOptions as CommonOptions, KeepaliveSettings, RoutingPriority, TcpKeepalive,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::tcp::v3::TcpProtocolOptions;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{self, Any, UInt32Value};
use prost::{Message, Name};

use super::invalid::{Inside, Invalid, duration, nothing_else, unpack};

/// How connections to a cluster come about, how many there may be of them and of requests, and how long they live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionPool {
    /// How long a connect (TCP and TLS) may take.
    pub connect_timeout: Duration,
    /// How much there may be at a time.
    pub breaker: CircuitBreaker,
    /// How a connection lives.
    pub terms: ConnectionTerms,
}

/// How much there may be at a time, to all endpoints of a cluster together; `u32::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// Connections. Requests may have one to each endpoint whatever it says; connections of bytes may not.
    pub connections_max: u32,
    /// Requests that wait for a connection.
    pub pending_max: u32,
    /// Requests under way, with those that wait.
    pub requests_max: u32,
    /// Retries under way, with their back-off.
    pub retries_max: u32,
    /// What else limits retries; none is the mesh's own budget.
    pub retry_budget: Option<RetryBudget>,
}

/// Retries that may be under way beside requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// The retries' share of the requests, in millionths.
    pub millionths: u32,
    /// So many may be in any case.
    pub retries_min: u32,
    /// Counts the requests that began in so much time; zero counts those under way.
    pub interval: Duration,
}

/// On what terms a connection lives. One that was made on others takes no new request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTerms {
    /// Without a request for so long it is closed; none is the mesh's own time.
    pub idle_timeout: Option<Duration>,
    /// The same of a connection of bytes, without any.
    pub opaque_idle_timeout: Option<Duration>,
    /// At this age it takes no new request, and is closed after the last one; one of bytes is closed.
    pub age_max: Option<Duration>,
    /// So many requests it carries in its life.
    pub requests_max: u32,
    /// So many at a time, over HTTP/2.
    pub streams_max: u32,
    /// Pings over HTTP/2.
    pub http2_keep_alive: Option<Http2KeepAlive>,
    /// Probes by the kernel.
    pub tcp_keep_alive: Option<TcpKeepAlive>,
}

/// Pings over HTTP/2, whether or not there are requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2KeepAlive {
    /// From one to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// The kernel's probes on an idle connection; what is not said is the mesh's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpKeepAlive {
    /// So many without an answer end the connection.
    pub probes: Option<u32>,
    /// How long the connection is idle before the first.
    pub time: Option<Duration>,
    /// From one to the next.
    pub interval: Option<Duration>,
}

impl ConnectionPool {
    /// Ten seconds to connect, as Istio has it, and no limit.
    pub const DEFAULT: Self = Self {
        connect_timeout: Duration::from_secs(10),
        breaker: CircuitBreaker::UNLIMITED,
        terms: ConnectionTerms::DEFAULT,
    };

    /// Says it to clients. `http` is to know already which HTTP is spoken.
    pub fn write(&self, cluster: &mut Cluster, http: &mut HttpProtocolOptions) {
        cluster.connect_timeout = Some(on_the_wire(self.connect_timeout));
        cluster.circuit_breakers = Some(CircuitBreakers {
            thresholds: vec![self.breaker.thresholds()],
            ..CircuitBreakers::default()
        });
        let terms = &self.terms;
        cluster.upstream_connection_options = terms.tcp_keep_alive.map(|keep_alive| {
            let tcp_keepalive = Some(keep_alive.on_the_wire());
            UpstreamConnectionOptions { tcp_keepalive, ..UpstreamConnectionOptions::default() }
        });
        if let Some(idle) = terms.opaque_idle_timeout {
            let options = TcpProtocolOptions { idle_timeout: Some(on_the_wire(idle)) };
            let any = Any { type_url: TcpProtocolOptions::type_url(), value: options.encode_to_vec() };
            cluster.typed_extension_protocol_options.insert(TCP_PROTOCOL_OPTIONS.to_owned(), any);
        }
        let common = CommonOptions {
            idle_timeout: terms.idle_timeout.map(on_the_wire),
            max_connection_duration: terms.age_max.map(on_the_wire),
            max_requests_per_connection: limit(terms.requests_max),
            ..CommonOptions::default()
        };
        http.common_http_protocol_options = (common != CommonOptions::default()).then_some(common);
        if let Some(http2) = http.upstream_protocol_options.as_mut().and_then(http2_options) {
            http2.max_concurrent_streams = limit(terms.streams_max);
            http2.connection_keepalive = terms.http2_keep_alive.map(|keep_alive| KeepaliveSettings {
                interval: Some(on_the_wire(keep_alive.interval)),
                timeout: Some(on_the_wire(keep_alive.timeout)),
                ..KeepaliveSettings::default()
            });
        }
    }

    /// Reads what [`write`](Self::write) says; what it leaves in `http` is which HTTP is spoken.
    pub(super) fn parse(wire: &mut Cluster, http: &mut HttpProtocolOptions) -> Result<Self, Invalid> {
        let connect_timeout = match take(&mut wire.connect_timeout) {
            Some(timeout) => duration("connect_timeout", timeout)?,
            None => Self::DEFAULT.connect_timeout,
        };
        let breaker = match take(&mut wire.circuit_breakers) {
            Some(breakers) => CircuitBreaker::parse(breakers).inside("circuit_breakers")?,
            None => CircuitBreaker::default(),
        };
        let mut terms = ConnectionTerms::parse(http).inside(PROTOCOL_OPTIONS)?;
        if let Some(options) = wire.typed_extension_protocol_options.remove(TCP_PROTOCOL_OPTIONS) {
            let mut options: TcpProtocolOptions = unpack(&options).inside(PROTOCOL_OPTIONS)?;
            terms.opaque_idle_timeout =
                lasting("idle_timeout", take(&mut options.idle_timeout)).inside(PROTOCOL_OPTIONS)?;
            nothing_else(&options).inside(PROTOCOL_OPTIONS)?;
        }
        if let Some(mut options) = take(&mut wire.upstream_connection_options) {
            let keep_alive = take(&mut options.tcp_keepalive).map(TcpKeepAlive::parse).transpose();
            terms.tcp_keep_alive = keep_alive.inside("upstream_connection_options.tcp_keepalive")?.flatten();
            nothing_else(&options).inside("upstream_connection_options")?;
        }
        Ok(Self { connect_timeout, breaker, terms })
    }
}

impl Default for ConnectionPool {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl CircuitBreaker {
    /// No limit but the mesh's own retry budget.
    pub const UNLIMITED: Self = Self {
        connections_max: u32::MAX,
        pending_max: u32::MAX,
        requests_max: u32::MAX,
        retries_max: u32::MAX,
        retry_budget: None,
    };

    /// All of it is said, for what is not is a limit to every client.
    fn thresholds(&self) -> Thresholds {
        let value = |value| Some(UInt32Value { value });
        Thresholds {
            max_connections: value(self.connections_max),
            max_pending_requests: value(self.pending_max),
            max_requests: value(self.requests_max),
            max_retries: value(self.retries_max),
            retry_budget: self.retry_budget.map(|budget| thresholds::RetryBudget {
                budget_percent: Some(Percent { value: f64::from(budget.millionths) / 10_000.0 }),
                min_retry_concurrency: value(budget.retries_min),
                budget_interval: (!budget.interval.is_zero()).then(|| on_the_wire(budget.interval)),
            }),
            ..Thresholds::default()
        }
    }

    fn parse(mut wire: CircuitBreakers) -> Result<Self, Invalid> {
        let mut breaker = Self::default();
        for (at, mut wire) in take(&mut wire.thresholds).into_iter().enumerate() {
            let field = format!("thresholds[{at}]");
            if take(&mut wire.priority) != i32::from(RoutingPriority::Default) {
                return Err(Invalid::new(
                    field,
                    "is of another priority than DEFAULT, which all requests have",
                ));
            }
            let set = |limit: &mut u32, wire: &mut Option<UInt32Value>| {
                *limit = take(wire).map_or(*limit, |limit| limit.value);
            };
            set(&mut breaker.connections_max, &mut wire.max_connections);
            set(&mut breaker.pending_max, &mut wire.max_pending_requests);
            set(&mut breaker.requests_max, &mut wire.max_requests);
            set(&mut breaker.retries_max, &mut wire.max_retries);
            let budget = take(&mut wire.retry_budget).map(RetryBudget::parse).transpose();
            breaker.retry_budget = budget.inside(&field)?;
            // For Envoy's own statistics.
            wire.track_remaining = false;
            nothing_else(&wire).inside(&field)?;
        }
        nothing_else(&wire)?;
        Ok(breaker)
    }
}

impl Default for CircuitBreaker {
    /// What xDS says of a cluster that says nothing.
    fn default() -> Self {
        Self {
            connections_max: 1024,
            pending_max: 1024,
            requests_max: 1024,
            retries_max: 3,
            retry_budget: None,
        }
    }
}

impl RetryBudget {
    fn parse(wire: thresholds::RetryBudget) -> Result<Self, Invalid> {
        let percent = wire.budget_percent.map_or(20.0, |percent| percent.value);
        if !(0.0..=100.0).contains(&percent) {
            return Err(Invalid::new("retry_budget.budget_percent", format!("{percent} is no percentage")));
        }
        let interval =
            wire.budget_interval.map(|interval| duration("retry_budget.budget_interval", interval));
        Ok(Self {
            // At most a million.
            millionths: (percent * 10_000.0).round() as u32,
            retries_min: wire.min_retry_concurrency.map_or(3, |least| least.value),
            interval: interval.transpose()?.unwrap_or_default(),
        })
    }
}

impl ConnectionTerms {
    /// The mesh's own.
    pub const DEFAULT: Self = Self {
        idle_timeout: None,
        opaque_idle_timeout: None,
        age_max: None,
        requests_max: u32::MAX,
        streams_max: u32::MAX,
        http2_keep_alive: None,
        tcp_keep_alive: None,
    };

    fn parse(http: &mut HttpProtocolOptions) -> Result<Self, Invalid> {
        let mut terms = Self::DEFAULT;
        if let Some(mut common) = take(&mut http.common_http_protocol_options) {
            let field = "common_http_protocol_options";
            terms.idle_timeout = lasting("idle_timeout", take(&mut common.idle_timeout)).inside(field)?;
            let age = take(&mut common.max_connection_duration);
            terms.age_max =
                age.map(|age| duration("max_connection_duration", age)).transpose().inside(field)?;
            terms.requests_max = counted(take(&mut common.max_requests_per_connection));
            nothing_else(&common).inside(field)?;
        }
        if let Some(http2) = http.upstream_protocol_options.as_mut().and_then(http2_options) {
            terms.streams_max = counted(take(&mut http2.max_concurrent_streams));
            let keep_alive = take(&mut http2.connection_keepalive).map(Http2KeepAlive::parse).transpose();
            terms.http2_keep_alive =
                keep_alive.inside("http2_protocol_options.connection_keepalive")?.flatten();
            nothing_else(http2).inside("http2_protocol_options")?;
        }
        Ok(terms)
    }
}

impl Http2KeepAlive {
    /// None where no pings are sent.
    fn parse(mut wire: KeepaliveSettings) -> Result<Option<Self>, Invalid> {
        let interval = take(&mut wire.interval).map(|wire| duration("interval", wire)).transpose()?;
        let timeout = take(&mut wire.timeout).ok_or(Invalid::new("timeout", "is missing"))?;
        let timeout = duration("timeout", timeout)?;
        nothing_else(&wire)?;
        let interval = interval.filter(|interval| !interval.is_zero());
        Ok(interval.map(|interval| Self { interval, timeout }))
    }
}

impl TcpKeepAlive {
    fn on_the_wire(self) -> TcpKeepalive {
        // Whole seconds, of which 0 would switch it off.
        let seconds = |time: Duration| UInt32Value {
            value: u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1),
        };
        TcpKeepalive {
            keepalive_probes: self.probes.map(|value| UInt32Value { value }),
            keepalive_time: self.time.map(seconds),
            keepalive_interval: self.interval.map(seconds),
        }
    }

    /// None where a 0 switches it off.
    fn parse(wire: TcpKeepalive) -> Result<Option<Self>, Invalid> {
        let seconds = |wire: Option<UInt32Value>| wire.map(|wire| Duration::from_secs(wire.value.into()));
        let keep_alive = Self {
            probes: wire.keepalive_probes.map(|probes| probes.value),
            time: seconds(wire.keepalive_time),
            interval: seconds(wire.keepalive_interval),
        };
        let is_off = keep_alive.probes == Some(0)
            || [keep_alive.time, keep_alive.interval].contains(&Some(Duration::ZERO));
        Ok((!is_off).then_some(keep_alive))
    }
}

/// What is said of HTTP/2, where that may be spoken.
fn http2_options(
    options: &mut UpstreamProtocolOptions,
) -> Option<&mut envoy_types::pb::envoy::config::core::v3::Http2ProtocolOptions> {
    match options {
        UpstreamProtocolOptions::ExplicitHttpConfig(explicit) => match &mut explicit.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(http2)) => Some(http2),
            _ => None,
        },
        UpstreamProtocolOptions::AutoConfig(auto) => auto.http2_protocol_options.as_mut(),
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(_) => None,
    }
}

/// A limit of time, of which 0 says that there is none.
fn lasting(field: &str, wire: Option<protobuf::Duration>) -> Result<Option<Duration>, Invalid> {
    let limit = wire.map(|wire| duration(field, wire)).transpose()?;
    Ok(limit.map(|limit| if limit.is_zero() { Duration::MAX } else { limit }))
}

/// A limit of which 0 says that there is none, as does its absence.
fn counted(wire: Option<UInt32Value>) -> u32 {
    wire.map(|wire| wire.value).filter(|limit| *limit > 0).unwrap_or(u32::MAX)
}

fn limit(value: u32) -> Option<UInt32Value> {
    (value < u32::MAX).then_some(UInt32Value { value })
}

fn on_the_wire(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: duration.as_secs().try_into().unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

const PROTOCOL_OPTIONS: &str = "typed_extension_protocol_options";
const TCP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions";

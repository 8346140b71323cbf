//! The endpoints of a cluster.

use std::collections::HashSet;
use std::fmt;
use std::mem::take;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality, Pipe, SocketAddress, address};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};

use super::cluster::{TLS_DISABLED, TLS_MODE};
use super::invalid::{Inside, Invalid, each, nothing_else};
use super::metadata::Facts;
use crate::route::SipHash;

/// What a `ClusterLoadAssignment` says, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointsSpec {
    /// The name under which a cluster asks for them.
    pub name: Arc<str>,
    /// All endpoints, in the order received.
    pub endpoints: Vec<EndpointSpec>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where it listens. Of a Unix socket it stands for it wherever endpoints are told apart, which requests do all the time: so
    /// what they compare and keep is a plain value ([`address_of_pipe`]).
    pub address: SocketAddr,
    /// The Unix socket that it listens on instead.
    pub pipe: Option<Arc<Path>>,
    /// `default/reviews-v1`, where known.
    pub workload: Option<Arc<str>>,
    /// `region/zone/subzone`.
    pub locality: Option<Arc<str>>,
    /// Its locality's share among those of the priority, where its cluster weights them.
    pub locality_weight: u32,
    /// 0 first.
    pub priority: u32,
    /// Relative to the others, at least 1.
    pub weight: u32,
    /// As the control plane sees it.
    pub health: Health,
    /// Whether the mesh's own TLS is spoken to it. As parsed, it is the endpoint's own mark; in a snapshot also what its
    /// cluster lets it mean.
    pub mesh_mtls: bool,
}

/// Health as the control plane sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Takes requests.
    #[default]
    Healthy,
    /// Finishes what it has, takes no new requests.
    Draining,
    /// Takes none.
    Unhealthy,
}

/// What stands for the address of a Unix socket: of a block that nobody is routed to (RFC 6666), with port 0, which no endpoint has.
/// A path has the same in every process.
pub fn address_of_pipe(path: &Path) -> SocketAddr {
    let hash = SipHash::new(6, 0).hash(path.as_os_str().as_encoded_bytes());
    let [a, b, c, d] = [48, 32, 16, 0].map(|shift| (hash >> shift) as u16);
    SocketAddr::new(Ipv6Addr::new(0x100, 0, 0, 0, a, b, c, d).into(), 0)
}

impl fmt::Display for EndpointSpec {
    /// `10.0.0.7:9080`, or `unix:///run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pipe {
            Some(path) => write!(f, "unix://{}", path.display()),
            None => self.address.fmt(f),
        }
    }
}

impl EndpointsSpec {
    pub(super) fn parse(wire: ClusterLoadAssignment) -> Result<Self, Invalid> {
        let (name, endpoints) = placed(wire, address)?;
        let endpoints: Vec<EndpointSpec> = endpoints.into_iter().map(|((), endpoint)| endpoint).collect();
        let mut seen = HashSet::with_capacity(endpoints.len());
        match endpoints.iter().find(|endpoint| !seen.insert(endpoint.address)) {
            Some(twice) => Err(Invalid::new("endpoints", format!("{twice} is there twice"))),
            None => Ok(Self { name, endpoints }),
        }
    }
}

/// An endpoint with what else its host says.
type Placed<T> = (T, EndpointSpec);

/// The endpoints of an assignment, whose hosts `place` reads, each with what else that says, which is nothing of a Unix socket; and
/// the assignment's name.
pub(super) fn placed<T: Default>(
    mut wire: ClusterLoadAssignment,
    place: impl Fn(&str) -> Result<(T, IpAddr), Invalid>,
) -> Result<(Arc<str>, Vec<Placed<T>>), Invalid> {
    let name = take(&mut wire.cluster_name).into();
    let groups = each("endpoints", take(&mut wire.endpoints), |group| locality_group(group, &place))?;
    if let Some(mut policy) = wire.policy.take() {
        let factor = take(&mut policy.overprovisioning_factor).map(|factor| factor.value);
        nothing_else(&policy).inside("policy")?;
        if factor.is_some_and(|factor| factor != OVERPROVISIONING_PERCENT) {
            return Err(Invalid::new("policy.overprovisioning_factor", "is not 140"));
        }
    }
    nothing_else(&wire)?;
    Ok((name, groups.into_iter().flatten().collect()))
}

/// An IP address and no name: of endpoints that the control plane sends it knows the addresses.
fn address(text: &str) -> Result<((), IpAddr), Invalid> {
    let ip = text.parse();
    let ip = ip.map_err(|_| Invalid::new("socket_address.address", format!("`{text}` is no IP address")));
    Ok(((), ip?))
}

/// What the endpoints of a locality share.
struct Group {
    locality: Option<Arc<str>>,
    locality_weight: u32,
    priority: u32,
}

fn locality_group<T: Default>(
    mut wire: LocalityLbEndpoints,
    place: impl Fn(&str) -> Result<(T, IpAddr), Invalid>,
) -> Result<Vec<Placed<T>>, Invalid> {
    let locality = take(&mut wire.locality).and_then(locality_name);
    let priority = take(&mut wire.priority);
    // Who has none has no share; where localities have none at all, nobody asks.
    let weight = take(&mut wire.load_balancing_weight).map_or(0, |weight| weight.value);
    let group = Group { locality, locality_weight: weight, priority };
    let parse = |endpoint| parse_endpoint(endpoint, &group, &place);
    let endpoints = each("lb_endpoints", take(&mut wire.lb_endpoints), parse)?;
    wire.metadata = None;
    nothing_else(&wire)?;
    Ok(endpoints)
}

/// `region/zone/subzone`, as far as known.
fn locality_name(wire: Locality) -> Option<Arc<str>> {
    let name = format!("{}/{}/{}", wire.region, wire.zone, wire.sub_zone);
    let name = name.trim_end_matches('/');
    (!name.is_empty()).then(|| name.into())
}

fn parse_endpoint<T: Default>(
    mut wire: LbEndpoint,
    group: &Group,
    place: impl Fn(&str) -> Result<(T, IpAddr), Invalid>,
) -> Result<Placed<T>, Invalid> {
    let metadata = take(&mut wire.metadata);
    let mark = Facts::under(metadata.as_ref(), TRANSPORT_SOCKET_MATCH).text(TLS_MODE);
    let health = match HealthStatus::try_from(take(&mut wire.health_status)) {
        Ok(HealthStatus::Unknown | HealthStatus::Healthy) => Health::Healthy,
        Ok(HealthStatus::Draining) => Health::Draining,
        // As in gRPC, whatever else is said is no reason to send requests.
        _ => Health::Unhealthy,
    };
    let weight = take(&mut wire.load_balancing_weight).map_or(1, |weight| weight.value);
    if weight == 0 {
        return Err(Invalid::new("load_balancing_weight", "is 0"));
    }
    let Some(HostIdentifier::Endpoint(mut endpoint)) = take(&mut wire.host_identifier) else {
        return Err(Invalid::new("endpoint", "is missing"));
    };
    let (placed, address, pipe) = match take(&mut endpoint.address).and_then(|wire| wire.address) {
        Some(address::Address::Pipe(wire)) => {
            let path = pipe(wire).inside("endpoint.address.pipe")?;
            (T::default(), address_of_pipe(&path), Some(path))
        }
        wire => {
            let (placed, address) = socket_address(wire, place).inside("endpoint.address")?;
            (placed, address, None)
        }
    };
    // A name for health checks, which the control plane makes.
    endpoint.hostname.clear();
    nothing_else(&endpoint).inside("endpoint")?;
    nothing_else(&wire)?;
    let endpoint = EndpointSpec {
        address,
        pipe,
        workload: Facts::ours(metadata.as_ref()).text("workload"),
        locality: group.locality.clone(),
        locality_weight: group.locality_weight,
        priority: group.priority,
        weight,
        health,
        mesh_mtls: mark.as_deref() != Some(TLS_DISABLED),
    };
    Ok((placed, endpoint))
}

/// A Unix socket: an absolute path, or a name without a place among files (`@`).
fn pipe(mut wire: Pipe) -> Result<Arc<Path>, Invalid> {
    let path = take(&mut wire.path);
    // For whoever makes the socket.
    wire.mode = 0;
    nothing_else(&wire)?;
    match path.starts_with(['/', '@']) && !path.ends_with('/') {
        true => Ok(Path::new(&path).into()),
        false => Err(Invalid::new("path", format!("`{path}` is no socket's"))),
    }
}

/// A TCP address.
fn socket_address<T>(
    wire: Option<address::Address>,
    place: impl Fn(&str) -> Result<(T, IpAddr), Invalid>,
) -> Result<(T, SocketAddr), Invalid> {
    let Some(address::Address::SocketAddress(mut socket)) = wire else {
        return Err(Invalid::new("socket_address", "is missing"));
    };
    let (placed, ip) = place(&take(&mut socket.address))?;
    let port = match take(&mut socket.port_specifier) {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(port).ok().filter(|port| *port != 0),
        _ => None,
    };
    let port = port.ok_or(Invalid::new("socket_address.port_value", "is none from 1 to 65535"))?;
    // TCP is 0, so UDP is left for this to find.
    nothing_else::<SocketAddress>(&socket).inside("socket_address")?;
    Ok((placed, SocketAddr::new(ip, port)))
}

/// Envoy's default: a priority bears its requests while 100 of 140 parts of it are available.
pub const OVERPROVISIONING_PERCENT: u32 = 140;
const TRANSPORT_SOCKET_MATCH: &str = "envoy.transport_socket_match";

//! From what a process says and what its grant allows to an instance, or to the reason why not. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mesh_core::proto::registry::{RegisterRequest, ServingPort};

use super::instance::{Binding, Instance, InstanceKey};
use crate::grant::{Grant, GrantedService};

/// Ports of one instance.
const PORTS_MAX: usize = 64;
const INSTANCE_ID_CHARS_MAX: usize = 64;
const VERSION_CHARS_MAX: usize = 64;
const SERVICE_CHARS_MAX: usize = 253;

/// Why a registration is refused. The caller is a member of the mesh, so it is told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The instance's name for itself cannot be a key.
    #[error("instance_id is not 1 to {INSTANCE_ID_CHARS_MAX} letters, digits and dashes")]
    InstanceId,
    /// Nobody serves that much.
    #[error("{0} ports, the limit for one instance is {PORTS_MAX}")]
    TooManyPorts(usize),
    /// A port is none.
    #[error("{what} {number} is no port")]
    Port {
        /// Which one.
        what: &'static str,
        /// What was said.
        number: u32,
    },
    /// The grant has another set of services.
    #[error(
        "the join token does not grant {service}; it grants {granted}: make one with `mesh token create --service {service}`"
    )]
    NotGranted {
        /// What was asked for.
        service: String,
        /// What could be.
        granted: String,
    },
    /// No service was named and the grant leaves several.
    #[error(
        "the grant has several services ({granted}) and none with port {workload_port}: say which one this port serves"
    )]
    Ambiguous {
        /// The port that listens.
        workload_port: u16,
        /// The choices.
        granted: String,
    },
    /// Two of its ports would be one endpoint.
    #[error("{0} is registered twice by one instance")]
    Twice(String),
    /// Callers could not dial it.
    #[error("advertised address `{address}` {why}: set the address that callers dial")]
    Address {
        /// What was said.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Holds a request against its caller's grant. `peer` is where the request came from; it stands in where the instance
/// knows no address of its own.
///
/// # Errors
/// The first thing that is wrong.
pub fn admit(
    grant: &Grant,
    request: &RegisterRequest,
    peer: IpAddr,
) -> Result<(InstanceKey, Instance), Refusal> {
    let key = instance_key(grant, &request.instance_id)?;
    if request.ports.len() > PORTS_MAX {
        return Err(Refusal::TooManyPorts(request.ports.len()));
    }
    let mut seen = BTreeSet::new();
    let mut bindings = Vec::new();
    for port in &request.ports {
        let binding = binding(grant, port, peer.to_canonical())?;
        if !seen.insert((binding.host.clone(), binding.service_port, binding.address)) {
            return Err(Refusal::Twice(format!("{}:{}", binding.host, binding.service_port)));
        }
        bindings.push(binding);
    }
    let printable = request.library_version.chars().filter(|letter| letter.is_ascii_graphic());
    let instance = Instance {
        workload: grant.workload_name(),
        labels: grant.instance_labels(),
        locality: grant.locality.clone(),
        bindings,
        draining: request.draining,
        not_ready: request.not_ready,
        library_version: printable.take(VERSION_CHARS_MAX).collect(),
    };
    Ok((key, instance))
}

/// The key under which a caller with this grant may speak of an instance.
///
/// # Errors
/// When the name cannot be part of a key.
pub fn instance_key(grant: &Grant, instance_id: &str) -> Result<InstanceKey, Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if instance_id.is_empty() || instance_id.len() > INSTANCE_ID_CHARS_MAX || !instance_id.bytes().all(legal)
    {
        return Err(Refusal::InstanceId);
    }
    Ok(InstanceKey {
        namespace: grant.namespace.clone(),
        service_account: grant.service_account.clone(),
        instance_id: instance_id.to_owned(),
    })
}

fn binding(grant: &Grant, port: &ServingPort, peer: IpAddr) -> Result<Binding, Refusal> {
    let workload_port = number("workload_port", port.workload_port)?;
    let service = service(grant, port, workload_port)?;
    let ip = advertised(&port.advertised_address, peer)?;
    Ok(Binding {
        host: service.host.clone(),
        service_port: service.port,
        workload_port,
        address: SocketAddr::new(ip, workload_port),
    })
}

fn number(what: &'static str, number: u32) -> Result<u16, Refusal> {
    u16::try_from(number).ok().filter(|port| *port != 0).ok_or(Refusal::Port { what, number })
}

/// The granted service that is meant. A process that names none means its grant's only one, or the one on its own port.
fn service<'g>(
    grant: &'g Grant,
    port: &ServingPort,
    workload_port: u16,
) -> Result<&'g GrantedService, Refusal> {
    if port.service.is_empty() {
        return match grant.services.as_slice() {
            [only] => Ok(only),
            [] => Err(not_granted(grant, format!("NAME:{workload_port}"))),
            several => several
                .iter()
                .find(|service| service.port == workload_port)
                .ok_or_else(|| Refusal::Ambiguous { workload_port, granted: granted(grant) }),
        };
    }
    let service_port = number("service_port", port.service_port)?;
    let name: String = port.service.chars().take(SERVICE_CHARS_MAX).collect::<String>().to_ascii_lowercase();
    let named = |service: &&GrantedService| {
        service.port == service_port && means(&name, &service.host, &grant.namespace)
    };
    grant.services.iter().find(named).ok_or_else(|| not_granted(grant, format!("{name}:{service_port}")))
}

/// Whether `name`, said by a member of `namespace`, is the service `host`.
fn means(name: &str, host: &str, namespace: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name == host {
        return true;
    }
    let Some(rest) = host.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { return false };
    let home = rest.strip_prefix(namespace).is_some_and(|rest| rest.starts_with(".svc."));
    // `reviews` means the one at home; `reviews.prod` and `reviews.prod.svc` say where.
    if name.contains('.') { rest.starts_with("svc.") || name.ends_with(".svc") } else { home }
}

fn not_granted(grant: &Grant, service: String) -> Refusal {
    Refusal::NotGranted { service, granted: granted(grant) }
}

fn granted(grant: &Grant) -> String {
    let names: Vec<String> =
        grant.services.iter().map(|service| format!("{}:{}", service.host, service.port)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn advertised(text: &str, peer: IpAddr) -> Result<IpAddr, Refusal> {
    if text.is_empty() {
        return Ok(peer);
    }
    let refuse = |why| Refusal::Address { address: text.chars().take(SERVICE_CHARS_MAX).collect(), why };
    let ip: IpAddr = text.parse().map_err(|_| refuse("is no IP address"))?;
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_multicast() || broadcast {
        return Err(refuse("is no single host"));
    }
    if ip.is_loopback() && !peer.is_loopback() {
        return Err(refuse("is the loopback of another host"));
    }
    // A wildcard bind: the address by which the control plane sees it is the best known.
    Ok(if ip.is_unspecified() { peer } else { ip })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(services: &[(&str, u16)]) -> Grant {
        let services =
            services.iter().map(|(host, port)| GrantedService { host: (*host).to_owned(), port: *port });
        Grant {
            namespace: "default".into(),
            service_account: "bookinfo-reviews".into(),
            services: services.collect(),
            labels: [("version".to_owned(), "v2".to_owned())].into(),
            locality: Some("eu/a".into()),
        }
    }

    const REVIEWS: (&str, u16) = ("reviews.default.svc.cluster.local", 9080);

    fn request(
        service: &str,
        service_port: u32,
        workload_port: u32,
        advertised_address: &str,
    ) -> RegisterRequest {
        let advertised_address = advertised_address.to_owned();
        RegisterRequest {
            instance_id: "a-1".into(),
            ports: vec![ServingPort {
                service: service.to_owned(),
                service_port,
                workload_port,
                advertised_address,
            }],
            draining: false,
            not_ready: false,
            library_version: "0.1.0\u{1b}[31m".into(),
        }
    }

    #[track_caller]
    fn check(services: &[(&str, u16)], request: &RegisterRequest, expected: &str) {
        let said = match admit(&grant(services), request, [10, 0, 0, 7].into()) {
            Ok((_, instance)) => {
                let binding = &instance.bindings[0];
                format!("{}:{} at {}", binding.host, binding.service_port, binding.address)
            }
            Err(refusal) => refusal.to_string(),
        };
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn everything_but_addresses_comes_from_the_grant() {
        let (key, instance) =
            admit(&grant(&[REVIEWS]), &request("reviews", 9080, 41001, ""), [10, 0, 0, 7].into()).unwrap();
        assert_eq!(key.to_string(), "default/bookinfo-reviews/a-1");
        assert_eq!((instance.workload.as_str(), instance.locality.as_deref()), ("reviews-v2", Some("eu/a")));
        assert_eq!(instance.labels["version"], "v2");
        assert_eq!(instance.library_version, "0.1.0[31m");
    }

    #[test]
    fn a_service_is_named_as_its_grant_has_it_or_not_at_all() {
        let there = "reviews.default.svc.cluster.local:9080 at 10.0.0.7:41001";
        for name in [
            "reviews",
            "Reviews",
            "reviews.default",
            "reviews.default.svc",
            "reviews.default.svc.cluster.local",
            "reviews.default.svc.cluster.local.",
        ] {
            check(&[REVIEWS], &request(name, 9080, 41001, ""), there);
        }
        check(&[REVIEWS], &request("", 0, 41001, ""), there);
        let both = [REVIEWS, ("ratings.default.svc.cluster.local", 9081)];
        check(&both, &request("", 0, 9081, ""), "ratings.default.svc.cluster.local:9081 at 10.0.0.7:9081");
        check(&both, &request("", 0, 41001, ""), "say which one this port serves");
    }

    #[test]
    fn what_is_not_granted_is_refused_by_name() {
        let refused = "the join token does not grant";
        for (name, port) in
            [("ratings", 9080), ("reviews", 9081), ("reviews.prod", 9080), ("rev", 9080), ("", 0)]
        {
            let services: &[_] = if name.is_empty() { &[] } else { &[REVIEWS] };
            check(services, &request(name, port, 41001, ""), refused);
        }
        check(&[("reviews.prod.svc.cluster.local", 9080)], &request("reviews", 9080, 1, ""), refused);
        check(
            &[("reviews.prod.svc.cluster.local", 9080)],
            &request("reviews.prod", 9080, 1, ""),
            "at 10.0.0.7:1",
        );
    }

    #[test]
    fn an_advertised_address_is_one_that_others_can_dial() {
        for (address, expected) in [
            ("10.1.2.3", "at 10.1.2.3:41001"),
            ("fd00::7", "at [fd00::7]:41001"),
            ("::ffff:10.1.2.3", "at 10.1.2.3:41001"),
            ("0.0.0.0", "at 10.0.0.7:41001"),
            ("::", "at 10.0.0.7:41001"),
            ("127.0.0.1", "is the loopback of another host"),
            ("::ffff:127.0.0.1", "is the loopback of another host"),
            ("224.0.0.1", "is no single host"),
            ("255.255.255.255", "is no single host"),
            ("reviews", "is no IP address"),
            ("10.0.0.7:80", "is no IP address"),
        ] {
            check(&[REVIEWS], &request("", 0, 41001, address), expected);
        }
        let near = admit(&grant(&[REVIEWS]), &request("", 0, 41001, "127.0.0.1"), [127, 0, 0, 1].into());
        assert_eq!(near.unwrap().1.bindings[0].address.to_string(), "127.0.0.1:41001");
    }

    #[test]
    fn limits_are_told() {
        check(&[REVIEWS], &request("", 0, 0, ""), "workload_port 0 is no port");
        check(&[REVIEWS], &request("", 0, 65536, ""), "workload_port 65536 is no port");
        check(&[REVIEWS], &request("reviews", 70000, 1, ""), "service_port 70000 is no port");
        for id in ["", "a/b", "ü", &"a".repeat(65)] {
            check(
                &[REVIEWS],
                &RegisterRequest { instance_id: id.into(), ..request("", 0, 1, "") },
                "instance_id is not",
            );
        }
        let one = request("", 0, 1, "").ports.remove(0);
        let ports = |count| RegisterRequest { ports: vec![one.clone(); count], ..request("", 0, 1, "") };
        check(&[REVIEWS], &ports(65), "65 ports, the limit for one instance is 64");
        check(&[REVIEWS], &ports(2), "is registered twice");
    }
}

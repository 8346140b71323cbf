//! The answer for people: one fact to a line, documents and places by name.

use std::fmt::Write as _;

use super::{Decision, Destination, Inbound, Outcome, Sticky, Verdict};

/// Writes a decision for a terminal. What is absent is left out.
pub fn render(decision: &Decision) -> String {
    let mut table = Table::default();
    table.row("outcome", outcome(decision));
    table.optional("host", decision.host.clone());
    if let Some(route) = &decision.route {
        let document = route.document.as_deref().unwrap_or("the mesh's default: everything to the service");
        let rule = route.rule.iter().chain(&route.name).map(String::as_str).collect::<Vec<_>>().join(" ");
        table.row("rule", joined([Some(document), Some(&*rule), route.at.as_deref()]));
    }
    for (index, destination) in decision.destinations.iter().enumerate() {
        let mark =
            if decision.chosen == Some(index) && decision.destinations.len() > 1 { "→ " } else { "" };
        table.row("to", format!("{mark}{}", self::destination(destination)));
        for rule in &destination.destination_rule {
            table.row("", joined([rule.document.as_deref(), rule.at.as_deref()]));
        }
        if let Some(hash) = &destination.hash {
            table.row("", sticky(hash));
        }
        for endpoint in &destination.endpoints {
            let address = endpoint.address.as_deref().unwrap_or("address not told");
            let workload = endpoint.workload.as_deref().unwrap_or("presumed");
            let health = if endpoint.healthy { "" } else { "takes no requests" };
            table.row("", joined([Some(address), Some(workload), Some(health)]));
        }
    }
    table.optional("sticky", decision.sticky.as_ref().map(sticky));
    table.optional("endpoint", decision.endpoint.clone());
    if let Some(delay) = &decision.fault.delay {
        table.row("delay", share(delay.percentage, &delay.duration, delay.applies));
    }
    if let Some(abort) = &decision.fault.abort {
        let grpc = abort.grpc_status.map(|status| format!("grpc-status {status}"));
        let status = grpc.or(abort.status.map(|status| status.to_string())).unwrap_or_default();
        table.row("abort", share(abort.percentage, &status, abort.applies));
    }
    if let Some(redirect) = &decision.redirect {
        table.row("location", redirect.location.clone());
    }
    if let Some(request) = &decision.upstream_request {
        table.row("sent", format!("{} {} to {}", request.method, request.path, request.authority));
        request.headers.iter().for_each(|(name, value)| table.row("", format!("{name}: {value}")));
    }
    if let Some(asked) = &decision.external_auth {
        table.row("authorizes", format!("{}:{}  {}", asked.host, asked.port, asked.protocol));
    }
    for mirror in &decision.mirrors {
        let subset = mirror.subset.as_ref().map(|subset| format!(" subset {subset}")).unwrap_or_default();
        table.row("mirror", format!("{}:{}{subset}  {} %", mirror.host, mirror.port, mirror.percentage));
    }
    table.optional("timeout", decision.timeout.clone());
    if let Some(retries) = &decision.retries {
        table.row("retries", format!("{} on {}", retries.attempts, retries.on.join(", ")));
    }
    if let Some(inbound) = &decision.inbound {
        inbound_rows(&mut table, inbound);
    }
    decision.warnings.iter().for_each(|warning| table.row("warning", warning.clone()));
    decision.trace.iter().for_each(|step| table.row("because", step.clone()));
    table.text
}

/// Rows of a name and a value, the name only where it changes.
#[derive(Default)]
struct Table {
    text: String,
    name: &'static str,
}

impl Table {
    fn row(&mut self, name: &'static str, value: String) {
        let shown = if name == self.name { "" } else { name };
        self.name = if name.is_empty() { self.name } else { name };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{shown:<12}{value}");
    }

    fn optional(&mut self, name: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.row(name, value);
        }
    }
}

fn outcome(decision: &Decision) -> String {
    let what = match decision.outcome {
        Outcome::Forward => "forward",
        Outcome::Redirect => "redirect",
        Outcome::DirectResponse => "direct response",
        Outcome::FaultAbort => "aborted by an injected fault",
        Outcome::NoRoute => "no route",
        Outcome::NoCluster => "no such destination",
        Outcome::NoHealthyEndpoint => "no healthy endpoint",
        Outcome::BadRequest => "bad request",
        Outcome::DeniedOutbound => "refused: outside the mesh",
        Outcome::Passthrough => "passed through: outside the mesh",
        Outcome::Inbound => "inbound side only",
        Outcome::Unsupported => "cannot be said",
    };
    let status = decision.status.map(|status| status.to_string());
    let grpc = decision.grpc_status.map(|status| format!("grpc-status {status}"));
    let flags = Some(&*decision.response_flags).filter(|flags| *flags != "-");
    joined([Some(what), status.as_deref(), grpc.as_deref(), flags, decision.reason.as_deref()])
}

fn destination(destination: &Destination) -> String {
    let subset = destination.subset.as_ref().map(|subset| format!(" subset {subset}")).unwrap_or_default();
    let share = format!("{:.4}", destination.odds * 100.0);
    let share = share.trim_end_matches('0').trim_end_matches('.');
    let tls = destination.upstream_tls.map_or("", |tls| match tls {
        super::UpstreamTls::MeshMtls => "mesh mTLS",
        super::UpstreamTls::Tls => "TLS",
        super::UpstreamTls::MutualTls => "mutual TLS",
        super::UpstreamTls::Plaintext => "plaintext",
    });
    let balancer = destination.load_balancer.as_deref().unwrap_or("does not exist");
    let name = format!("{}:{}{subset}", destination.host, destination.port);
    joined([Some(&*name), Some(&*format!("{share} %")), Some(balancer), Some(tls)])
}

fn sticky(sticky: &Sticky) -> String {
    let key = sticky.key.as_deref().unwrap_or("the request has no key: drawn");
    joined([Some(&*sticky.on), Some(key), sticky.set_cookie.as_deref()])
}

/// What happens to a share of the requests, and whether to this one.
fn share(percentage: f64, what: &str, applies: Option<bool>) -> String {
    let applies = applies.map_or("by chance", |applies| if applies { "happens" } else { "does not happen" });
    format!("{what}  {percentage} %  {applies}")
}

fn inbound_rows(table: &mut Table, inbound: &Inbound) {
    let verdict = match inbound.decision {
        Verdict::Allow => "let in",
        Verdict::Deny => "refused",
    };
    let status = inbound.status.map(|status| status.to_string());
    let grpc = inbound.grpc_status.map(|status| format!("grpc-status {status}"));
    let workload = inbound.workload.as_ref().map(|workload| format!("by {workload}"));
    let parts =
        [Some(verdict), workload.as_deref(), status.as_deref(), grpc.as_deref(), inbound.reason.as_deref()];
    table.row("inbound", joined(parts));
    let principal = inbound.principal.as_deref().unwrap_or("no identity");
    table.row("", format!("{:?} on {}, {principal}", inbound.transport, inbound.mtls_mode).to_lowercase());
    if inbound.policy.is_some() {
        table.row(
            "policy",
            joined([inbound.policy.as_deref(), inbound.rule.as_deref(), inbound.at.as_deref()]),
        );
    }
}

fn joined<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> String {
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

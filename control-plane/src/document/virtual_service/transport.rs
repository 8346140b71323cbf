//! `tls` and `tcp` rules of a VirtualService: known to the last field, not honoured yet.
//!
//! They are read for their errors alone, so the decoders yield nothing.

use super::super::fields::Fields;
use super::super::finding::Code;
use super::super::name;
use super::super::scalar::{port, some, text};
use super::super::spelling::shorten;
use super::super::value::{Value, object};
use super::action;

pub(super) fn tls_route(value: Value<'_, '_>, hosts: &[&str]) {
    value.object(|fields| {
        fields.required("match", |mut value| {
            let matches = value.reborrow().items(|value| tls_match(value, hosts));
            some(&mut value, &matches);
        });
        fields.required("route", destinations);
    });
}

pub(super) fn tcp_route(fields: &mut Fields<'_, '_>) {
    fields.list("match", object(tcp_match));
    fields.required("route", destinations);
}

fn tls_match(value: Value<'_, '_>, hosts: &[&str]) {
    value.object(|fields| {
        fields.required("sniHosts", |mut value| {
            let names = value.reborrow().items(|value| sni_host(value, hosts));
            some(&mut value, &names);
        });
        source(fields);
    });
}

fn tcp_match(fields: &mut Fields<'_, '_>) {
    source(fields);
    fields.optional("sourceSubnet", |value| name::checked(value, name::subnet));
}

/// What both protocols can match.
fn source(fields: &mut Fields<'_, '_>) {
    fields.list("destinationSubnets", |value| name::checked(value, name::subnet));
    fields.optional("port", port);
    fields.optional("sourceLabels", name::labels);
    fields.list("gateways", name::gateway);
    fields.optional("sourceNamespace", name::label);
}

fn sni_host(mut value: Value<'_, '_>, hosts: &[&str]) {
    let host = text(value.reborrow());
    if host.parse::<std::net::IpAddr>().is_ok() {
        let message = format!("`{}` is an address, which no client sends as a server name", shorten(&host));
        value.note(Code::Suspicious, message, "name the host");
        return;
    }
    let covered = hosts.iter().any(|known| super::covers(known, &host));
    name::checked(value.reborrow(), |host| name::wildcard_domain(&host.replace('_', "x")));
    if !covered && value.node.is_some() {
        value.invalid(format!("`{}` is none of the document's hosts", shorten(&host)), "add it to `hosts`");
    }
}

fn destinations(value: Value<'_, '_>) {
    let destination = |value: Value<'_, '_>| {
        value.object(|fields| {
            fields.required("destination", object(action::destination));
            fields.or_default("weight", action::weight)
        })
    };
    action::weighted(value, destination, |weight| *weight);
}

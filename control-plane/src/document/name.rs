//! Host names, labels, namespaces and gateways: the spelling rules that all kinds share.
//!
//! Each rule is a decoder that reads text and notes what is wrong with it, so that a schema line says what a field holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Code, Spanned, Value, shorten, spanned_text, text};

/// A host that is spoken for: fully qualified, short, an address, or with a wildcard as its first label. Names that TLS
/// clients of other meshes send (`outbound_.80_._.host`) may have underscores.
pub(super) fn spoken_host(value: Value<'_, '_>) -> Spanned<String> {
    checked(value, |host| {
        if host.parse::<IpAddr>().is_ok() { Ok(()) } else { wildcard_domain(&host.replace('_', "x")) }
    })
}

/// A host: fully qualified, short, or with a wildcard as its first label.
pub(super) fn host(value: Value<'_, '_>) -> Spanned<String> {
    checked(value, wildcard_domain)
}

/// A host that says where to send: a wildcard alone says nothing.
pub(super) fn destination_host(value: Value<'_, '_>) -> Spanned<String> {
    checked(value, |host| match host {
        "*" => Err("a wildcard alone is no destination".to_owned()),
        host => wildcard_domain(host),
    })
}

/// A host without any wildcard.
pub(super) fn plain_host(value: Value<'_, '_>) -> Spanned<String> {
    checked(value, |host| if host.parse::<IpAddr>().is_ok() { Ok(()) } else { domain(host) })
}

/// A namespace or another DNS label.
pub(super) fn label(value: Value<'_, '_>) -> String {
    checked(value, |name| dns_label(&name.to_ascii_lowercase())).value
}

/// The name of a subset, port or similar: a DNS label in either case.
pub(super) fn subset_name(value: Value<'_, '_>) -> Spanned<String> {
    checked(value, |name| dns_label(&name.to_ascii_lowercase()))
}

/// A gateway: `mesh`, `name`, or `namespace/name`.
pub(super) fn gateway(mut value: Value<'_, '_>) -> Spanned<String> {
    let name = spanned_text(value.reborrow());
    if value.node.is_none() {
        return name;
    }
    let parts: Vec<&str> = name.value.split('/').collect();
    let found = match parts[..] {
        [name] => domain(name),
        [namespace, name] => dns_label(namespace).and_then(|()| dns_label(&name.to_ascii_lowercase())),
        _ => Err(format!("`{}` has more than one `/`", shorten(&name.value))),
    };
    if let Err(reason) = found {
        value.invalid(reason, "write `mesh`, `name` or `namespace/name`");
    } else if parts.len() == 1 && parts[0].contains('.') {
        let next = "write `namespace/name`";
        value.note(Code::Deprecated, "a gateway's full name is an old form", next);
    }
    name
}

/// Who sees a document: `.`, `*`, `~` or names of namespaces.
pub(super) fn export_to(mut value: Value<'_, '_>) -> Vec<String> {
    let names = value.reborrow().items(|value| {
        checked(value, |name| match name {
            "." | "*" | "~" => Ok(()),
            name => dns_label(&name.to_ascii_lowercase()),
        })
        .value
    });
    let (span, seen) = (value.span, names.iter().collect::<BTreeSet<_>>());
    if seen.len() < names.len() {
        value.reader.note(Code::Duplicate, span, "names the same twice", "keep one");
    }
    // Istio reads such lists, and `*` wins; whoever wrote the others thought otherwise.
    if names.len() > 1 && names.iter().any(|name| name == "*" || name == "~") {
        value.reader.note(
            Code::Suspicious,
            span,
            "`*` or `~` stands beside other entries",
            "keep it alone, or remove it",
        );
    }
    names
}

/// Labels that a workload carries.
pub(super) fn labels(value: Value<'_, '_>) -> BTreeMap<String, String> {
    value.entries(|key, mut value| {
        let content = text(value.reborrow());
        if value.node.is_some()
            && let Err(reason) = label_key(key).and_then(|()| label_value(&content))
        {
            value.invalid(reason, "write it as a Kubernetes label");
        }
        content
    })
}

/// Labels by which workloads are chosen. Empty chooses all, which is worth a warning where a selector is written.
pub(super) fn selector(value: Value<'_, '_>) -> BTreeMap<String, String> {
    value.entries(|key, mut value| {
        let content = text(value.reborrow());
        if value.node.is_some() {
            if key.is_empty() {
                value.invalid("a label without a key chooses nothing", "write `key: value`");
            } else if key.contains('*') || content.contains('*') {
                value.invalid("a selector has no wildcards", "name the label's value");
            }
        }
        content
    })
}

/// Reads text and notes what `rule` has against it.
pub(super) fn checked(
    mut value: Value<'_, '_>,
    rule: impl FnOnce(&str) -> Result<(), String>,
) -> Spanned<String> {
    let count = value.reader.findings.len();
    let read = spanned_text(value.reborrow());
    // What is not text has been noted already.
    if value.node.is_some()
        && value.reader.findings.len() == count
        && let Err(reason) = rule(&read.value)
    {
        value.invalid(reason, "correct the value");
    }
    read
}

/// Reads text that is `what`, as `good` knows.
pub(super) fn known(value: Value<'_, '_>, what: &str, good: impl FnOnce(&str) -> bool) -> String {
    checked(value, |text| must_be(what, text, good(text))).value
}

/// Says that `text` is not `what`, if it is not.
pub(super) fn must_be(what: &str, text: &str, good: bool) -> Result<(), String> {
    if good { Ok(()) } else { Err(format!("`{}` is not {what}", shorten(text))) }
}

/// A DNS name whose first label may be, or begin with, a wildcard.
pub(super) fn wildcard_domain(name: &str) -> Result<(), String> {
    if name == "*" {
        return Ok(());
    }
    match name.strip_prefix('*') {
        // `*.com` and `*-foo.com`: what follows the star is a name's remainder.
        Some(rest) => domain(rest.strip_prefix('.').unwrap_or(rest.trim_start_matches('-'))),
        None => domain(name),
    }
    .map_err(|_| format!("`{}` is not a host name (a `*` may only begin it)", shorten(name)))
}

/// A DNS name. Its last label is not a number, so that no address passes for one.
pub(super) fn domain(name: &str) -> Result<(), String> {
    let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
    let good = |label: &&str| dns_label(&label.to_ascii_lowercase()).is_ok();
    let number = labels.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    must_be("a host name", name, name.len() <= 255 && !number && labels.iter().all(good))
}

/// A DNS label in lower case, as Kubernetes names namespaces and services.
pub(super) fn dns_label(name: &str) -> Result<(), String> {
    must_be("a name of at most 63 small letters, digits and `-`", name, is_dns_label(name))
}

/// Whether it is a DNS label in lower case.
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

/// Labels joined by dots, as Kubernetes names everything else: the whole is bounded, and no label of it.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.rsplit_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let good = prefix.is_none_or(|prefix| domain(prefix).is_ok()) && is_label_text(name);
    must_be("the key of a label", key, good)
}

fn label_value(content: &str) -> Result<(), String> {
    must_be("the value of a label", content, content.is_empty() || is_label_text(content))
}

/// Whether Kubernetes takes it for the value of a label, or for the name in its key.
pub fn is_label_text(text: &str) -> bool {
    let ends = |letter: char| letter.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// An address, or a range of them.
pub(super) fn subnet(text: &str) -> Result<(), String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return Err(format!("`{}` is not an address", shorten(text))),
    };
    let good = bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most));
    must_be("a range of addresses", text, good)
}

/// A host as a document of `namespace` means it: a name without a dot is a service of that namespace.
pub fn qualified(host: &str, namespace: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.contains(['.', '*', ':']) { host } else { format!("{host}.{namespace}.svc.{SERVICE_DOMAIN}") }
}

/// The domain below which services have their names.
pub const SERVICE_DOMAIN: &str = "cluster.local";

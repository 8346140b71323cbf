//! AuthorizationPolicy: who may do what.
//!
//! Honoured are ALLOW and DENY on principals, namespaces, paths, methods and ports. Everything else is refused by name
//! and never dropped: a condition that is not carried out would let in more than its author meant.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::finding::Code;
use super::name;
use super::peer_authentication::selector;
use super::scalar::{choice, some_text, text};
use super::spelling::shorten;
use super::value::{Value, object};
use super::yaml::Span;

/// An AuthorizationPolicy's spec.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationPolicy {
    /// Where the spec stands.
    pub span: Span,
    /// Labels of the servers concerned; none is the whole namespace.
    pub selector: Option<BTreeMap<String, String>>,
    /// What a match means.
    pub action: Action,
    /// Any of these matches; none at all never matches.
    pub rules: Vec<Rule>,
}

/// What a match means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The request is let in.
    #[default]
    Allow,
    /// It is refused.
    Deny,
}

/// One rule: someone of `from` doing something of `to`; an empty list is everyone, or everything.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Where the rule begins.
    pub span: Span,
    /// Who.
    pub from: Vec<Source>,
    /// What.
    pub to: Vec<Operation>,
}

/// A caller: every list that is not empty must have a match, every `not` list none.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Where the entry begins.
    pub span: Span,
    /// Identities, without `spiffe://`.
    pub principals: Vec<String>,
    /// None of these.
    pub not_principals: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// None of these.
    pub not_namespaces: Vec<String>,
}

/// An operation: every list that is not empty must have a match, every `not` list none.
#[derive(Clone, Debug, Default)]
pub struct Operation {
    /// Where the entry begins.
    pub span: Span,
    /// Workload ports.
    pub ports: Vec<u16>,
    /// None of these.
    pub not_ports: Vec<u16>,
    /// Methods.
    pub methods: Vec<String>,
    /// None of these.
    pub not_methods: Vec<String>,
    /// Paths: exact, `prefix*`, `*suffix`, or a template with `{*}` and `{**}`.
    pub paths: Vec<String>,
    /// None of these.
    pub not_paths: Vec<String>,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> AuthorizationPolicy {
    let policy = AuthorizationPolicy {
        span: fields.span(),
        selector: fields.optional("selector", object(selector)),
        action: fields.or_default("action", action),
        rules: fields.list("rules", object(rule)),
    };
    fields.gateway_only("targetRef", object(target_reference));
    fields.gateway_only("targetRefs", |value| value.items(object(target_reference)));
    fields.unsupported("provider", object(|fields| fields.required("name", some_text)));
    whole(fields, &policy);
    policy
}

fn whole(fields: &mut Fields<'_, '_>, policy: &AuthorizationPolicy) {
    fields.at_most_one(&["selector", "targetRef", "targetRefs"]);
    let custom = fields.wrote("action", "CUSTOM") || fields.wrote("action", "3");
    if custom && !fields.has("provider") {
        fields.missing("provider", "is required by CUSTOM", "name a provider");
    } else if !custom && fields.has("provider") {
        fields.conflict("provider", "goes with `action: CUSTOM` only", "remove the field");
    }
    let caller = |source: &Source| {
        let lists = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
        lists.iter().any(|list| !list.is_empty())
    };
    if custom && policy.rules.iter().flat_map(|rule| &rule.from).any(caller) {
        fields.conflict("rules", "CUSTOM cannot ask for identities", "remove principals and namespaces");
    }
    if custom && policy.rules.is_empty() {
        fields.missing("rules", "is required by CUSTOM", "add a rule");
    }
    if policy.action == Action::Deny && fields.wrote("action", "DENY") && !fields.has("rules") {
        fields.missing(
            "rules",
            "are absent, so that DENY never matches",
            "write `rules: [{}]` to deny everything",
        );
    }
}

fn action(mut value: Value<'_, '_>) -> Action {
    if let Some(written @ ("AUDIT" | "CUSTOM" | "2" | "3")) = value.written() {
        let message = format!("{written} is not honoured by this mesh yet");
        value.note(Code::UnsupportedField, message, "use ALLOW or DENY");
    }
    choice(&[
        ("ALLOW", 0, Action::Allow),
        ("DENY", 1, Action::Deny),
        ("AUDIT", 2, Action::Allow),
        ("CUSTOM", 3, Action::Deny),
    ])(value)
}

fn target_reference(fields: &mut Fields<'_, '_>) {
    let group = fields.or_default("group", text);
    let kind = fields.required("kind", some_text);
    fields.required("name", some_text);
    fields.optional("namespace", text);
    if fields.filled("namespace") {
        fields.invalid("namespace", "a target is in the policy's namespace", "remove the field");
    }
    let targets = [
        ("", "Service"),
        ("core", "Service"),
        ("networking.istio.io", "ServiceEntry"),
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "GatewayClass"),
    ];
    if !kind.is_empty() && !targets.contains(&(group.as_str(), kind.as_str())) {
        fields.invalid("kind", "cannot be a target", "name a Gateway, a Service or a ServiceEntry");
    }
}

fn rule(fields: &mut Fields<'_, '_>) -> Rule {
    let rule = Rule {
        span: fields.span(),
        from: fields.or_default("from", |value| entries(value, "source", source)),
        to: fields.or_default("to", |value| entries(value, "operation", operation)),
    };
    fields.unsupported("when", |value| value.items(object(condition)));
    rule
}

/// Entries `- source: {…}`: neither the list nor an entry may be empty, which would match everything.
fn entries<T: Default>(
    value: Value<'_, '_>,
    part: &'static str,
    decode: fn(&mut Fields<'_, '_>) -> T,
) -> Vec<T> {
    not_empty(value, object(|fields| fields.required(part, object(decode))))
}

fn not_empty<'n, T>(mut value: Value<'_, 'n>, decode: impl FnMut(Value<'_, 'n>) -> T) -> Vec<T> {
    let items = value.reborrow().items(decode);
    if items.is_empty() && value.node.is_some() {
        value.invalid("is empty", "add an entry, or remove the field");
    }
    items
}

fn source(fields: &mut Fields<'_, '_>) -> Source {
    let source = Source {
        span: fields.span(),
        principals: fields.or_default("principals", patterns),
        not_principals: fields.or_default("notPrincipals", patterns),
        namespaces: fields.or_default("namespaces", patterns),
        not_namespaces: fields.or_default("notNamespaces", patterns),
    };
    for name in ["requestPrincipals", "notRequestPrincipals", "trustDomains", "notTrustDomains"] {
        fields.unsupported(name, patterns);
    }
    for name in ["serviceAccounts", "notServiceAccounts"] {
        fields.unsupported(name, |value| value.items(service_account));
    }
    for name in ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"] {
        fields.unsupported(name, |value| value.items(|value| name::checked(value, name::subnet)));
    }
    something(
        fields,
        &[
            "principals",
            "requestPrincipals",
            "namespaces",
            "serviceAccounts",
            "trustDomains",
            "ipBlocks",
            "remoteIpBlocks",
        ],
    );
    let accounts = ["serviceAccounts", "notServiceAccounts"].into_iter().find(|name| fields.filled(name));
    let identities = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    if let Some(accounts) = accounts
        && identities.iter().any(|name| fields.filled(name))
    {
        fields.conflict(accounts, "excludes principals and namespaces", "write two sources");
    }
    source
}

fn operation(fields: &mut Fields<'_, '_>) -> Operation {
    let operation = Operation {
        span: fields.span(),
        ports: fields.or_default("ports", ports),
        not_ports: fields.or_default("notPorts", ports),
        methods: fields.or_default("methods", patterns),
        not_methods: fields.or_default("notMethods", patterns),
        paths: fields.or_default("paths", |value| value.items(path)),
        not_paths: fields.or_default("notPaths", |value| value.items(path)),
    };
    fields.unsupported("hosts", patterns);
    fields.unsupported("notHosts", patterns);
    something(fields, &["ports", "methods", "paths", "hosts"]);
    operation
}

/// Refuses an entry that names nothing, because it would match everything.
fn something(fields: &mut Fields<'_, '_>, names: &[&'static str]) {
    let negated = |name: &str| format!("not{}{}", name[..1].to_uppercase(), &name[1..]);
    if !names.iter().any(|name| fields.filled(name) || fields.filled(&negated(name))) {
        fields.missing(
            "",
            "names nothing, which would match everything",
            format!("add one of {}", names.join(", ")),
        );
    }
}

fn patterns(value: Value<'_, '_>) -> Vec<String> {
    value.items(pattern)
}

/// Exact, `prefix*`, `*suffix` or `*`.
fn pattern(value: Value<'_, '_>) -> String {
    name::checked(value, |pattern| {
        if pattern.is_empty() { Err("is empty, and matches nothing".to_owned()) } else { Ok(()) }
    })
    .value
}

fn service_account(value: Value<'_, '_>) {
    name::known(value, "`name` or `namespace/name`", |account| {
        let parts: Vec<&str> = account.split('/').collect();
        let good = !account.contains('*') && parts.len() <= 2 && parts.iter().all(|part| !part.is_empty());
        good && account.len() <= 320
    });
}

/// Ports are written as text, as everything else that a policy compares.
fn ports(value: Value<'_, '_>) -> Vec<u16> {
    value.items(|mut value| {
        let written = text(value.reborrow());
        let port = written.parse::<u16>().ok().filter(|port| *port > 0);
        if port.is_none() && value.node.is_some() && !written.is_empty() {
            value.invalid(
                format!("`{}` is not a port", shorten(&written)),
                "write \"1\" to \"65535\", in quotes",
            );
        }
        port.unwrap_or_default()
    })
}

fn path(value: Value<'_, '_>) -> String {
    name::checked(value, |path| {
        if path.is_empty() { Err("is empty, and matches nothing".to_owned()) } else { path_template(path) }
    })
    .value
}

/// `{*}` stands for one segment and `{**}` for any number, each alone between slashes; after `{**}` no operator follows.
/// Braces mean nothing else.
fn path_template(path: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("`{}` is not a path template: {why}", shorten(path)));
    let template = path.contains("{*}") || path.contains("{**}");
    let literal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte);
    let mut rest = false;
    for segment in path.trim_matches('/').split('/') {
        match segment {
            "{*}" | "{**}" if rest => return refused("nothing variable follows `{**}`"),
            "{**}" => rest = true,
            "{*}" => {}
            other if other.contains(['{', '}']) => return refused("`{*}` and `{**}` are whole segments"),
            other if template && (other.is_empty() || !other.bytes().all(literal)) => {
                return refused("a segment is empty, or has a character that no path has");
            }
            _ => {}
        }
    }
    Ok(())
}

fn condition(fields: &mut Fields<'_, '_>) {
    let key = fields.required("key", condition_key);
    let addresses = matches!(key.as_str(), "source.ip" | "remote.ip" | "destination.ip");
    for name in ["values", "notValues"] {
        fields.optional(name, |value| {
            if addresses {
                return value.items(|value| name::checked(value, name::subnet).value);
            }
            if key == "destination.port" {
                return ports(value).iter().map(u16::to_string).collect();
            }
            patterns(value)
        });
    }
    if !fields.filled("values") && !fields.filled("notValues") {
        fields.missing("", "compares with nothing", "add `values` or `notValues`");
    }
}

fn condition_key(value: Value<'_, '_>) -> String {
    const KEYS: [&str; 12] = [
        "source.ip",
        "remote.ip",
        "source.namespace",
        "source.principal",
        "source.serviceAccount",
        "source.trustDomain",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "destination.ip",
        "destination.port",
        "connection.sni",
    ];
    name::known(value, "a key", |key| {
        let indexed = ["request.headers[", "request.auth.claims[", "experimental.envoy.filters."];
        let within = |start: &&str| {
            let rest = key.strip_prefix(start);
            rest.is_some_and(|rest| !start.ends_with('[') || (rest.ends_with(']') && rest.len() > 1))
        };
        KEYS.contains(&key) || indexed.iter().any(within)
    })
}

//! AuthorizationPolicy: who may do what.
//!
//! Honoured are ALLOW and DENY on all that connections and requests say of themselves. What needs a token or a proxy's word is
//! refused by name and never dropped: a condition that is not carried out would let in more than its author meant.

use std::collections::BTreeMap;

use http::HeaderName;

use super::peer_authentication::selector;
use super::{Code, Fields, Span, Value, choice, name, object, shorten, some_text, text};

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

/// One rule: someone of `from` doing something of `to` when all of `when` hold; an empty list is everyone, everything, always.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Where the rule begins.
    pub span: Span,
    /// Who: each a caller of whom all facts hold.
    pub from: Vec<Vec<Asked<Who>>>,
    /// What: each an operation of which all facts hold.
    pub to: Vec<Vec<Asked<What>>>,
    /// On the caller as well, or on its request's headers.
    pub when_who: Vec<Asked<Who>>,
    /// On what is called as well.
    pub when_what: Vec<Asked<What>>,
}

/// A fact and what it may be: one of `values`, if there are any, and none of `not_values`.
#[derive(Clone, Debug)]
pub struct Asked<F> {
    /// Which fact.
    pub fact: F,
    /// Istio's wildcards (`abc*`, `*abc`, `*`), except for accounts, addresses and ports.
    pub values: Vec<String>,
    /// In the same words.
    pub not_values: Vec<String>,
}

/// A fact about the caller, or a header of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Its identity, without `spiffe://`.
    Principal,
    /// Its identity's namespace.
    Namespace,
    /// `account`, of the policy's namespace, or `namespace/account`.
    ServiceAccount,
    /// Its identity's trust domain.
    TrustDomain,
    /// The address, or range of addresses, at the other end of the connection.
    Address,
    /// A header of that name.
    Header(String),
}

/// A fact about what is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The host, with its port where it was written, in any case.
    Host,
    /// The workload's port.
    Port,
    /// The method.
    Method,
    /// The path: also a template with `{*}` and `{**}`.
    Path,
    /// The address, or range of addresses, at this end of the connection.
    Address,
    /// The server name of the TLS handshake.
    ServerName,
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
    let names_callers = |asked: &Asked<Who>| matches!(asked.fact, Who::Principal | Who::Namespace);
    if custom && policy.rules.iter().flat_map(|rule| &rule.from).flatten().any(names_callers) {
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
    let mut rule = Rule {
        span: fields.span(),
        from: fields.or_default("from", |value| entries(value, "source", source)),
        to: fields.or_default("to", |value| entries(value, "operation", operation)),
        ..Rule::default()
    };
    for condition in fields.list("when", object(condition)).into_iter().flatten() {
        match condition {
            Condition::Who(asked) => rule.when_who.push(asked),
            Condition::What(asked) => rule.when_what.push(asked),
        }
    }
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

fn source(fields: &mut Fields<'_, '_>) -> Vec<Asked<Who>> {
    let asked = [
        asked(fields, Who::Principal, ["principals", "notPrincipals"], patterns),
        asked(fields, Who::Namespace, ["namespaces", "notNamespaces"], patterns),
        asked(fields, Who::ServiceAccount, ["serviceAccounts", "notServiceAccounts"], service_accounts),
        asked(fields, Who::TrustDomain, ["trustDomains", "notTrustDomains"], patterns),
        asked(fields, Who::Address, ["ipBlocks", "notIpBlocks"], subnets),
    ];
    for name in ["requestPrincipals", "notRequestPrincipals"] {
        fields.unsupported(name, patterns);
    }
    for name in ["remoteIpBlocks", "notRemoteIpBlocks"] {
        fields.unsupported(name, subnets);
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
    asked.into_iter().flatten().collect()
}

fn operation(fields: &mut Fields<'_, '_>) -> Vec<Asked<What>> {
    let asked = [
        asked(fields, What::Host, ["hosts", "notHosts"], patterns),
        asked(fields, What::Port, ["ports", "notPorts"], ports),
        asked(fields, What::Method, ["methods", "notMethods"], patterns),
        asked(fields, What::Path, ["paths", "notPaths"], |value| value.items(path)),
    ];
    something(fields, &["ports", "methods", "paths", "hosts"]);
    asked.into_iter().flatten().collect()
}

/// What two fields ask of one fact; none where they ask nothing.
fn asked<F>(
    fields: &mut Fields<'_, '_>,
    fact: F,
    [values, not_values]: [&'static str; 2],
    decode: fn(Value<'_, '_>) -> Vec<String>,
) -> Option<Asked<F>> {
    let (values, not_values) = (fields.or_default(values, decode), fields.or_default(not_values, decode));
    let asks = !values.is_empty() || !not_values.is_empty();
    asks.then_some(Asked { fact, values, not_values })
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

fn service_accounts(value: Value<'_, '_>) -> Vec<String> {
    let good = |account: &str| {
        let parts: Vec<&str> = account.split('/').collect();
        let good = !account.contains('*') && parts.len() <= 2 && parts.iter().all(|part| !part.is_empty());
        good && account.len() <= 320
    };
    value.items(|value| name::known(value, "`name` or `namespace/name`", good))
}

fn subnets(value: Value<'_, '_>) -> Vec<String> {
    value.items(|value| name::checked(value, name::subnet).value)
}

/// Ports are written as text, as everything else that a policy compares.
fn ports(value: Value<'_, '_>) -> Vec<String> {
    value.items(|mut value| {
        let written = text(value.reborrow());
        let good = written.parse::<u16>().is_ok_and(|port| port > 0);
        if !good && value.node.is_some() && !written.is_empty() {
            value.invalid(
                format!("`{}` is not a port", shorten(&written)),
                "write \"1\" to \"65535\", in quotes",
            );
        }
        written
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

/// An entry of `when`: on one side of a call or on the other.
enum Condition {
    Who(Asked<Who>),
    What(Asked<What>),
}

fn condition(fields: &mut Fields<'_, '_>) -> Option<Condition> {
    let key = fields.required("key", condition_key);
    const VALUES: [&str; 2] = ["values", "notValues"];
    let who = match key.as_str() {
        "source.principal" => Some((Who::Principal, patterns as fn(Value<'_, '_>) -> Vec<String>)),
        "source.namespace" => Some((Who::Namespace, patterns as _)),
        "source.serviceAccount" => Some((Who::ServiceAccount, service_accounts as _)),
        "source.trustDomain" => Some((Who::TrustDomain, patterns as _)),
        "source.ip" => Some((Who::Address, subnets as _)),
        _ => header_of(&key).map(|name| (Who::Header(name.to_owned()), patterns as _)),
    };
    let what = match key.as_str() {
        "destination.port" => Some((What::Port, ports as fn(Value<'_, '_>) -> Vec<String>)),
        "destination.ip" => Some((What::Address, subnets as _)),
        "connection.sni" => Some((What::ServerName, patterns as _)),
        _ => None,
    };
    let condition = match (who, what) {
        (Some((fact, decode)), _) => asked(fields, fact, VALUES, decode).map(Condition::Who),
        (None, Some((fact, decode))) => asked(fields, fact, VALUES, decode).map(Condition::What),
        (None, None) => {
            let decode = if key == "remote.ip" { subnets } else { patterns };
            asked(fields, (), VALUES, decode);
            // Another key is none at all, and has been refused as that.
            if ["remote.ip", "request.auth.", "experimental."].iter().any(|known| key.starts_with(known)) {
                let message = format!("`{}` is not honoured by this mesh yet", shorten(&key));
                fields.not_honoured("key", message, "ask for what the connection or the request says");
            }
            None
        }
    };
    if !fields.filled("values") && !fields.filled("notValues") {
        fields.missing("", "compares with nothing", "add `values` or `notValues`");
    }
    condition
}

fn header_of(key: &str) -> Option<&str> {
    key.strip_prefix("request.headers[")?.strip_suffix(']')
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
        let indexed = ["request.auth.claims[", "experimental.envoy.filters."];
        let within = |start: &&str| {
            let rest = key.strip_prefix(start);
            rest.is_some_and(|rest| !start.ends_with('[') || (rest.ends_with(']') && rest.len() > 1))
        };
        let header = header_of(key).is_some_and(|name| HeaderName::try_from(name).is_ok());
        header || KEYS.contains(&key) || indexed.iter().any(within)
    })
}

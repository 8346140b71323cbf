//! RBAC filters become the stages of a policy. What is not understood refuses the whole listener: a condition that was left
//! out would let somebody in.

use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use envoy_types::pb::envoy::config::rbac::v3 as wire;
use envoy_types::pb::envoy::config::rbac::v3::permission::Rule as PermissionRule;
use envoy_types::pb::envoy::config::rbac::v3::principal::Identifier;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action as WireAction;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as RbacFilter;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, path_matcher};
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use envoy_types::pb::google::protobuf::Any;

use super::invalid::{Inside, Invalid, each, nothing_else, unpack};
use super::matchers;
use super::metadata::Facts;
use crate::authz::{Action, Condition, IpRange, PathTemplate, Rule, Stage};
use crate::matcher::HeaderSource;

/// The stage of one filter; none where it enforces nothing. `places` says where each policy came from.
pub(super) fn parse_stage(filter: &Any, places: Facts<'_>) -> Result<Option<Stage>, Invalid> {
    let mut filter: RbacFilter = unpack(filter)?;
    let rules = take(&mut filter.rules);
    filter.rules_stat_prefix.clear();
    filter.track_per_rule_stats = false;
    nothing_else(&filter)?;
    rules.map(|rules| stage(rules, places).inside("rules")).transpose()
}

fn stage(mut wire: wire::Rbac, places: Facts<'_>) -> Result<Stage, Invalid> {
    let action = match WireAction::try_from(take(&mut wire.action)) {
        Ok(WireAction::Allow) => Action::Allow,
        Ok(WireAction::Deny) => Action::Deny,
        _ => return Err(Invalid::new("action", "is neither ALLOW nor DENY")),
    };
    // A map has no order of its own; that of the names makes the rule that is said to have decided the same every time.
    let mut policies: Vec<_> = take(&mut wire.policies).into_iter().collect();
    policies.sort_by(|(one, _), (other, _)| one.cmp(other));
    let rules = policies.into_iter().map(|(name, policy)| {
        let field = format!("policies[{name}]");
        rule(name, policy, places).inside(&field)
    });
    let rules = rules.collect::<Result<_, _>>()?;
    nothing_else(&wire)?;
    Ok(Stage { action, rules })
}

fn rule(name: String, mut wire: wire::Policy, places: Facts<'_>) -> Result<Rule, Invalid> {
    let permission = any_of("permissions", take(&mut wire.permissions), permission)?;
    let principal = any_of("principals", take(&mut wire.principals), principal)?;
    nothing_else(&wire)?;
    Ok(Rule { at: places.text(&name), name: Arc::from(name), permission, principal })
}

fn permission(wire: wire::Permission) -> Result<Condition, Invalid> {
    match wire.rule.ok_or(Invalid::new("rule", "is missing"))? {
        PermissionRule::Any(true) => Ok(Condition::Any),
        PermissionRule::AndRules(set) => all_of("and_rules", set.rules, permission),
        PermissionRule::OrRules(set) => any_of("or_rules", set.rules, permission),
        PermissionRule::NotRule(rule) => Ok(Condition::Not(Box::new(permission(*rule).inside("not_rule")?))),
        PermissionRule::Header(wire) => header(wire).inside("header"),
        PermissionRule::UrlPath(wire) => url_path(wire).inside("url_path"),
        PermissionRule::UriTemplate(wire) => uri_template(wire).inside("uri_template"),
        PermissionRule::DestinationIp(range) => {
            ip_range(range).inside("destination_ip").map(Condition::DestinationIp)
        }
        PermissionRule::RequestedServerName(wire) => {
            matchers::pattern(wire).inside("requested_server_name").map(Condition::ServerName)
        }
        PermissionRule::DestinationPort(port) => Ok(Condition::Port(port..=port)),
        PermissionRule::DestinationPortRange(range) => port_range(range).inside("destination_port_range"),
        other => Err(Invalid::unsupported(&other)),
    }
}

fn principal(wire: wire::Principal) -> Result<Condition, Invalid> {
    match wire.identifier.ok_or(Invalid::new("identifier", "is missing"))? {
        Identifier::Any(true) => Ok(Condition::Any),
        Identifier::AndIds(set) => all_of("and_ids", set.ids, principal),
        Identifier::OrIds(set) => any_of("or_ids", set.ids, principal),
        Identifier::NotId(id) => Ok(Condition::Not(Box::new(principal(*id).inside("not_id")?))),
        Identifier::Header(wire) => header(wire).inside("header"),
        Identifier::UrlPath(wire) => url_path(wire).inside("url_path"),
        Identifier::DirectRemoteIp(range) => {
            ip_range(range).inside("direct_remote_ip").map(Condition::SourceIp)
        }
        Identifier::Authenticated(wire) => {
            let pattern = wire.principal_name.map(matchers::pattern).transpose();
            pattern.inside("authenticated.principal_name").map(Condition::Principal)
        }
        other => Err(Invalid::unsupported(&other)),
    }
}

fn any_of<W>(
    field: &str,
    list: Vec<W>,
    parse: impl Fn(W) -> Result<Condition, Invalid>,
) -> Result<Condition, Invalid> {
    not_empty(field, each(field, list, parse)?).map(Condition::Or)
}

fn all_of<W>(
    field: &str,
    list: Vec<W>,
    parse: impl Fn(W) -> Result<Condition, Invalid>,
) -> Result<Condition, Invalid> {
    not_empty(field, each(field, list, parse)?).map(Condition::And)
}

/// Envoy refuses empty lists; to read one as "everything" or "nothing" would be a guess.
fn not_empty(field: &str, list: Vec<Condition>) -> Result<Vec<Condition>, Invalid> {
    if list.is_empty() { Err(Invalid::new(field, "is empty")) } else { Ok(list) }
}

fn header(wire: HeaderMatcher) -> Result<Condition, Invalid> {
    let header = matchers::header(wire)?;
    match header.source {
        HeaderSource::Path | HeaderSource::Scheme => {
            Err(Invalid::new("name", format!("{} is no fact of a policy", header.source)))
        }
        HeaderSource::Method | HeaderSource::Authority | HeaderSource::Named(_) => {
            Ok(Condition::Header(header))
        }
    }
}

fn url_path(wire: PathMatcher) -> Result<Condition, Invalid> {
    let path_matcher::Rule::Path(path) = wire.rule.ok_or(Invalid::new("path", "is missing"))?;
    matchers::pattern(path).inside("path").map(Condition::Path)
}

fn uri_template(wire: TypedExtensionConfig) -> Result<Condition, Invalid> {
    let config = wire.typed_config.ok_or(Invalid::new("typed_config", "is missing"))?;
    let template: UriTemplateMatchConfig = unpack(&config).inside("typed_config")?;
    let template = PathTemplate::parse(&template.path_template);
    template.map(Condition::PathTemplate).map_err(|error| Invalid::new("path_template", error))
}

/// On the wire the end is the first port that is not in the range.
fn port_range(wire: Int32Range) -> Result<Condition, Invalid> {
    match (u32::try_from(wire.start), u32::try_from(wire.end)) {
        (Ok(start), Ok(end)) if start < end => Ok(Condition::Port(start..=end - 1)),
        _ => Err(Invalid::new("end", "is not beyond the start")),
    }
}

fn ip_range(wire: CidrRange) -> Result<IpRange, Invalid> {
    let network = wire.address_prefix.parse().map_err(|error| Invalid::new("address_prefix", error))?;
    let bits = u8::try_from(wire.prefix_len.map_or(0, |length| length.value)).ok();
    let range = bits.and_then(|bits| IpRange::new(network, bits));
    range.ok_or(Invalid::new("prefix_len", "is longer than the address"))
}

//! The inbound decision: who may call what. Pure, shared by the data path and `explain`.
//!
//! A policy is a row of stages, as Envoy's is a row of RBAC filters: a DENY stage refuses what one of its rules matches, an
//! ALLOW stage refuses what none of its rules matches. What cannot be told (an HTTP condition on plain TCP) counts as met by
//! DENY and as not met by ALLOW, so that ignorance never lets anybody in.

mod condition;
mod path_template;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::canonical::CanonicalPath;
use crate::trace::Trace;

pub use condition::{Condition, IpRange};
use condition::{Facts, Truth};
pub use path_template::{InvalidTemplate, PathTemplate};

/// What a policy sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct InboundFacts<'a> {
    /// The caller's SPIFFE ID without scheme (`cluster.local/ns/default/sa/productpage`), if mTLS proved one.
    pub principal: Option<&'a str>,
    /// The TCP peer.
    pub source_ip: Option<IpAddr>,
    /// The address at the server's end of the connection.
    pub destination_ip: Option<IpAddr>,
    /// The listening (workload) port.
    pub destination_port: u16,
    /// The server name of the TLS handshake; empty where none was sent.
    pub server_name: &'a str,
    /// The HTTP part; absent for TCP.
    pub http: Option<InboundHttp<'a>>,
}

/// The HTTP part of what a policy sees.
#[derive(Debug, Clone, Copy)]
pub struct InboundHttp<'a> {
    /// The method.
    pub method: &'a Method,
    /// The `Host` header or `:authority`.
    pub authority: &'a str,
    /// The path, canonical.
    pub path: CanonicalPath<'a>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Every rule that holds for one listening address, compiled: DENY before ALLOW. Without stages everybody is let in.
#[derive(Debug, Default, Clone)]
pub struct Policy {
    stages: Arc<[Stage]>,
}

/// The rules of one action.
#[derive(Debug)]
pub struct Stage {
    /// What a match means.
    pub action: Action,
    /// Its rules; ALLOW without any refuses everybody.
    pub rules: Vec<Rule>,
}

/// What a matching rule means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Lets in; what no rule matches is refused.
    Allow,
    /// Refuses.
    Deny,
}

/// One rule: it matches where both conditions hold.
#[derive(Debug)]
pub struct Rule {
    /// The policy key, `AuthorizationPolicy/default/reviews rules[0]`.
    pub name: Arc<str>,
    /// `file:line`, where known.
    pub at: Option<Arc<str>>,
    /// What may be called.
    pub permission: Condition,
    /// Who may call.
    pub principal: Condition,
}

/// The answer, naming what decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// Whether the request goes on.
    pub allowed: bool,
    /// The policy key (`AuthorizationPolicy/default/reviews rules[0]`) that decided; none for the default.
    pub rule: Option<&'p str>,
    /// `file:line` of that rule.
    pub at: Option<&'p str>,
}

impl Policy {
    /// A policy of these stages, asked in their order.
    pub fn new(stages: Vec<Stage>) -> Self {
        Self { stages: stages.into() }
    }

    /// Decides on one request.
    pub fn decide(&self, facts: &InboundFacts<'_>, trace: &mut impl Trace) -> Verdict<'_> {
        let facts = Facts::new(facts);
        let mut verdict = Verdict { allowed: true, rule: None, at: None };
        for stage in self.stages.iter() {
            let matched = stage.rules.iter().find(|rule| {
                let matched = rule.matches(&facts, stage.action);
                trace.note(|| rule.finding(&facts, stage.action, matched));
                matched
            });
            let allowed = matched.is_some() == (stage.action == Action::Allow);
            if let Some(rule) = matched {
                verdict = Verdict { allowed, rule: Some(&rule.name), at: rule.at.as_deref() };
            }
            if !allowed {
                if matched.is_none() {
                    trace.note(|| "no ALLOW rule matches".to_owned());
                }
                return Verdict { allowed, ..verdict };
            }
        }
        verdict
    }
}

impl Rule {
    fn matches(&self, facts: &Facts<'_>, action: Action) -> bool {
        let truth = self.permission.holds(facts).min(self.principal.holds(facts));
        match action {
            Action::Allow => truth == Truth::Yes,
            Action::Deny => truth != Truth::No,
        }
    }

    fn finding(&self, facts: &Facts<'_>, action: Action, matched: bool) -> String {
        let action = match action {
            Action::Allow => "ALLOW",
            Action::Deny => "DENY",
        };
        let finding = match matched {
            true => "matches".to_owned(),
            false => {
                let conditions = [&self.principal, &self.permission];
                let unmet = conditions.into_iter().find(|condition| condition.holds(facts) != Truth::Yes);
                unmet.map_or_else(|| "does not match".to_owned(), |condition| condition.mismatch(facts))
            }
        };
        format!("{} ({action}): {finding}", self.name)
    }
}

#[cfg(test)]
mod tests;

//! What the control plane knows of services and callers, held against the words of `mesh split` and `mesh allow`: a name
//! that nothing meets is a document that does nothing, or shuts everybody out, and looks like any other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::connection::Connection;
use super::status::{self, rows};
use super::{Exit, Failure, output};
use crate::model::Labels;

/// What is known at this moment.
pub(super) struct Known {
    status: Value,
    /// Principals, without `spiffe://`.
    callers: BTreeSet<String>,
}

impl Known {
    /// Asks the control plane.
    pub(super) fn read(connection: &Connection) -> Result<Self, Failure> {
        let status = status::read(connection)?;
        let tokens = connection.run(async |mut client| client.list_tokens().await)?;
        let ids = tokens.into_iter().map(|token| token.spiffe_id);
        Ok(Self::new(status, ids))
    }

    fn new(status: Value, ids: impl Iterator<Item = String>) -> Self {
        let of_tokens = ids.filter_map(|id| Some(id.strip_prefix("spiffe://")?.to_owned()));
        let trust_domain = status["trust_domain"].as_str().unwrap_or_default();
        // A token ends before the certificates that came of it.
        let of_certificates = rows(&status["certificates"]).filter_map(|certificate| {
            let (namespace, account) = certificate["identity"].as_str()?.split_once('/')?;
            Some(format!("{trust_domain}/ns/{namespace}/sa/{account}"))
        });
        let callers = of_tokens.chain(of_certificates).collect();
        Self { status, callers }
    }

    /// Which workloads a rule for `host` has to select: those whose grant names it or, where none does, those that its
    /// Service selects.
    pub(super) fn selector(&self, host: &str) -> Option<Labels> {
        let service = self.service(host).filter(|service| service["granted"] == false)?;
        labels(&service["selector"])
    }

    /// What is to be said where nothing is called `host`.
    pub(super) fn unknown_service(&self, host: &str) -> Option<String> {
        if self.service(host).is_some() {
            return None;
        }
        let known = rows(&self.status["services"]).filter_map(|service| service["host"].as_str());
        Some(format!("nothing serves {host}, and no token grants it; known are {}", list(known)))
    }

    /// What is to be said where nobody can be this caller.
    pub(super) fn unknown_caller(&self, principal: &str) -> Option<String> {
        let known = self.callers.iter().map(String::as_str);
        (!self.callers.contains(principal))
            .then(|| format!("no token and no certificate is of {principal}; known are {}", list(known)))
    }

    /// What is to be said where no instance of `host` is of this version.
    pub(super) fn unserved_version(&self, host: &str, version: &str) -> Option<String> {
        let known = || rows(&self.service(host)?["versions"]).map(Value::as_str).collect::<Option<Vec<_>>>();
        let known = known().unwrap_or_default();
        (!known.contains(&version)).then(|| {
            format!(
                "no instance of {host} has joined with `version={version}`: its share is answered with 503 until one has; \
                 known are {}",
                list(known.into_iter())
            )
        })
    }

    /// What is to be said of instances that the Service of `host` selects, and a rule for `selector` does not.
    pub(super) fn unguarded(&self, host: &str, selector: &Labels) -> Option<String> {
        let service = self.service(host)?;
        let selected = labels(&service["selector"])?;
        let carries = |instance: &Value, wanted: &Labels| {
            wanted.iter().all(|(key, value)| instance["labels"][key] == value.as_str())
        };
        let left_out: BTreeSet<&str> = rows(&self.status["instances"])
            .filter(|instance| instance["namespace"] == service["namespace"])
            .filter(|instance| carries(instance, &selected) && !carries(instance, selector))
            .filter_map(|instance| instance["workload"].as_str())
            .collect();
        (!left_out.is_empty()).then(|| {
            format!(
                "this does not hold for {}, which the Service of {host} selects and whose token does not grant it; \
                 next: join with a token that has `--service {host}:PORT`",
                list(left_out.into_iter())
            )
        })
    }

    fn service(&self, host: &str) -> Option<&Value> {
        rows(&self.status["services"]).find(|service| service["host"] == host)
    }
}

/// Prints what is to be said of a change, which makes it a finding; a refused one will do none of it.
pub(super) fn warn(exit: Exit, warnings: impl Iterator<Item = String>) -> Exit {
    if exit == Exit::Failed {
        return exit;
    }
    warnings.fold(exit, |exit, warning| {
        output::say(format_args!("warning: {warning}\n"));
        if exit == Exit::Fine { Exit::Findings } else { exit }
    })
}

/// As many names as one reads.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names[..names.len().min(NAMES_SHOWN_MAX)].join(", ");
    match names.len().checked_sub(NAMES_SHOWN_MAX) {
        _ if names.is_empty() => "none".to_owned(),
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

fn labels(value: &Value) -> Option<Labels> {
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    value.as_object()?.iter().map(text).collect()
}

const NAMES_SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REVIEWS: &str = "reviews.default.svc.cluster.local";
    const DETAILS: &str = "details.default.svc.cluster.local";

    fn known() -> Known {
        let status = json!({
            "trust_domain": "cluster.local",
            "certificates": [{"identity": "web/browser"}],
            "instances": [
                {"workload": "default/facts", "namespace": "default", "labels": {"app": "facts"}},
                {"workload": "web/facts", "namespace": "web", "labels": {"app": "facts"}},
            ],
            "services": [
                {"host": REVIEWS, "namespace": "default", "granted": true, "selector": null, "versions": ["v1"]},
                {"host": DETAILS, "namespace": "default", "granted": false, "selector": {"app": "facts"}, "versions": []},
            ],
        });
        Known::new(status, ["spiffe://cluster.local/ns/default/sa/productpage".to_owned()].into_iter())
    }

    #[track_caller]
    fn check(said: Option<String>, expected: Option<&str>) {
        match expected {
            None => assert_eq!(said, None),
            Some(expected) => assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{said:?}"),
        }
    }

    #[test]
    fn what_nothing_meets_is_told_with_what_there_is() {
        let known = known();
        check(known.unknown_service(REVIEWS), None);
        check(known.unknown_service("reviewz"), Some("known are reviews.default.svc.cluster.local, details"));
        check(known.unknown_caller("cluster.local/ns/default/sa/productpage"), None);
        check(known.unknown_caller("cluster.local/ns/web/sa/browser"), None);
        check(known.unknown_caller("cluster.local/ns/default/sa/browser"), Some("web/sa/browser"));
        check(known.unserved_version(REVIEWS, "v1"), None);
        check(known.unserved_version(REVIEWS, "v2"), Some("known are v1"));
        check(known.unserved_version("reviewz", "v1"), Some("known are none"));
    }

    #[test]
    fn a_rule_selects_by_grant_where_one_names_the_service() {
        let known = known();
        let facts: Labels = [("app".to_owned(), "facts".to_owned())].into();
        assert_eq!(known.selector(REVIEWS), None);
        assert_eq!(known.selector("reviewz"), None);
        assert_eq!(known.selector(DETAILS), Some(facts.clone()));
        check(known.unguarded(DETAILS, &facts), None);
        let other = [("app".to_owned(), "details".to_owned())].into();
        check(known.unguarded(DETAILS, &other), Some("does not hold for default/facts, which"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert!(list(names.iter().map(String::as_str)).ends_with("8, 9 and 2 more"));
        assert_eq!(list(std::iter::empty()), "none");
    }
}

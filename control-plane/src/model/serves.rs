//! The label by which selectors find whoever serves a service: given by the control plane, and by nobody else.
//!
//! A policy for a service has to meet its workloads, and Istio's policies select by labels; but what a token calls `app` is
//! its operator's choice. So each instance carries one label more for each service of its grant:
//! `service.proxyless.mesh/reviews: "true"`.

use super::Labels;
use crate::document::SERVICE_DOMAIN;

/// What the keys of these labels begin with; no token may set one.
const PREFIX: &str = "service.proxyless.mesh/";
const NAME_BYTES_MAX: usize = 63;

/// The label of whoever serves `host` in `namespace`; none for a service of another namespace, since nothing here can serve
/// it, and for a name that is too long for a label.
pub fn serves(host: &str, namespace: &str) -> Option<(String, String)> {
    let home = format!(".{namespace}.svc.{SERVICE_DOMAIN}");
    let away = format!(".svc.{SERVICE_DOMAIN}");
    let name = match host.strip_suffix(&home) {
        Some(name) => name,
        None if host.ends_with(&away) => return None,
        None => host,
    };
    (name.len() <= NAME_BYTES_MAX).then(|| (format!("{PREFIX}{name}"), "true".to_owned()))
}

/// Whether a label is one of these.
pub fn is_serves(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Those of `labels` that are.
pub fn served(labels: &Labels) -> impl Iterator<Item = (String, String)> {
    labels.iter().filter(|(key, _)| is_serves(key)).map(|(key, value)| (key.clone(), value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_at_home_is_called_by_its_short_name() {
        let check = |host: &str, expected: Option<&str>| {
            let key = serves(host, "default").map(|(key, _)| key);
            assert_eq!(key.as_deref(), expected, "{host}");
        };
        check("reviews.default.svc.cluster.local", Some("service.proxyless.mesh/reviews"));
        check("reviews.prod.svc.cluster.local", None);
        check("api.example.com", Some("service.proxyless.mesh/api.example.com"));
        check(&"a".repeat(64), None);
    }
}

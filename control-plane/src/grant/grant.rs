//! What a process may be and do in the mesh, as its operator decided when making the token.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::service::{GrantedService, GrantedServiceError};
use crate::document::{DEFAULT_NAMESPACE, SERVICE_DOMAIN, is_dns_label, is_label_text};
use crate::model::{Caller, ClientKind, is_serves, serves};

/// What a join token gives to whoever joins with it. Plain data: [`check`](Self::check) is held when a token is made,
/// and every other grant descends from a token's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The namespace of its SPIFFE ID.
    pub namespace: String,
    /// The service account of its SPIFFE ID.
    pub service_account: String,
    /// What it may register; empty for a mere client.
    #[serde(default)]
    pub services: Vec<GrantedService>,
    /// What selectors, subsets and `sourceLabels` look at.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `region/zone/subzone`, where the operator said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
}

/// What an operator says of a grant; what is left empty follows from the rest.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Of its SPIFFE ID; `default` where it is empty.
    pub namespace: String,
    /// Of its SPIFFE ID; the first service's name where it is empty.
    pub service_account: String,
    /// What it may register, each as `NAME:PORT`.
    pub services: Vec<String>,
    /// Its labels; `app` is the first service's name where it is not among them.
    pub labels: BTreeMap<String, String>,
    /// `region/zone/subzone`, or empty.
    pub locality: String,
}

impl Wishes {
    /// The grant that is meant; not yet [checked](Grant::check).
    ///
    /// # Errors
    /// Where nobody is named, or a service cannot be completed.
    pub fn complete(self) -> Result<Grant, GrantError> {
        let Self { namespace, service_account, services, mut labels, locality } = self;
        let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { namespace };
        if !is_dns_label(&namespace) {
            return Err(GrantError::Namespace { found: namespace });
        }
        let app = services.first().and_then(|service| service.split(['.', ':']).next());
        let service_account = match app {
            _ if !service_account.is_empty() => service_account,
            Some(app) => app.to_owned(),
            None => return Err(GrantError::Nobody),
        };
        // The label that selectors go by in Istio's examples.
        if let Some(app) = app {
            labels.entry("app".to_owned()).or_insert_with(|| app.to_owned());
        }
        let parse = |service: &String| GrantedService::parse(service, &namespace, SERVICE_DOMAIN);
        Ok(Grant {
            services: services.iter().map(parse).collect::<Result<_, _>>()?,
            labels,
            locality: Some(locality).filter(|locality| !locality.is_empty()),
            namespace,
            service_account,
        })
    }
}

impl Grant {
    /// Holds a grant to the rules for names, labels and sizes.
    ///
    /// # Errors
    /// Names the part that is not legal.
    pub fn check(&self) -> Result<(), GrantError> {
        if !is_dns_label(&self.namespace) {
            return Err(GrantError::Namespace { found: self.namespace.clone() });
        }
        let account = &self.service_account;
        if account.len() > NAME_BYTES_MAX || !account.split('.').all(is_dns_label) {
            return Err(GrantError::ServiceAccount { found: account.clone() });
        }
        if self.services.len() > SERVICES_MAX {
            return Err(GrantError::TooMany { what: "services", max: SERVICES_MAX });
        }
        self.services.iter().try_for_each(GrantedService::check)?;
        let mut met = BTreeSet::new();
        if let Some(twice) = self.services.iter().find(|service| !met.insert(*service)) {
            return Err(GrantError::Twice { service: twice.clone() });
        }
        if self.labels.len() > LABELS_MAX {
            return Err(GrantError::TooMany { what: "labels", max: LABELS_MAX });
        }
        if let Some(key) = self.labels.keys().find(|key| is_serves(key)) {
            return Err(GrantError::ReservedLabel { key: key.clone() });
        }
        if let Some((key, value)) = self.labels.iter().find(|(key, value)| !is_label(key, value)) {
            return Err(GrantError::Label { key: key.clone(), value: value.clone() });
        }
        match &self.locality {
            Some(locality) if !is_locality(locality) => Err(GrantError::Locality { found: locality.clone() }),
            _ => Ok(()),
        }
    }

    /// What selectors meet on its instances: its labels, and one for each service that it may serve.
    pub fn instance_labels(&self) -> BTreeMap<String, String> {
        let served = self.services.iter().filter_map(|service| serves(&service.host, &self.namespace));
        self.labels.clone().into_iter().chain(served).collect()
    }

    /// `reviews-v2` for a grant of `reviews` with the label `version=v2`, as its Deployment would be called.
    pub fn workload_name(&self) -> String {
        let first_label = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
        let app = self.labels.get("app").cloned();
        let service = || self.services.first().map(|service| first_label(&service.host));
        let name = app.or_else(service).unwrap_or_else(|| self.service_account.clone());
        match self.labels.get("version") {
            Some(version) => format!("{name}-{version}"),
            None => name,
        }
    }

    /// Who its holder is to translation.
    pub fn caller(&self) -> Caller {
        Caller {
            namespace: self.namespace.as_str().into(),
            labels: Arc::new(self.instance_labels()),
            locality: self.locality.as_deref().map(Into::into),
            workload: Some(format!("{}/{}", self.namespace, self.workload_name()).into()),
            client: ClientKind::default(),
        }
    }
}

/// Why a grant is not legal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum GrantError {
    #[error("name a service (NAME:PORT) or a service account")]
    Nobody,
    #[error("namespace {found:?} is no DNS label (a-z, 0-9 and dashes inside, at most 63)")]
    Namespace { found: String },
    #[error("service account {found:?} is no DNS name (labels of a-z, 0-9 and dashes inside, at most 253)")]
    ServiceAccount { found: String },
    #[error("label {key}={value} is not legal: letters, digits, dash, underscore and dot inside, at most 63")]
    Label { key: String, value: String },
    #[error(
        "label {key} is the control plane's to give: it says which services a token grants; use --service NAME:PORT"
    )]
    ReservedLabel { key: String },
    #[error("locality {found:?} is not REGION, REGION/ZONE or REGION/ZONE/SUBZONE")]
    Locality { found: String },
    #[error("service {service} is named twice")]
    Twice { service: GrantedService },
    #[error("a grant has at most {max} {what}")]
    TooMany { what: &'static str, max: usize },
    #[error(transparent)]
    Service(#[from] GrantedServiceError),
}

const SERVICES_MAX: usize = 64;
const LABELS_MAX: usize = 64;
/// A DNS name's length.
pub(super) const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Kubernetes' rules for labels: `[prefix/]name`, and a value that may be empty.
fn is_label(key: &str, value: &str) -> bool {
    let key_is_legal = match key.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= NAME_BYTES_MAX && prefix.split('.').all(is_dns_label) && is_label_text(name)
        }
        None => is_label_text(key),
    };
    key_is_legal && (value.is_empty() || is_label_text(value))
}

/// One to three words with a slash between them.
fn is_locality(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word.len() <= LABEL_BYTES_MAX
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    text.split('/').count() <= 3 && text.split('/').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews() -> Grant {
        Grant {
            namespace: "default".into(),
            service_account: "reviews".into(),
            services: vec![GrantedService::parse("reviews:9080", "default", "cluster.local").unwrap()],
            labels: BTreeMap::from([("version".into(), "v2".into())]),
            locality: Some("eu/a".into()),
        }
    }

    #[test]
    fn legal_grants_pass() {
        let check = |bend: fn(&mut Grant)| {
            let mut grant = reviews();
            bend(&mut grant);
            assert_eq!(grant.check(), Ok(()));
        };
        check(|_| {});
        check(|grant| grant.service_account = "a.b-c".into());
        check(|grant| grant.services.clear());
        check(|grant| grant.locality = None);
        check(|grant| grant.locality = Some("r/z/s".into()));
        check(|grant| {
            grant.labels.insert("app.kubernetes.io/name".into(), "X_1".into());
            grant.labels.insert("empty".into(), String::new());
        });
    }

    #[test]
    fn illegal_grants_are_refused_by_part() {
        let check = |bend: &dyn Fn(&mut Grant), expected: &str| {
            let mut grant = reviews();
            bend(&mut grant);
            let error = grant.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        for namespace in ["", "a/b", "Default", "-a", "a-", "a.b"] {
            check(&|grant| grant.namespace = namespace.into(), "namespace");
        }
        for account in ["", "a..b", "a/sa/b", "Ä"] {
            check(&|grant| grant.service_account = account.into(), "service account");
        }
        for (key, value) in [("", "x"), ("k", "-"), ("k", "a b"), ("a/b/c", "x"), ("/k", "x")] {
            check(
                &|grant| {
                    grant.labels.insert(key.into(), value.into());
                },
                "label",
            );
        }
        let reserved = "service.proxyless.mesh/ratings";
        check(
            &|grant| drop(grant.labels.insert(reserved.into(), "true".into())),
            "is the control plane's to give",
        );
        for locality in ["", "/", "a//b", "a/b/c/d", "a b"] {
            check(&|grant| grant.locality = Some(locality.into()), "locality");
        }
        check(&|grant| grant.services[0].host = "Reviews".into(), "service");
        check(&|grant| grant.services[0].port = 0, "service");
        check(&|grant| grant.services = vec![grant.services[0].clone(); 65], "at most 64 services");
        check(&|grant| grant.services.push(grant.services[0].clone()), "cluster.local:9080 is named twice");
        check(
            &|grant| grant.labels = (0..65).map(|n| (format!("k{n}"), String::new())).collect(),
            "at most 64 labels",
        );
    }

    #[test]
    fn instances_are_labelled_by_what_they_may_serve() {
        let mut grant = reviews();
        grant.services.push(GrantedService::parse("ratings.prod:1", "default", "cluster.local").unwrap());
        let labels = grant.instance_labels();
        let expected = [("service.proxyless.mesh/reviews", "true"), ("version", "v2")];
        assert_eq!(labels, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_workload_is_called_as_its_deployment_would_be() {
        let check = |services: &[&str], labels: &[(&str, &str)], expected: &str| {
            let service = |host: &&str| GrantedService { host: (*host).to_owned(), port: 1 };
            let grant = Grant {
                namespace: "default".into(),
                service_account: "bookinfo-reviews".into(),
                services: services.iter().map(service).collect(),
                labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
                locality: None,
            };
            assert_eq!(grant.workload_name(), expected);
        };
        check(&["reviews.default.svc.cluster.local"], &[("version", "v2")], "reviews-v2");
        check(&["reviews.default.svc.cluster.local"], &[("app", "books"), ("version", "v2")], "books-v2");
        check(&["reviews.default.svc.cluster.local"], &[], "reviews");
        check(&[], &[], "bookinfo-reviews");
    }

    #[test]
    fn a_grant_is_read_back_and_unknown_fields_are_refused() {
        let json = serde_json::to_string(&reviews()).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), reviews());
        serde_json::from_str::<Grant>(&json.replace("\"labels\"", "\"lables\"")).unwrap_err();
    }
}

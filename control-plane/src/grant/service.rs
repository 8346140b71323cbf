//! A service and port that a grant lets its holder register.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::grant::NAME_BYTES_MAX;
use crate::document::is_dns_label;
use crate::model;

/// A service and its port, as callers name them.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrantedService {
    /// The full name, lower case (`reviews.default.svc.cluster.local`).
    pub host: String,
    /// The port that callers name.
    pub port: u16,
}

impl GrantedService {
    /// Reads `NAME:PORT`; a short name (`reviews`, `reviews.shop`, `reviews.shop.svc`) is completed with `namespace` and
    /// `domain` (`cluster.local`), any other is a host name already.
    ///
    /// # Errors
    /// When it has another shape.
    pub fn parse(text: &str, namespace: &str, domain: &str) -> Result<Self, GrantedServiceError> {
        let refused = || GrantedServiceError { found: text.into() };
        let (name, port) = text.split_once(':').ok_or_else(refused)?;
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(refused)?;
        let labels: Vec<_> = name.split('.').collect();
        let host = match labels.as_slice() {
            [name] => format!("{name}.{namespace}.svc.{domain}"),
            [name, namespace] | [name, namespace, "svc"] => format!("{name}.{namespace}.svc.{domain}"),
            _ => name.to_owned(),
        };
        let service = Self { host, port };
        service.check().map_err(|_| refused())?;
        Ok(service)
    }

    pub(super) fn check(&self) -> Result<(), GrantedServiceError> {
        let name = self.host.len() <= NAME_BYTES_MAX && self.host.split('.').all(is_dns_label);
        match name && self.port != 0 {
            true => Ok(()),
            false => Err(GrantedServiceError { found: self.to_string() }),
        }
    }
}

/// The services that grants name, each in the namespace of its grant, as the model knows them.
pub fn services(granted: impl IntoIterator<Item = (String, GrantedService)>) -> Vec<model::GrantedService> {
    let mut ports: BTreeMap<(String, String), BTreeSet<u16>> = BTreeMap::new();
    for (namespace, service) in granted {
        ports.entry((service.host, namespace)).or_default().insert(service.port);
    }
    let service = |((host, namespace), ports): ((String, String), BTreeSet<u16>)| model::GrantedService {
        host: host.into(),
        namespace: namespace.into(),
        ports: ports.into_iter().collect(),
    };
    ports.into_iter().map(service).collect()
}

impl fmt::Display for GrantedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A text that names no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("service {found:?} is not NAME:PORT, such as `reviews:9080`")]
pub struct GrantedServiceError {
    /// What was given.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed() {
        fn check(text: &str, host: &str) {
            let service = GrantedService::parse(text, "default", "cluster.local").unwrap();
            assert_eq!((service.host.as_str(), service.port), (host, 1));
        }
        check("reviews:1", "reviews.default.svc.cluster.local");
        check("reviews.shop:1", "reviews.shop.svc.cluster.local");
        check("reviews.shop.svc:1", "reviews.shop.svc.cluster.local");
        check("reviews.shop.svc.cluster.local:1", "reviews.shop.svc.cluster.local");
        check("www.example.com:1", "www.example.com");
    }

    #[test]
    fn other_shapes_are_refused() {
        let texts = [
            "",
            "reviews",
            ":1",
            "reviews:",
            "reviews:0",
            "reviews:+1",
            "reviews:65536",
            "a b:1",
            "*.x:1",
            "A:1",
            "a:1:2",
        ];
        for text in texts {
            let error = GrantedService::parse(text, "default", "cluster.local").unwrap_err();
            assert!(error.to_string().contains("NAME:PORT"), "{error}");
        }
    }
}

//! `mesh allow productpage reviews GET '/reviews/*'`: the AuthorizationPolicy that says so.

use aws_lc_rs::digest;
use serde_json::json;

use super::MADE_BY;
use super::split::name;
use crate::document::qualified;
use crate::model::{Labels, serves};

/// A caller that may call a method and path of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    namespace: String,
    service: String,
    account: String,
    principal: String,
    method: String,
    path: String,
    selector: Labels,
}

/// Why an allowance cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAllowance {
    /// Caller or callee is no name.
    #[error("`{0}` is no workload; write NAME or NAMESPACE/NAME")]
    Workload(String),
    /// The method is none.
    #[error("`{0}` is no method; write GET, POST, … or `*` for any")]
    Method(String),
    /// The path is none.
    #[error("`{0}` is no path; write one that begins with `/`, with `*` at its end for a prefix")]
    Path(String),
}

impl Allow {
    /// Lets `from` (a service account) call `to` (a service), each `NAME` or `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// Where one of the four words is not what it should be.
    pub fn new(
        trust_domain: &str,
        from: &str,
        to: &str,
        method: &str,
        path: &str,
    ) -> Result<Self, NotAnAllowance> {
        let (from_namespace, account) = workload(from)?;
        let (namespace, service) = workload(to)?;
        let selector = serves(&qualified(&service, &namespace), &namespace);
        let selector = selector.ok_or_else(|| NotAnAllowance::Workload(to.to_owned()))?;
        if method != "*" && !method.bytes().all(|byte| byte.is_ascii_uppercase()) || method.is_empty() {
            return Err(NotAnAllowance::Method(method.to_owned()));
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if path != "*" && !path.starts_with('/') || path.len() > PATH_BYTES_MAX || !path.bytes().all(plain) {
            return Err(NotAnAllowance::Path(path.to_owned()));
        }
        let principal = format!("{trust_domain}/ns/{from_namespace}/sa/{account}");
        let (method, path) = (method.to_owned(), path.to_owned());
        Ok(Self { namespace, service, account, principal, method, path, selector: [selector].into() })
    }

    /// The same, for workloads of these labels instead of those whose grant names the service.
    #[must_use]
    pub fn selecting(self, selector: Labels) -> Self {
        Self { selector, ..self }
    }

    /// The labels of the workloads that it holds for.
    pub fn selector(&self) -> &Labels {
        &self.selector
    }

    /// The full name of the service that is called.
    pub fn host(&self) -> String {
        qualified(&self.service, &self.namespace)
    }

    /// The caller without its scheme, as policies name it.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The document's name: the same four words give the same one, so that saying them again changes nothing, and others another.
    pub fn name(&self) -> String {
        let Self { service, account, principal, method, path, .. } = self;
        let words = format!("{principal} {method} {path}");
        let digest = digest::digest(&digest::SHA256, words.as_bytes());
        let short: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("allow-{account}-{service}-{short}")
    }

    /// The document that this allowance is, as `Kind/namespace/name`.
    pub fn document(&self) -> String {
        format!("AuthorizationPolicy/{}/{}", self.namespace, self.name())
    }

    /// The document as YAML.
    pub fn to_yaml(&self) -> String {
        let Self { namespace, principal, method, path, .. } = self;
        // Text in JSON is text in YAML, whatever a Service selects by.
        let label = |(key, value): (&String, &String)| format!("      {}: {}\n", json!(key), json!(value));
        let selector: String = self.selector.iter().map(label).collect();
        let mut operation = Vec::new();
        if method != "*" {
            operation.push(format!("        methods: [\"{method}\"]\n"));
        }
        if path != "*" {
            operation.push(format!("        paths: [\"{path}\"]\n"));
        }
        let to = if operation.is_empty() {
            String::new()
        } else {
            format!("    to:\n    - operation:\n{}", operation.concat())
        };
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: {}\n  namespace: {namespace}\n  \
             labels:\n    {MADE_BY}: allow\nspec:\n  selector:\n    matchLabels:\n{selector}  action: ALLOW\n  \
             rules:\n  - from:\n    - source:\n        principals: [\"{principal}\"]\n{to}",
            self.name()
        )
    }
}

const PATH_BYTES_MAX: usize = 100;

fn workload(text: &str) -> Result<(String, String), NotAnAllowance> {
    let (namespace, workload) = text.split_once('/').unwrap_or(("default", text));
    match (name(namespace), name(workload)) {
        (Ok(namespace), Ok(workload)) => Ok((namespace, workload)),
        _ => Err(NotAnAllowance::Workload(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_named_by_its_principal() {
        let yaml = Allow::new("cluster.local", "web/productpage", "reviews", "GET", "/reviews/*")
            .expect("legal")
            .to_yaml();
        for line in [
            "namespace: default",
            "\"service.proxyless.mesh/reviews\": \"true\"",
            "principals: [\"cluster.local/ns/web/sa/productpage\"]",
            "methods: [\"GET\"]",
            "paths: [\"/reviews/*\"]",
        ] {
            assert!(yaml.contains(line), "{line} in\n{yaml}");
        }
    }

    #[test]
    fn each_allowance_has_a_name_of_its_own() {
        let name = |words: [&str; 4]| {
            let [from, to, method, path] = words;
            Allow::new("cluster.local", from, to, method, path).expect("legal").name()
        };
        let one = name(["productpage", "reviews", "GET", "/reviews/*"]);
        assert!(one.starts_with("allow-productpage-reviews-"), "{one}");
        assert_eq!(one, name(["default/productpage", "default/reviews", "GET", "/reviews/*"]));
        let others = [
            ["productpage", "reviews", "GET", "/reviews"],
            ["productpage", "reviews", "POST", "/reviews/*"],
            ["web/productpage", "reviews", "GET", "/reviews/*"],
        ];
        for other in others {
            assert_ne!(name(other), one, "{other:?}");
        }
    }

    #[test]
    fn any_method_and_path_need_no_operation() {
        let yaml = Allow::new("cluster.local", "a", "b", "*", "*").expect("legal").to_yaml();
        assert!(!yaml.contains("operation"), "{yaml}");
    }

    #[test]
    fn what_could_break_out_of_the_document_is_refused() {
        let check = |words: [&str; 4], expected: NotAnAllowance| {
            let [from, to, method, path] = words;
            assert_eq!(Allow::new("cluster.local", from, to, method, path), Err(expected));
        };
        check(
            ["a", "c.prod.svc.cluster.local", "GET", "/"],
            NotAnAllowance::Workload("c.prod.svc.cluster.local".into()),
        );
        check(["a: b", "c", "GET", "/"], NotAnAllowance::Workload("a: b".into()));
        check(["a", "c", "get", "/"], NotAnAllowance::Method("get".into()));
        check(["a", "c", "GET", "x"], NotAnAllowance::Path("x".into()));
        check(["a", "c", "GET", "/\"]"], NotAnAllowance::Path("/\"]".into()));
    }
}

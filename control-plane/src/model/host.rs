//! Host names as documents write them: short names are completed with the *document's* namespace, wildcards begin a name.
//!
//! Everything that compares hosts goes through here, because a name completed with the caller's namespace instead of the
//! document's is the classic way to send a request to another team's service (ISTIO-FIELDS §2.1).

use std::borrow::Cow;
use std::net::IpAddr;

/// What full names of services end in, after `.svc.`.
pub const DOMAIN: &str = "cluster.local";

/// The full name of `host` as written in a document of `namespace`. A host with a dot is complete already, as are `*`
/// and addresses.
pub fn complete<'h>(host: &'h str, namespace: &str) -> Cow<'h, str> {
    let bare = host.strip_suffix('.').unwrap_or(host);
    if bare == "*" || bare.contains('.') || bare.contains(':') || bare.parse::<IpAddr>().is_ok() {
        return lower(bare);
    }
    Cow::Owned(service_host(&bare.to_ascii_lowercase(), namespace))
}

/// The full name of the service `name` of `namespace`.
pub fn service_host(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.svc.{DOMAIN}")
}

/// Whether `pattern` (a host, `*.suffix` or `*`) covers `host`. A pattern also covers a narrower wildcard.
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// How specific a pattern is: an exact host before any wildcard, a longer wildcard before a shorter.
pub fn specificity(pattern: &str) -> (bool, usize) {
    (!pattern.starts_with('*'), pattern.len())
}

/// Every full name that a caller of `namespace` may mean by `dialled`, the most literal first.
pub fn candidates(dialled: &str, namespace: impl FnOnce() -> String) -> Vec<String> {
    let mut names = vec![dialled.to_owned()];
    if dialled.parse::<IpAddr>().is_ok() || dialled.starts_with('[') {
        return names;
    }
    let labels: Vec<&str> = dialled.split('.').collect();
    match labels[..] {
        [name] => names.push(service_host(name, &namespace())),
        [name, of] => names.push(service_host(name, of)),
        [name, of, "svc"] => names.push(service_host(name, of)),
        _ => {}
    }
    names
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed_with_the_documents_namespace() {
        let check = |host, expected: &str| assert_eq!(complete(host, "prod"), expected);
        check("reviews", "reviews.prod.svc.cluster.local");
        check("Reviews", "reviews.prod.svc.cluster.local");
        check("reviews.test", "reviews.test");
        check("httpbin.org.", "httpbin.org");
        check("*", "*");
        check("*.org", "*.org");
        check("10.0.0.1", "10.0.0.1");
        check("::1", "::1");
    }

    #[test]
    fn wildcards_cover_whole_suffixes() {
        assert!(covers("*", "a.b"));
        assert!(covers("*.b", "a.b"));
        assert!(covers("*.org", "*.app.org"));
        assert!(!covers("*.b", ".b"));
        assert!(!covers("*.b", "b"));
        assert!(covers("a.b", "a.b"));
        assert!(!covers("a.b", "c.a.b"));
        assert!(specificity("a") > specificity("*.very.long.suffix"));
        assert!(specificity("*.app.org") > specificity("*.org"));
    }

    #[test]
    fn a_bare_name_means_the_callers_namespace_only() {
        let check = |dialled, expected: &[&str]| {
            assert_eq!(candidates(dialled, || "web".to_owned()), expected, "{dialled}");
        };
        check("reviews", &["reviews", "reviews.web.svc.cluster.local"]);
        check("reviews.prod", &["reviews.prod", "reviews.prod.svc.cluster.local"]);
        check("reviews.prod.svc", &["reviews.prod.svc", "reviews.prod.svc.cluster.local"]);
        check("reviews.prod.svc.cluster.local", &["reviews.prod.svc.cluster.local"]);
        check("10.0.0.1", &["10.0.0.1"]);
    }
}

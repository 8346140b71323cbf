//! SPIFFE IDs and trust domains that cannot be built unless the SPIFFE standard allows them.
//!
//! Every identity in the mesh is one of these, so the parser is the only place where the standard's rules on characters,
//! segments and length are checked; whoever holds a [`SpiffeId`] need not look again.

use std::{fmt, sync::Arc};

/// The name of a trust domain, such as `cluster.local`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a bare trust domain name (no scheme, no path).
    ///
    /// # Errors
    /// When it is empty, too long, or holds another character than `a-z`, `0-9`, `.`, `-`, `_`.
    pub fn parse(name: &str) -> Result<Self, SpiffeIdError> {
        check_trust_domain(name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A SPIFFE ID, such as `spiffe://cluster.local/ns/default/sa/reviews`. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Where the path begins in `text`; the text's length when there is no path.
    path_start: usize,
}

impl SpiffeId {
    /// Parses a whole SPIFFE ID; an ID without a path (a trust domain's own) is legal.
    ///
    /// # Errors
    /// Names the first rule of the standard that the text breaks.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        if text.len() > ID_BYTES_MAX {
            return Err(SpiffeIdError::TooLong { bytes: text.len() });
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let domain_end = rest.find('/').unwrap_or(rest.len());
        check_trust_domain(&rest[..domain_end])?;
        check_path(&rest[domain_end..])?;
        Ok(Self { text: text.into(), path_start: SCHEME.len() + domain_end })
    }

    /// The identity of a service: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    ///
    /// # Errors
    /// When the namespace or the service account is no legal path segment.
    pub fn workload(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeIdError> {
        Self::of_segments(trust_domain, &["ns", namespace, "sa", service_account])
    }

    /// The reserved identity of a trust domain's control plane, which no grant can name.
    pub fn control_plane(trust_domain: &TrustDomain) -> Self {
        Self::of_segments(trust_domain, &["control-plane"])
            .expect("a fixed legal segment after a legal trust domain of at most 255 bytes")
    }

    /// The identity of an administrator.
    ///
    /// # Errors
    /// When the name is no legal path segment.
    pub fn admin(trust_domain: &TrustDomain, name: &str) -> Result<Self, SpiffeIdError> {
        Self::of_segments(trust_domain, &["admin", name])
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The ID as Istio's policies write it: without `spiffe://`.
    pub fn principal(&self) -> &str {
        &self.text[SCHEME.len()..]
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.path_start]
    }

    /// True when the ID lies in `trust_domain`.
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain() == trust_domain.as_str()
    }

    /// The path with its leading slash; empty when there is none.
    pub fn path(&self) -> &str {
        &self.text[self.path_start..]
    }

    /// The namespace, when the ID has the shape of a workload's.
    pub fn namespace(&self) -> Option<&str> {
        self.workload_segments().map(|(namespace, _)| namespace)
    }

    /// The service account, when the ID has the shape of a workload's.
    pub fn service_account(&self) -> Option<&str> {
        self.workload_segments().map(|(_, service_account)| service_account)
    }

    /// The administrator's name, when the ID has that shape.
    pub fn admin_name(&self) -> Option<&str> {
        self.path().strip_prefix("/admin/").filter(|name| !name.contains('/'))
    }

    /// True for the trust domain's control plane.
    pub fn is_control_plane(&self) -> bool {
        self.path() == "/control-plane"
    }

    fn of_segments(trust_domain: &TrustDomain, segments: &[&str]) -> Result<Self, SpiffeIdError> {
        let mut text = format!("{SCHEME}{}", trust_domain.as_str());
        for segment in segments {
            check_segment(segment)?;
            text.push('/');
            text.push_str(segment);
        }
        if text.len() > ID_BYTES_MAX {
            return Err(SpiffeIdError::TooLong { bytes: text.len() });
        }
        Ok(Self { text: text.into(), path_start: SCHEME.len() + trust_domain.as_str().len() })
    }

    fn workload_segments(&self) -> Option<(&str, &str)> {
        let (namespace, service_account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        let one_each = !namespace.contains('/') && !service_account.contains('/');
        one_each.then_some((namespace, service_account))
    }
}

/// The rule of the SPIFFE ID standard that a text breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SpiffeIdError {
    #[error("a SPIFFE ID cannot be empty")]
    Empty,
    #[error("a SPIFFE ID has at most {ID_BYTES_MAX} bytes, this one {bytes}")]
    TooLong { bytes: usize },
    #[error("a SPIFFE ID begins with `spiffe://`")]
    Scheme,
    #[error("the trust domain is missing")]
    TrustDomainMissing,
    #[error("a trust domain has at most {TRUST_DOMAIN_BYTES_MAX} bytes, this one {bytes}")]
    TrustDomainTooLong { bytes: usize },
    #[error("{found:?} in the trust domain: only a-z, 0-9, dot, dash and underscore are allowed")]
    TrustDomainCharacter { found: char },
    #[error("the path ends with a slash")]
    TrailingSlash,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    #[error("{found:?} in the path: only letters, digits, dot, dash and underscore are allowed")]
    SegmentCharacter { found: char },
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const SCHEME: &str = "spiffe://";
const ID_BYTES_MAX: usize = 2048;
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

fn check_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    if name.is_empty() {
        return Err(SpiffeIdError::TrustDomainMissing);
    }
    if name.len() > TRUST_DOMAIN_BYTES_MAX {
        return Err(SpiffeIdError::TrustDomainTooLong { bytes: name.len() });
    }
    match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
        Some(found) => Err(SpiffeIdError::TrustDomainCharacter { found }),
        None => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(segments) = path.strip_prefix('/') else {
        return Ok(());
    };
    if path.ends_with('/') && !path.ends_with("//") {
        return Err(SpiffeIdError::TrailingSlash);
    }
    segments.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    match segment {
        "" => return Err(SpiffeIdError::EmptySegment),
        "." | ".." => return Err(SpiffeIdError::DotSegment),
        _ => {}
    }
    let illegal = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    match segment.chars().find(illegal) {
        Some(found) => Err(SpiffeIdError::SegmentCharacter { found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        TrustDomain::parse("cluster.local").unwrap()
    }

    #[test]
    fn legal_ids_keep_their_parts() {
        fn check(text: &str, trust_domain: &str, path: &str) {
            let id = SpiffeId::parse(text).unwrap();
            assert_eq!((id.trust_domain(), id.path(), id.as_str()), (trust_domain, path, text));
        }
        check("spiffe://trust", "trust", "");
        check("spiffe://trust/...", "trust", "/...");
        check("spiffe://a_b-c.0/ns/shop/sa/cart", "a_b-c.0", "/ns/shop/sa/cart");
        check("spiffe://trust/UPPER/lower.x", "trust", "/UPPER/lower.x");
    }

    #[test]
    fn illegal_ids_are_refused_by_rule() {
        fn check(text: &str, expected: SpiffeIdError) {
            assert_eq!(SpiffeId::parse(text), Err(expected), "{text:?}");
        }
        check("", SpiffeIdError::Empty);
        check("SPIFFE://trust/a", SpiffeIdError::Scheme);
        check("https://trust/a", SpiffeIdError::Scheme);
        check("spiffe:///a", SpiffeIdError::TrustDomainMissing);
        check("spiffe://Trust/a", SpiffeIdError::TrustDomainCharacter { found: 'T' });
        check("spiffe://trust:1/a", SpiffeIdError::TrustDomainCharacter { found: ':' });
        check("spiffe://u@trust/a", SpiffeIdError::TrustDomainCharacter { found: '@' });
        check("spiffe://trust/", SpiffeIdError::TrailingSlash);
        check("spiffe://trust/a/", SpiffeIdError::TrailingSlash);
        check("spiffe://trust//", SpiffeIdError::EmptySegment);
        check("spiffe://trust/a//b", SpiffeIdError::EmptySegment);
        check("spiffe://trust/a/../b", SpiffeIdError::DotSegment);
        check("spiffe://trust/a?q", SpiffeIdError::SegmentCharacter { found: '?' });
        check("spiffe://trust/a%20", SpiffeIdError::SegmentCharacter { found: '%' });
        check("spiffe://trust/ä", SpiffeIdError::SegmentCharacter { found: 'ä' });
        let long = format!("spiffe://trust/{}", "a".repeat(2048));
        check(&long, SpiffeIdError::TooLong { bytes: long.len() });
        let domain = "a".repeat(256);
        check(&format!("spiffe://{domain}/a"), SpiffeIdError::TrustDomainTooLong { bytes: 256 });
    }

    #[test]
    fn a_workload_is_told_from_the_reserved_identities() {
        let workload = SpiffeId::workload(&domain(), "default", "reviews").unwrap();
        assert_eq!(workload.principal(), "cluster.local/ns/default/sa/reviews");
        assert_eq!(workload.namespace(), Some("default"));
        assert_eq!(workload.service_account(), Some("reviews"));
        assert!(!workload.is_control_plane());

        let control_plane = SpiffeId::control_plane(&domain());
        assert!(control_plane.is_control_plane());
        assert_eq!((control_plane.namespace(), control_plane.service_account()), (None, None));

        let admin = SpiffeId::admin(&domain(), "root").unwrap();
        assert_eq!((admin.admin_name(), admin.namespace()), (Some("root"), None));
        assert_eq!(workload.admin_name(), None);
    }

    #[test]
    fn a_name_cannot_smuggle_in_segments() {
        assert!(SpiffeId::workload(&domain(), "default/sa/x", "reviews").is_err());
        assert!(SpiffeId::workload(&domain(), "default", "..").is_err());
        assert!(SpiffeId::admin(&domain(), "a/b").is_err());
        assert_eq!(SpiffeId::parse("spiffe://t/ns/a/sa/b/c").unwrap().service_account(), None);
        assert_eq!(SpiffeId::parse("spiffe://t/ns/a/b/sa/c").unwrap().namespace(), None);
    }
}

//! Which authority a request names, where `:authority`, an absolute target and `Host` may each say one. Two answers to that
//! question are how one hop is made to judge another host than the next one serves, so there is only one, or none.

use http::header::HOST;
use http::{HeaderMap, Uri};

use super::NotCanonical;

/// The authority of a received request: that of the target (`:authority` in HTTP/2), else the `Host` header. Where both are
/// there they must agree.
///
/// # Errors
/// Where there is none, `Host` is repeated, the two differ, or the text can be no authority.
pub fn inbound_authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, NotCanonical> {
    let target = uri.authority().map(|authority| authority.as_str());
    let authority = match (target, single_host(headers)?) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            return Err(NotCanonical("`Host` names another host than the target"));
        }
        (Some(target), _) => target,
        (None, Some(host)) => host,
        (None, None) => return Err(NotCanonical("the request names no host")),
    };
    checked(authority)
}

/// The authority that a request about to be sent says: its `Host` header where the caller set one, else the authority that it
/// dials. The two may differ, for what is dialled chooses the destination and `Host` is only told to it.
///
/// # Errors
/// Where there is none, `Host` is repeated, or the text can be no authority.
pub fn outbound_authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, NotCanonical> {
    let dialled = uri.authority().map(|authority| authority.as_str());
    let authority = single_host(headers)?.or(dialled).ok_or(NotCanonical("the request names no host"))?;
    checked(authority)
}

fn single_host(headers: &HeaderMap) -> Result<Option<&str>, NotCanonical> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(NotCanonical("`Host` is repeated"));
    }
    host.to_str().map(Some).map_err(|_| NotCanonical("`Host` is not ASCII"))
}

fn checked(authority: &str) -> Result<&str, NotCanonical> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&b);
    if authority.is_empty() || !authority.bytes().all(legal) {
        return Err(NotCanonical("the host has a character that no host can have"));
    }
    Ok(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, hosts: &[&str]) -> (Uri, HeaderMap) {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().expect("header value"));
        }
        (uri.parse().expect("uri"), headers)
    }

    #[track_caller]
    fn check(uri: &str, hosts: &[&str], inbound: Option<&str>, outbound: Option<&str>) {
        let (uri, headers) = request(uri, hosts);
        assert_eq!(inbound_authority(&uri, &headers).ok(), inbound);
        assert_eq!(outbound_authority(&uri, &headers).ok(), outbound);
    }

    #[test]
    fn one_authority_is_found_where_it_stands() {
        check("/x", &["reviews:9080"], Some("reviews:9080"), Some("reviews:9080"));
        check("http://reviews:9080/x", &[], Some("reviews:9080"), Some("reviews:9080"));
        check("http://reviews:9080/x", &["Reviews:9080"], Some("reviews:9080"), Some("Reviews:9080"));
    }

    #[test]
    fn two_authorities_are_refused_on_the_way_in() {
        check("http://reviews:9080/x", &["other"], None, Some("other"));
        check("/x", &["a", "a"], None, None);
        check("http://a/x", &["a", "b"], None, None);
    }

    #[test]
    fn no_authority_or_an_impossible_one_is_refused() {
        check("/x", &[], None, None);
        check("/x", &[""], None, None);
        check("/x", &["user@a"], None, None);
        check("/x", &["a,b"], None, None);
        check("/x", &["a b"], None, None);
        check("/x", &["a/b"], None, None);
    }
}

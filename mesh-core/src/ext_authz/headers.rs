//! Which headers of an answer go on, and how many.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

use super::NoVerdict;

/// Whether a request that may go on can be given the header: not what concerns one hop, the answer's own body, whom the request is
/// for, the protocol's own book-keeping, or what the mesh alone says.
pub(super) fn may_go_on(name: &HeaderName) -> bool {
    ![CONTENT_TYPE, CONTENT_ENCODING].contains(name) && may_be_told(name)
}

/// Whether a caller that is denied can be told the header. It gets the answer's body, and so what that body is.
pub(super) fn may_be_told(name: &HeaderName) -> bool {
    let reserved = ["x-mesh-", "grpc-"].iter().any(|prefix| name.as_str().starts_with(prefix));
    let names_host = *name == HOST || name.as_str() == "authority";
    !reserved && !names_host && *name != CONTENT_LENGTH && !is_of_one_hop(name)
}

/// Whether it concerns one hop alone (RFC 9110, 7.6.1).
pub(super) fn is_of_one_hop(name: &HeaderName) -> bool {
    let named = ["keep-alive", "proxy-connection"].contains(&name.as_str());
    named || [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
}

/// Whether the answer's own `connection` header names it as of one hop.
pub(super) fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|names| names.split(',')).any(|other| other.trim().eq_ignore_ascii_case(name.as_str()))
}

/// Counts the headers that an answer sets.
#[derive(Default)]
pub(super) struct Budget {
    count: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn take(&mut self, name: &str, value: &[u8]) -> Result<(), NoVerdict> {
        self.count += 1;
        self.bytes += name.len() + value.len();
        if self.count > HEADERS_MAX || self.bytes > HEADER_BYTES_MAX {
            let limit = format!("more than {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes of them");
            return Err(NoVerdict::new(limit));
        }
        Ok(())
    }
}

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;

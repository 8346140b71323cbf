//! HTTP as this server speaks it: versions, and what bounds a connection that means us no good.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use crate::connection::Protocol;

/// hyper's settings for each thing that a handshake can tell about the version.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    http1: Builder<TokioExecutor>,
    http2: Builder<TokioExecutor>,
    either: Builder<TokioExecutor>,
}

impl Http {
    pub(crate) fn new() -> Self {
        let either = bounded();
        Self { http1: either.clone().http1_only(), http2: either.clone().http2_only(), either }
    }

    pub(crate) fn of(&self, protocol: Protocol) -> &Builder<TokioExecutor> {
        match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
            Protocol::Unknown => &self.either,
        }
    }
}

fn bounded() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    // Against rapid resets hyper's own limits hold: so many refused streams, and the connection is closed.
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .enable_connect_protocol();
    builder
}

/// How long a plaintext peer may take to its first request; HTTP/1 and HTTP/2 have no limit before they are told apart.
pub(crate) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Also how long an HTTP/1 connection may idle between requests.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 64 * 1024;
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
const CONCURRENT_STREAMS_MAX: u32 = 1024;
/// A peer that vanished without a word is found after interval and timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

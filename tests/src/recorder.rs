//! A service that notes all of what reached it, for tests that ask what a receiver saw and not what a caller was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_server::{Conn, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// By this header of a request a test finds what became of it.
pub const CALL: &str = "x-test-call";

/// What came to one of the services that share a recorder, in the order of its coming.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    answer: HeaderMap,
}

/// A request as an application got it, or a connection of bytes, of which all but the first three fields is empty.
#[derive(Debug, Clone)]
pub struct Received {
    /// Where the application listens.
    pub address: SocketAddr,
    /// The caller, as its certificate proved it.
    pub principal: Option<String>,
    /// The value of [`CALL`], or all bytes of a connection as [`spelled`].
    pub call: String,
    /// The method.
    pub method: String,
    /// The `host` header's or `:authority`'s.
    pub authority: String,
    /// The path with its query.
    pub path: String,
    /// All headers but the authority's and [`CALL`].
    pub headers: Vec<(String, String)>,
}

impl Recorder {
    /// An application that listens at `address`.
    pub fn router(&self, address: SocketAddr) -> Router {
        let recorder = self.clone();
        Router::new().fallback(move |peer: Peer, request: Request| {
            let answer = recorder.note(address, &peer, &request);
            std::future::ready(answer)
        })
    }

    /// An application that listens at `address` and sends back the bytes of a connection, once it has read the last of them.
    pub async fn echo(&self, address: SocketAddr, mut conn: Conn) {
        let mut read = Vec::new();
        // A connection that breaks off has reached the application all the same.
        let _ = conn.read_to_end(&mut read).await;
        let received = Received::of_bytes(address, conn.peer(), &read);
        self.state().received.push(received);
        if conn.write_all(&read).await.is_ok() {
            // The caller may have gone by now.
            let _ = conn.shutdown().await;
        }
    }

    /// Sends these headers with each answer from now on.
    pub fn answer_with(&self, headers: HeaderMap) {
        self.state().answer = headers;
    }

    /// What came of a call, and of its copies.
    pub fn received(&self, call: &str) -> Vec<Received> {
        self.state().received.iter().filter(|one| one.call == call).cloned().collect()
    }

    /// All that has come.
    pub fn all(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// Forgets what has come.
    pub fn clear(&self) {
        self.state().received.clear();
    }

    fn note(&self, address: SocketAddr, peer: &Peer, request: &Request) -> Response {
        let received = Received::of(address, peer, request);
        let mut state = self.state();
        state.received.push(received);
        let mut response = "received\n".into_response();
        if mesh_core::status::is_grpc(request.headers()) {
            // An answer that has no message says its status with its head.
            response = ().into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response.headers_mut().insert(GRPC_STATUS, HeaderValue::from_static("0"));
        }
        response.headers_mut().extend(state.answer.clone());
        response
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    fn of(address: SocketAddr, peer: &Peer, request: &Request) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let named = |name: &HeaderName| request.headers().get(name).map(text).unwrap_or_default();
        let said = request.uri().authority().map(ToString::to_string);
        let headers = request.headers().iter().filter(|(name, _)| **name != HOST && name.as_str() != CALL);
        Self {
            address,
            principal: peer.principal().map(str::to_owned),
            call: named(&HeaderName::from_static(CALL)),
            method: request.method().to_string(),
            authority: said.unwrap_or_else(|| named(&HOST)),
            path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }

    fn of_bytes(address: SocketAddr, peer: &Peer, bytes: &[u8]) -> Self {
        Self {
            address,
            principal: peer.principal().map(str::to_owned),
            call: spelled(bytes),
            method: String::new(),
            authority: String::new(),
            path: String::new(),
            headers: Vec::new(),
        }
    }
}

/// Bytes in hexadecimal.
pub fn spelled(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

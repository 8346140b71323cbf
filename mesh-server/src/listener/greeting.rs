//! Whose TLS begins on a port that carries bytes: the mesh's, which ends here, or the application's own, which passes.
//!
//! Behind a sidecar the two are told apart by ALPN under `PERMISSIVE`, and so they are here. What has been read of a greeting
//! that is not ours goes on to the application.

use std::io;

use mesh_core::identity::ALPN_OPAQUE;
use mesh_core::network::Socket;
use rustls::server::{Accepted, Acceptor};
use tokio::io::AsyncReadExt;

use super::handshake::Closed;

/// What a TLS client begins with.
pub(super) enum Greeting {
    /// The mesh's; boxed, for it is large.
    Ours(Box<Accepted>),
    /// Somebody's, with the bytes that were read of it.
    Theirs(Vec<u8>),
}

/// Reads until it can be said; the caller puts a time limit on it.
pub(super) async fn read(socket: &mut Socket) -> Result<Greeting, Closed> {
    let mut acceptor = Acceptor::default();
    let mut seen = Vec::new();
    while seen.len() < GREETING_BYTES_MAX {
        let before = seen.len();
        if socket.read_buf(&mut seen).await.map_err(Closed::Gone)? == 0 {
            return Err(Closed::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut fresh = &seen[before..];
        while !fresh.is_empty() {
            // It reads from memory; what it does not take is no greeting, as the next line says.
            if acceptor.read_tls(&mut fresh).is_err() {
                return Ok(Greeting::Theirs(seen));
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) if is_ours(&accepted) => return Ok(Greeting::Ours(Box::new(accepted))),
                Ok(Some(_)) | Err(_) => return Ok(Greeting::Theirs(seen)),
            }
        }
    }
    Ok(Greeting::Theirs(seen))
}

/// By the protocol that is offered or, so that a caller with the wrong one is told so, by the name that only the mesh sends.
fn is_ours(accepted: &Accepted) -> bool {
    let hello = accepted.client_hello();
    let by_protocol = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == ALPN_OPAQUE));
    by_protocol || hello.server_name().is_some_and(|name| name.starts_with(MESH_NAME))
}

/// What the server names of clusters begin with, Istio's as well as ours.
const MESH_NAME: &str = "outbound_.";
/// A greeting is one record in all but strange cases, and a record has at most 16 KiB.
const GREETING_BYTES_MAX: usize = 64 * 1024;

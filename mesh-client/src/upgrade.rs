//! Requests that ask to leave HTTP: WebSocket handshakes, the only ones that pass (`mesh_core::upgrade` says why).
//!
//! Such a request is routed as any other, on a connection of HTTP/1.1 that is made for it alone. The answer 101 hands the connection over
//! (`hyper::upgrade::on(response)`): from then on it is the caller's, no timeout of a route ends it, and the endpoint counts
//! it as a request in flight until it is closed. Every other answer is an ordinary response.

use std::sync::{Arc, OnceLock};

use http::{Response, StatusCode, header};
use mesh_core::balance::InFlight;
use mesh_core::upgrade::{asks_for_websocket, names_websocket};

use crate::body::RequestBody;
use crate::connection::Outgoing;

/// What a request asks its connection to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// What it is.
    Nothing,
    /// A WebSocket.
    WebSocket,
}

/// Where the place of a handed over connection in the endpoint's count is kept. The connection's bytes hold it, since they are all that
/// its new owner has for certain.
pub(crate) type Place = OnceLock<InFlight>;

impl Upgrade {
    /// What passes of what the caller asks for. A body may come unannounced.
    pub(crate) fn of(request: &Outgoing) -> Self {
        let is_empty = matches!(request.body, RequestBody::Empty);
        if is_empty && asks_for_websocket(&request.head) { Self::WebSocket } else { Self::Nothing }
    }

    /// Whether a response does no more than was asked for.
    ///
    /// # Errors
    /// What the endpoint wants to speak from here on.
    pub(crate) fn admits<B>(self, response: &Response<B>) -> Result<(), Arc<str>> {
        let headers = response.headers();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            || self == Self::WebSocket && names_websocket(headers)
        {
            return Ok(());
        }
        let protocol = headers.get(header::UPGRADE).and_then(|protocol| protocol.to_str().ok());
        Err(protocol.unwrap_or("something without a name").into())
    }
}

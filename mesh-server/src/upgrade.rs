//! Leaving HTTP: who may, and what is left of the server's hold on a connection that did.
//!
//! A request that is no WebSocket handshake loses the means to leave, so that no application takes a connection out of the
//! policy's sight (`mesh_core::upgrade`). Once an application has taken a connection over, the server still knows of it: it waits for it when
//! it drains, and cuts it at the deadline.
//!
//! ```text
//!   drive ── Tether ─┐ cut, when it is dropped
//!                    ▼
//!   application ── Tethered bytes ── socket
//!                    │ closed, when they are dropped
//!   drive ◄──────────┘
//! ```

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use http::Method;
use http::header::UPGRADE;
use http::request::Parts;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use mesh_core::upgrade::{WEBSOCKET, asks_for_websocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Takes from a request what would let the application leave HTTP by it, unless it is a WebSocket handshake: of HTTP/1.1, or of
/// HTTP/2 (RFC 8441).
pub(crate) fn strip(parts: &mut Parts) {
    let is_connect = parts.method == Method::CONNECT;
    if !is_connect && !parts.headers.contains_key(UPGRADE) {
        return;
    }
    let extended = parts.extensions.get::<Protocol>();
    let is_websocket = match is_connect {
        true => extended.is_some_and(|protocol| protocol.as_str() == WEBSOCKET),
        false => asks_for_websocket(parts),
    };
    if !is_websocket {
        parts.headers.remove(UPGRADE);
        parts.extensions.remove::<OnUpgrade>();
    }
}

/// The server's hold on a connection's bytes; they are cut when it is dropped.
#[derive(Debug)]
pub(crate) struct Tether(Arc<Hold>);

/// A connection's bytes.
#[derive(Debug)]
pub(crate) struct Tethered<I> {
    io: I,
    hold: Arc<Hold>,
}

/// What both know.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// The application reads and writes by now, in tasks that the server does not know.
    handed_over: AtomicBool,
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    closed: Notify,
}

impl Tether {
    /// For those by whose doing the bytes are handed over.
    pub(crate) fn hold(&self) -> Arc<Hold> {
        Arc::clone(&self.0)
    }

    /// Waits until the bytes are dropped.
    pub(crate) async fn closed(&self) {
        self.0.closed.notified().await;
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }
}

impl<I> Tethered<I> {
    pub(crate) fn new(io: I) -> (Self, Tether) {
        let hold = Arc::<Hold>::default();
        (Self { io, hold: Arc::clone(&hold) }, Tether(hold))
    }

    pub(crate) fn io(&self) -> &I {
        &self.io
    }
}

impl<I> Drop for Tethered<I> {
    fn drop(&mut self) {
        self.hold.closed.notify_one();
    }
}

impl Hold {
    /// From here on whoever waits for the bytes is woken when they are cut. Said before they are handed over.
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    /// Reads or writes, unless the bytes are cut before or meanwhile.
    fn watch<T>(
        &self,
        waker: &AtomicWaker,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.cut.load(Ordering::Acquire) {
            return Poll::Ready(Err(cut()));
        }
        let done = act(cx);
        if done.is_ready() || !self.handed_over.load(Ordering::Acquire) {
            return done;
        }
        // Registered before the second look, so that a cut between the two is not missed.
        waker.register(cx.waker());
        if self.cut.load(Ordering::Acquire) { Poll::Ready(Err(cut())) } else { done }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the server ended before the upgraded connection did")
}

impl<I: AsyncRead + Unpin> AsyncRead for Tethered<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, hold } = self.get_mut();
        hold.watch(&hold.reader, cx, |cx| Pin::new(io).poll_read(cx, buffer))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Tethered<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, hold } = self.get_mut();
        hold.watch(&hold.writer, cx, |cx| Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, hold } = self.get_mut();
        hold.watch(&hold.writer, cx, |cx| Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, hold } = self.get_mut();
        hold.watch(&hold.writer, cx, |cx| Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, hold } = self.get_mut();
        hold.watch(&hold.writer, cx, |cx| Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// Whether header and means are left to a request that has them.
    #[track_caller]
    fn check(mut request: http::request::Builder, expected: bool) {
        let offered = hyper::upgrade::on(Request::new(()));
        request = request.extension(offered);
        let (mut parts, ()) = request.body(()).expect("the test's request").into_parts();
        let asked = parts.headers.contains_key(UPGRADE);
        strip(&mut parts);
        assert_eq!(parts.extensions.get::<OnUpgrade>().is_some(), expected, "{parts:?}");
        assert_eq!(parts.headers.contains_key(UPGRADE), asked && expected, "{parts:?}");
    }

    #[test]
    fn a_websocket_handshake_may_leave_http_and_nothing_else() {
        let asking =
            |protocol: &str| Request::get("/").header("connection", "upgrade").header("upgrade", protocol);
        check(asking("websocket"), true);
        for protocol in ["h2c", "websocket, h2c", "TLS/1.3", ""] {
            check(asking(protocol), false);
        }
        check(asking("websocket").header("content-length", "7"), false);
        let connect = || Request::connect("http://reviews:9080/").version(http::Version::HTTP_2);
        check(connect().extension(Protocol::from_static("websocket")), true);
        check(connect().extension(Protocol::from_static("connect-udp")), false);
        check(Request::connect("reviews:9080"), false);
        check(asking("websocket").method(Method::CONNECT), false);
    }
}

//! An accepted connection: bytes after the handshake, together with what the handshake proved.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::connect_info;
use axum::serve::IncomingStream;
use mesh_core::network::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::listener::MeshListener;
use crate::peer::Peer;

/// A connection that was let in; closed on drop.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    peer: Peer,
    /// Its place under `connections_max`, given back on drop.
    _place: OwnedSemaphorePermit,
}

/// What is known of the HTTP version before the first byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Negotiated by ALPN, or TLS without ALPN, which means HTTP/1.1.
    Http1,
    /// Negotiated by ALPN.
    Http2,
    /// Plaintext: the first bytes will tell.
    Unknown,
}

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    /// TLS that passes to the application, and what has been read of it already.
    Seen {
        seen: Vec<u8>,
        socket: Socket,
    },
    /// Boxed: a TLS state is a kilobyte, and a connection is moved several times before it rests.
    Tls(Box<TlsStream<Socket>>),
}

impl Conn {
    pub(crate) fn new(stream: Stream, peer: Peer, place: OwnedSemaphorePermit) -> Self {
        Self { stream, peer, _place: place }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match &self.stream {
            Stream::Plain(_) | Stream::Seen { .. } => Protocol::Unknown,
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => Protocol::Http2,
            Stream::Tls(_) => Protocol::Http1,
        }
    }
}

impl Connected for Conn {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl connect_info::Connected<IncomingStream<'_, MeshListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, MeshListener>) -> Self {
        stream.io().peer.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Seen { seen, .. } if !seen.is_empty() => {
                let length = seen.len().min(buffer.remaining());
                buffer.put_slice(&seen[..length]);
                seen.drain(..length);
                Poll::Ready(Ok(()))
            }
            Stream::Plain(stream) | Stream::Seen { socket: stream, .. } => {
                Pin::new(stream).poll_read(cx, buffer)
            }
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) | Stream::Seen { socket: stream, .. } => {
                Pin::new(stream).poll_write(cx, bytes)
            }
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) | Stream::Seen { socket: stream, .. } => {
                Pin::new(stream).poll_write_vectored(cx, slices)
            }
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) | Stream::Seen { socket: stream, .. } => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) | Stream::Seen { socket: stream, .. } => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) | Stream::Seen { socket: stream, .. } => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

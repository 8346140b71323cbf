//! One connection's bytes, from whichever network.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::resource::TcpKeepAlive;

/// A connection before TLS.
#[derive(Debug)]
pub enum Socket {
    /// The kernel's.
    Tcp(TcpStream),
    /// The kernel's, to a process of this host.
    Unix(UnixStream),
    /// This process's; boxed, so that tests cost real sockets no bytes.
    Memory(Box<Pipe>),
}

/// What is expected of a peer that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Its host is there. It may read as slowly as it likes, for whoever speaks with it may know why.
    Host,
    /// It reads as well what is sent to it (on Linux alone).
    Reader,
}

/// One end of a connection within the process.
#[derive(Debug)]
pub struct Pipe {
    stream: DuplexStream,
    local: SocketAddr,
    /// What has been looked at and not yet read.
    first: Option<u8>,
}

impl From<Pipe> for Socket {
    fn from(pipe: Pipe) -> Self {
        Self::Memory(Box::new(pipe))
    }
}

impl Pipe {
    /// The two ends of a connection between two addresses.
    pub(super) fn pair(first: SocketAddr, second: SocketAddr) -> (Self, Self) {
        let (left, right) = tokio::io::duplex(PIPE_BYTES_MAX);
        let end = |stream, local| Self { stream, local, first: None };
        (end(left, first), end(right, second))
    }
}

impl Socket {
    /// Has bytes sent as they are written. Without it a handshake waits for delayed acknowledgements: 44 ms instead of 0.7 ms.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_nodelay(true),
            Self::Unix(_) | Self::Memory(_) => Ok(()),
        }
    }

    /// Has the kernel end the connection with an error within 15 s of the peer's death, of which nobody else would tell where its
    /// host is gone or packets pass in one direction only. A protocol that can ask the peer itself finds more.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn expect(&self, liveness: Liveness) -> io::Result<()> {
        let Self::Tcp(tcp) = self else { return Ok(()) };
        let socket = SockRef::from(tcp);
        let probes = TcpKeepalive::new().with_time(IDLE_TIME).with_interval(PROBE_INTERVAL);
        socket.set_tcp_keepalive(&probes.with_retries(PROBES_MAX))?;
        #[cfg(target_os = "linux")]
        if liveness == Liveness::Reader {
            socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        }
        #[cfg(not(target_os = "linux"))]
        let _ = liveness;
        Ok(())
    }

    /// Has the kernel look whether the peer is there while nothing is sent.
    ///
    /// # Errors
    /// Where the connection is gone, or the kernel does not take the times.
    pub fn set_keep_alive(&self, keep_alive: &TcpKeepAlive) -> io::Result<()> {
        let Self::Tcp(tcp) = self else { return Ok(()) };
        let mut probing = TcpKeepalive::new();
        if let Some(time) = keep_alive.time {
            probing = probing.with_time(time);
        }
        if let Some(interval) = keep_alive.interval {
            probing = probing.with_interval(interval);
        }
        if let Some(probes) = keep_alive.probes {
            probing = probing.with_retries(probes);
        }
        SockRef::from(tcp).set_tcp_keepalive(&probing)
    }

    /// The address at this end.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr(),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Memory(pipe) => Ok(pipe.local),
        }
    }

    /// Waits for the first byte and leaves it unread; none where the peer sends nothing more.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn peek(&mut self) -> io::Result<Option<u8>> {
        let mut first = [0; 1];
        match self {
            Self::Tcp(tcp) => Ok((tcp.peek(&mut first).await? > 0).then_some(first[0])),
            // They are only connected to, and whoever accepts looks.
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Memory(pipe) => {
                if pipe.first.is_none() && pipe.stream.read(&mut first).await? > 0 {
                    pipe.first = Some(first[0]);
                }
                Ok(pipe.first)
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
            Self::Memory(pipe) => {
                if buffer.remaining() > 0
                    && let Some(first) = pipe.first.take()
                {
                    buffer.put_slice(&[first]);
                    return Poll::Ready(Ok(()));
                }
                Pin::new(&mut pipe.stream).poll_read(cx, buffer)
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Self::Memory(pipe) => Pin::new(&mut pipe.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
            Self::Memory(pipe) => Pin::new(&mut pipe.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Unix(unix) => unix.is_write_vectored(),
            Self::Memory(pipe) => pipe.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Self::Memory(pipe) => Pin::new(&mut pipe.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Memory(pipe) => Pin::new(&mut pipe.stream).poll_shutdown(cx),
        }
    }
}

/// After how long without a packet the kernel begins to ask whether the peer's host is there.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// How often it asks, and how many questions in a row may remain without answer: 5 s and 3 × 3 s are 14 s.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);
const PROBES_MAX: u32 = 3;
/// For how long what was sent may remain unacknowledged, or the peer's window closed. Without it the kernel sends again for a
/// quarter of an hour, and asks nothing meanwhile.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
/// What one end may write before the other reads.
const PIPE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn ends() -> (Socket, Socket) {
        let (left, right) = Pipe::pair(([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
        (left.into(), right.into())
    }

    #[tokio::test]
    async fn the_first_byte_is_looked_at_and_still_read() {
        let (mut left, mut right) = ends();
        left.write_all(b"ab").await.unwrap();
        assert_eq!(right.peek().await.unwrap(), Some(b'a'));
        assert_eq!(right.peek().await.unwrap(), Some(b'a'));
        let mut read = [0; 2];
        right.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ab");
    }

    #[tokio::test]
    async fn an_end_that_is_dropped_ends_the_other() {
        let (left, mut right) = ends();
        drop(left);
        assert_eq!(right.peek().await.unwrap(), None);
        assert_eq!(right.write(b"a").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn the_kernel_probes_as_it_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::Tcp(tcp);
        let [minute, second] = [60, 2].map(Duration::from_secs);
        let told = TcpKeepAlive { probes: Some(7), time: Some(minute), interval: Some(second) };
        socket.expect(Liveness::Host).unwrap();
        socket.set_keep_alive(&told).unwrap();
        let Socket::Tcp(tcp) = &socket else { unreachable!("it is TCP") };
        let kernel = SockRef::from(tcp);
        assert!(kernel.keepalive().unwrap());
        assert_eq!(kernel.tcp_keepalive_time().unwrap(), minute);
        assert_eq!(kernel.tcp_keepalive_interval().unwrap(), second);
        assert_eq!(kernel.tcp_keepalive_retries().unwrap(), 7);
    }
}

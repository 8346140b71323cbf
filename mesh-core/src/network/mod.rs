//! What connections are made of: TCP, or pipes within this process.
//!
//! A [`Mesh`](crate::Mesh) has one [`Network`]; both of its sides ask it for sockets, when they connect and when they listen,
//! and no request ever does. TCP is what every mesh has; pipes are for tests, where nothing may leave the process.
//!
//! # Layout
//! `socket` one connection's bytes · `memory` who listens in this process.

mod memory;
mod socket;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream, lookup_host};

use crate::accept::accept;
use crate::canonical::HostPort;

pub use memory::{MemoryHost, MemoryListener, MemoryNetwork, Reservation};
pub use socket::{Liveness, Pipe, Socket};

/// How a mesh reaches others, and is reached.
#[derive(Debug, Clone, Default)]
pub enum Network {
    /// TCP, Unix sockets, and the system's look-up of names.
    #[default]
    Tcp,
    /// The members of one test, in this process; nobody else can be reached.
    Memory(MemoryHost),
}

/// An address that is taken, and where nobody is accepted yet.
#[derive(Debug)]
pub enum Bound {
    /// Its socket.
    Tcp(TcpSocket),
    /// Its place among the members.
    Memory(Reservation),
}

/// An address where connections are accepted.
#[derive(Debug)]
pub enum Listener {
    /// The kernel's.
    Tcp(TcpListener),
    /// This process's.
    Memory(MemoryListener),
}

impl Network {
    /// Connects to an address.
    ///
    /// # Errors
    /// Where nobody accepts.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Socket> {
        match self {
            Self::Tcp => TcpStream::connect(address).await.map(Socket::Tcp),
            Self::Memory(host) => host.connect(address).map(Socket::from),
        }
    }

    /// Connects to a Unix socket: an absolute path, or after `@` a name of Linux's own.
    ///
    /// # Errors
    /// Where nobody accepts.
    pub async fn connect_pipe(&self, path: &Path) -> io::Result<Socket> {
        let name = path.to_str().and_then(|path| path.strip_prefix('@'));
        let abstract_path = name.map(|name| PathBuf::from(format!("\0{name}")));
        match self {
            Self::Tcp => {
                UnixStream::connect(abstract_path.as_deref().unwrap_or(path)).await.map(Socket::Unix)
            }
            Self::Memory(_) => Err(memory::unknown(path.display())),
        }
    }

    /// Looks a host up and connects to it.
    ///
    /// # Errors
    /// Where it is unknown, or nobody accepts there.
    pub async fn connect_host(&self, host: &HostPort) -> io::Result<Socket> {
        match self {
            Self::Tcp => TcpStream::connect(lookup_name(host)).await.map(Socket::Tcp),
            Self::Memory(network) => network.connect_host(lookup_name(host)).map(Socket::from),
        }
    }

    /// The addresses of a name, in the system's order.
    ///
    /// # Errors
    /// Where it is unknown.
    pub async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::Tcp => Ok(lookup_host((name, 0)).await?.map(|address| address.ip()).collect()),
            Self::Memory(_) => Err(memory::unknown(name)),
        }
    }

    /// The address by which another process would see this one. Nothing is sent there; where nothing leads there, it is the
    /// loopback's.
    pub fn own_address(&self, seen_at: SocketAddr) -> IpAddr {
        let found = match self {
            Self::Tcp => routed_from(seen_at).ok(),
            Self::Memory(host) => Some(host.ip()),
        };
        found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Takes an address; port 0 is a free one.
    ///
    /// # Errors
    /// Where it is taken, or not ours.
    pub fn bind(&self, address: SocketAddr) -> io::Result<Bound> {
        match self {
            Self::Tcp => bind_tcp(address).map(Bound::Tcp),
            Self::Memory(host) => host.bind(address).map(Bound::Memory),
        }
    }
}

impl Bound {
    /// The address, with its real port.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Memory(reservation) => Ok(reservation.bound()),
        }
    }

    /// Accepts from now on; at most `backlog` connections wait to be.
    ///
    /// # Errors
    /// Where the kernel says no.
    pub fn listen(self, backlog: u32) -> io::Result<Listener> {
        match self {
            Self::Tcp(socket) => socket.listen(backlog).map(Listener::Tcp),
            Self::Memory(reservation) => Ok(Listener::Memory(reservation.listen(backlog))),
        }
    }
}

impl Listener {
    /// The next connection, and where it comes from.
    pub async fn accept(&mut self) -> (Socket, SocketAddr) {
        match self {
            Self::Tcp(listener) => {
                let (socket, remote) = accept(listener).await;
                (Socket::Tcp(socket), remote)
            }
            Self::Memory(listener) => {
                let (pipe, remote) = listener.accept().await;
                (pipe.into(), remote)
            }
        }
    }
}

/// Host and port as the resolver wants them: an IPv6 address without its brackets.
fn lookup_name(host: &HostPort) -> (&str, u16) {
    (host.host().trim_start_matches('[').trim_end_matches(']'), host.port())
}

/// Of a datagram socket, the kernel says at once from where it would send.
fn routed_from(other: SocketAddr) -> io::Result<IpAddr> {
    let any = if other.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(other)?;
    Ok(socket.local_addr()?.ip())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted service takes its port again, though old connections of it linger in TIME_WAIT. A port that the
    // kernel chooses must be nobody else's, and before `listen` this option would let two sockets share one.
    socket.set_reuseaddr(address.port() != 0)?;
    socket.bind(address)?;
    Ok(socket)
}

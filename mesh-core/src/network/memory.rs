//! Who listens in this process: addresses as in a network, of hosts that exist in one test alone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::socket::Pipe;

/// A network of its own; two of them share nothing.
#[derive(Debug, Clone, Default)]
pub struct MemoryNetwork(Arc<Addresses>);

#[derive(Debug, Default)]
struct Addresses {
    taken: Mutex<HashMap<SocketAddr, Option<Accepting>>>,
    /// Somebody has begun to accept.
    accepting: Notify,
}

/// How a listener is reached; none at an address that is only bound.
type Accepting = mpsc::Sender<(Pipe, SocketAddr)>;

/// One host of it: it connects from its address, and listens there.
#[derive(Debug, Clone)]
pub struct MemoryHost {
    network: MemoryNetwork,
    ip: IpAddr,
    next_port: Arc<AtomicU16>,
}

/// An address that is taken while this lives.
#[derive(Debug)]
pub struct Reservation {
    network: MemoryNetwork,
    bound: SocketAddr,
    reached: SocketAddr,
}

/// Accepts until it is dropped.
#[derive(Debug)]
pub struct MemoryListener {
    accepted: mpsc::Receiver<(Pipe, SocketAddr)>,
    _reservation: Reservation,
}

impl MemoryNetwork {
    /// The host at an address.
    pub fn host(&self, ip: IpAddr) -> MemoryHost {
        MemoryHost { network: self.clone(), ip, next_port: Arc::new(AtomicU16::new(FREE_PORTS_FROM)) }
    }

    /// Waits until somebody accepts at an address.
    pub async fn accepts(&self, address: SocketAddr) {
        loop {
            let mut changed = std::pin::pin!(self.0.accepting.notified());
            // Enlisted before looking, so that a change between the look and the wait is not missed.
            changed.as_mut().enable();
            if matches!(self.taken().get(&address), Some(Some(_))) {
                return;
            }
            changed.await;
        }
    }

    /// Each change to the table is one statement, so a panic of another holder leaves it whole.
    fn taken(&self) -> MutexGuard<'_, HashMap<SocketAddr, Option<Accepting>>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryHost {
    /// Its address.
    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) fn connect(&self, address: SocketAddr) -> io::Result<Pipe> {
        let accepting = self.network.taken().get(&address).cloned().flatten();
        let accepting = accepting.ok_or_else(|| deserted(address))?;
        let from = SocketAddr::new(self.ip, self.free_port());
        let (ours, theirs) = Pipe::pair(from, address);
        accepting.try_send((theirs, from)).map_err(|_| deserted(address))?;
        Ok(ours)
    }

    /// Nobody looks names up here, but an address may be written as one.
    pub(super) fn connect_host(&self, (name, port): (&str, u16)) -> io::Result<Pipe> {
        match name.parse::<IpAddr>() {
            Ok(ip) => self.connect((ip, port).into()),
            Err(_) => Err(unknown(format_args!("{name}:{port}"))),
        }
    }

    /// As with TCP, the unspecified address is every one of the host's, and port 0 a free one.
    pub(super) fn bind(&self, address: SocketAddr) -> io::Result<Reservation> {
        if !address.ip().is_unspecified() && address.ip() != self.ip {
            let reason = format!("{address} is not an address of this member, which is {}", self.ip);
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, reason));
        }
        let port = if address.port() == 0 { self.free_port() } else { address.port() };
        let (bound, reached) = (SocketAddr::new(address.ip(), port), SocketAddr::new(self.ip, port));
        let mut taken = self.network.taken();
        if taken.contains_key(&reached) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("something serves at {reached} already"),
            ));
        }
        taken.insert(reached, None);
        Ok(Reservation { network: self.network.clone(), bound, reached })
    }

    fn free_port(&self) -> u16 {
        // Ports come round again after 16,384; by then the connections of a test are over.
        self.next_port.fetch_add(1, Ordering::Relaxed) | FREE_PORTS_FROM
    }
}

impl Reservation {
    /// As it was asked for, with its real port.
    pub(super) fn bound(&self) -> SocketAddr {
        self.bound
    }

    pub(super) fn listen(self, backlog: u32) -> MemoryListener {
        let (accepting, accepted) = mpsc::channel(backlog.max(1) as usize);
        self.network.taken().insert(self.reached, Some(accepting));
        self.network.0.accepting.notify_waiters();
        MemoryListener { accepted, _reservation: self }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.network.taken().remove(&self.reached);
    }
}

impl MemoryListener {
    pub(super) async fn accept(&mut self) -> (Pipe, SocketAddr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The table holds the sender for as long as we hold our place in it.
            None => std::future::pending().await,
        }
    }
}

fn deserted(address: SocketAddr) -> io::Error {
    let reason = format!("a test mesh has no network, and none of its members accepts at {address}");
    io::Error::new(io::ErrorKind::ConnectionRefused, reason)
}

pub(super) fn unknown(name: impl std::fmt::Display) -> io::Error {
    let reason = format!(
        "a test mesh has no network, and {name} is none of its services; give the test one of that name",
    );
    io::Error::new(io::ErrorKind::NotFound, reason)
}

/// Those of Linux and IANA.
const FREE_PORTS_FROM: u16 = 0xC000;

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> (MemoryHost, MemoryHost) {
        let network = MemoryNetwork::default();
        (network.host([10, 0, 0, 1].into()), network.host([10, 0, 0, 2].into()))
    }

    fn kind(result: io::Result<impl std::fmt::Debug>) -> io::ErrorKind {
        result.unwrap_err().kind()
    }

    #[tokio::test]
    async fn whoever_listens_is_reached_and_nobody_else() {
        let (caller, server) = hosts();
        let address = SocketAddr::from(([10, 0, 0, 2], 80));
        let reservation = server.bind(([0, 0, 0, 0], 80).into()).unwrap();
        assert_eq!(kind(caller.connect(address)), io::ErrorKind::ConnectionRefused, "bound is not listening");
        let mut listener = reservation.listen(1);
        let _ours = caller.connect(address).unwrap();
        let (_theirs, remote) = listener.accept().await;
        assert_eq!(remote.ip(), IpAddr::from([10, 0, 0, 1]));
        drop(listener);
        assert_eq!(kind(caller.connect(address)), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn one_can_wait_for_a_listener() {
        let (_, server) = hosts();
        let address = SocketAddr::from(([10, 0, 0, 2], 80));
        let network = server.network.clone();
        let waiting = tokio::spawn(async move { network.accepts(address).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let _listener = server.bind(address).unwrap().listen(1);
        waiting.await.unwrap();
    }

    #[test]
    fn a_name_is_nobodys_unless_it_is_an_address() {
        let (caller, server) = hosts();
        let _listener = server.bind(([10, 0, 0, 2], 80).into()).unwrap().listen(1);
        caller.connect_host(("10.0.0.2", 80)).unwrap();
        let error = caller.connect_host(("example.com", 80)).unwrap_err().to_string();
        assert!(error.contains("has no network, and example.com:80 is none of its services"), "{error}");
    }

    #[test]
    fn an_address_is_taken_once_and_only_by_its_own_host() {
        let (one, two) = hosts();
        let held = one.bind(([10, 0, 0, 1], 80).into()).unwrap();
        assert_eq!(kind(one.bind(([0, 0, 0, 0], 80).into())), io::ErrorKind::AddrInUse);
        assert_eq!(kind(two.bind(([10, 0, 0, 1], 80).into())), io::ErrorKind::AddrNotAvailable);
        drop(held);
        one.bind(([10, 0, 0, 1], 80).into()).unwrap();
        assert_ne!(one.bind(([10, 0, 0, 1], 0).into()).unwrap().bound().port(), 0);
    }

    #[test]
    fn a_full_backlog_refuses() {
        let (caller, server) = hosts();
        let address = SocketAddr::from(([10, 0, 0, 2], 80));
        let _listener = server.bind(address).unwrap().listen(1);
        let _first = caller.connect(address).unwrap();
        assert_eq!(kind(caller.connect(address)), io::ErrorKind::ConnectionRefused);
    }
}

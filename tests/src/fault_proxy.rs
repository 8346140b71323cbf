//! A TCP proxy before a server, whose faults a test switches while connections are open.
//!
//! It listens on another loopback address and the server's own port, so that a member stands behind it by advertising that
//! address. What it does to bytes holds for open connections and for new ones, from the next byte on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What a proxy does to its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// Nothing.
    None,
    /// Bytes come so much later, in either direction.
    Latency(Duration),
    /// No byte passes; what comes is left unread, so that senders are held up in the end.
    Stall,
    /// Connections are reset, open ones and new ones.
    Reset,
    /// Each byte travels alone.
    Slices,
    /// What the client says arrives; nothing of what the server says does.
    SilentServer,
    /// What the client says is swallowed; what the server says arrives.
    SilentClient,
    /// The server's side is gone, and the client is not told.
    HalfOpen,
}

impl NetworkFault {
    /// Each that is one, latency in the length given.
    pub fn all(latency: Duration) -> [Self; 7] {
        [
            Self::Latency(latency),
            Self::Stall,
            Self::Reset,
            Self::Slices,
            Self::SilentServer,
            Self::SilentClient,
            Self::HalfOpen,
        ]
    }
}

/// The proxy; it ends, and its connections with it, when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<NetworkFault>,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl FaultProxy {
    /// Before `server`, on its port at `ip`; without a fault yet.
    ///
    /// # Panics
    /// Where that address cannot be had.
    pub async fn start(ip: IpAddr, server: SocketAddr) -> Self {
        let listener =
            TcpListener::bind((ip, server.port())).await.expect("the port is free at another address");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (fault, faults) = watch::channel(NetworkFault::None);
        let counts: Arc<Counts> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, faults, counts.clone()));
        Self { address, fault, counts, _tasks: tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this from now on.
    pub fn set(&self, fault: NetworkFault) {
        self.fault.send_replace(fault);
    }

    /// How many connections clients have opened.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// How many bytes have been read from clients.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    faults: watch::Receiver<NetworkFault>,
    counts: Arc<Counts>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        counts.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(carry(client, server, faults.clone(), counts.clone()));
    }
}

/// One connection to its end, which either side or a fault may be.
async fn carry(
    client: TcpStream,
    server: SocketAddr,
    faults: watch::Receiver<NetworkFault>,
    counts: Arc<Counts>,
) {
    // What is not closed in good order is reset when it is dropped.
    if client.set_nodelay(true).and_then(|()| client.set_zero_linger()).is_err() {
        return;
    }
    let connected = async {
        // A stalled or half-open network answers nobody.
        let mut faults = faults.clone();
        let _ = faults.wait_for(|fault| !matches!(fault, NetworkFault::Stall | NetworkFault::HalfOpen)).await;
        TcpStream::connect(server).await
    };
    let mut resets = faults.clone();
    let reset = |fault: &NetworkFault| *fault == NetworkFault::Reset;
    let upstream = tokio::select! {
        upstream = connected => upstream,
        _ = resets.wait_for(reset) => return,
    };
    let Ok(upstream) = upstream else { return };
    let _ = upstream.set_nodelay(true);
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = upstream.into_split();
    let up = Direction { read: client_read, write: server_write, faults: faults.clone(), is_answer: false };
    let down = Direction { read: server_read, write: client_write, faults: faults.clone(), is_answer: true };
    tokio::select! {
        _ = async { tokio::join!(up.pump(Some(&counts.bytes)), down.pump(None)) } => {}
        _ = resets.wait_for(reset) => {}
    }
}

/// One of a connection's two directions.
struct Direction {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    faults: watch::Receiver<NetworkFault>,
    is_answer: bool,
}

impl Direction {
    async fn pump(mut self, count: Option<&AtomicU64>) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.until_passing().await;
            let read = tokio::select! {
                read = self.read.read(&mut buffer) => read?,
                // What changes is looked at before the next byte.
                _ = self.faults.changed() => continue,
            };
            if let Some(count) = count {
                count.fetch_add(read as u64, Ordering::Relaxed);
            }
            let fault = *self.faults.borrow();
            match fault {
                NetworkFault::SilentServer if self.is_answer => continue_or_wait(read).await,
                NetworkFault::SilentClient if !self.is_answer => continue_or_wait(read).await,
                _ if read == 0 => return self.write.shutdown().await,
                NetworkFault::Latency(latency) => {
                    sleep(latency).await;
                    self.write.write_all(&buffer[..read]).await?;
                }
                NetworkFault::Slices => {
                    for byte in &buffer[..read] {
                        self.write.write_all(std::slice::from_ref(byte)).await?;
                        tokio::task::yield_now().await;
                    }
                }
                _ => self.write.write_all(&buffer[..read]).await?,
            }
        }
    }

    /// Waits while no byte passes; a half-open connection tells the server its end meanwhile.
    async fn until_passing(&mut self) {
        let held = |fault: &NetworkFault| matches!(fault, NetworkFault::Stall | NetworkFault::HalfOpen);
        if *self.faults.borrow() == NetworkFault::HalfOpen && !self.is_answer {
            let _ = self.write.shutdown().await;
        }
        // The sender outlives its proxy's tasks.
        let _ = self.faults.wait_for(|fault| !held(fault)).await;
    }
}

/// Bytes that are swallowed; an end that is, leaves nothing more to read.
async fn continue_or_wait(read: usize) {
    if read == 0 {
        std::future::pending::<()>().await;
    }
}

const BUFFER_BYTES: usize = 16 * 1024;

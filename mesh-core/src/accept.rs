//! What every accept loop needs: sockets whatever happens, and handshakes beside the loop, so that no silent peer holds it up.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// Accepts one socket. Out of file descriptors is no reason to spin, nor to stop.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The peer gave up while it waited in the backlog.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "accepting a connection failed; trying again in a second");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// The handshakes under way: at most `handshakes_max`, the oldest of which makes room. Dropping them ends them.
///
/// An honest handshake takes milliseconds, so that the one waiting longest is the one most likely idle. Waiting for a
/// free place instead would let so many idle peers shut out everybody.
#[derive(Debug)]
pub struct Handshakes {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
    handshakes_max: usize,
}

impl Handshakes {
    /// None under way yet.
    pub fn new(handshakes_max: usize) -> Self {
        Self { tasks: JoinSet::new(), oldest_first: VecDeque::new(), handshakes_max }
    }

    /// Starts one; true if another had to go.
    pub fn begin(&mut self, handshake: impl Future<Output = ()> + Send + 'static) -> bool {
        while self.tasks.try_join_next().is_some() {}
        while self.oldest_first.front().is_some_and(AbortHandle::is_finished) {
            self.oldest_first.pop_front();
        }
        let full = self.tasks.len() >= self.handshakes_max;
        if full {
            // Those that ended out of order leave their handles behind; a full house is when to sweep them.
            self.oldest_first.retain(|handle| !handle.is_finished());
            if let Some(oldest) = self.oldest_first.pop_front() {
                oldest.abort();
            }
        }
        self.oldest_first.push_back(self.tasks.spawn(handshake));
        full
    }
}

const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_handshake_that_waits_longest_makes_room() {
        let mut handshakes = Handshakes::new(2);
        let mut begin = |expected: bool| {
            let (alive, ended) = oneshot::channel::<()>();
            let displaced = handshakes.begin(async move {
                std::future::pending::<()>().await;
                drop(alive);
            });
            assert_eq!(displaced, expected);
            ended
        };
        let (oldest, mut second) = (begin(false), begin(false));
        let mut third = begin(true);
        assert!(oldest.await.is_err(), "it was ended");
        assert!(second.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert!(third.try_recv() == Err(oneshot::error::TryRecvError::Empty));
    }

    #[tokio::test]
    async fn a_handshake_that_is_done_takes_no_place() {
        let mut handshakes = Handshakes::new(1);
        for _ in 0..3 {
            let (done, ended) = oneshot::channel();
            let displaced = handshakes.begin(async move {
                let _ = done.send(());
            });
            assert!(!displaced);
            ended.await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

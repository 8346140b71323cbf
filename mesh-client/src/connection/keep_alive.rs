//! Finding a dead peer: after some silence a ping must be answered.
//!
//! A host that vanishes (power, network) sends no FIN, and a request to it would wait for the kernel to give up after some
//! fifteen minutes. A peer that is being heard is never pinged, so that busy connections pay nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use h2::{Ping, PingPong};

use super::silence::Heard;

/// Looked for at this interval: a peer that fell silent within one interval is pinged at the end of the next, so that it is
/// found dead after at most 2 × 5 s and the wait for its answer, 14 s.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long an answer to a ping may take.
const PONG_WAIT_MAX: Duration = Duration::from_secs(4);

/// Returns once the peer is dead. Without open streams nobody waits for the peer, and gRPC's servers take pings on an idle
/// connection for abuse, so that none are sent.
pub(super) async fn until_dead(mut pings: PingPong, heard: Heard, streams: &AtomicU32) {
    loop {
        tokio::time::sleep(SILENCE_MAX).await;
        if heard.take() || streams.load(Ordering::Relaxed) == 0 {
            continue;
        }
        match tokio::time::timeout(PONG_WAIT_MAX, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection is ending by itself and tells why.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::body::RequestBody;
    use crate::connection::{FailureKind, Http2Connection, Outgoing};

    fn request() -> Outgoing {
        let (head, ()) = http::Request::get("http://reviews:9080/").body(()).unwrap().into_parts();
        Outgoing::new(head, RequestBody::Empty)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_vanishes_is_found_dead_within_15_seconds() {
        let (ours, theirs) = tokio::io::duplex(65_536);
        let (connection, server) =
            tokio::join!(Http2Connection::handshake(ours, Default::default()), h2::server::handshake(theirs));
        let (connection, mut server) = (connection.unwrap(), server.unwrap());
        let stream = connection.open().expect("room");
        let vanishing = async {
            let accepted = server.accept().await;
            // From here on nobody reads or writes at the other end, and nothing is closed.
            (accepted, std::future::pending::<()>().await)
        };
        let start = Instant::now();
        let failure = tokio::select! {
            failed = stream.exchange(request()) => failed.unwrap_err(),
            _ = vanishing => unreachable!("it never ends"),
        };
        assert_eq!(failure.kind, FailureKind::Terminated);
        assert!(start.elapsed() <= Duration::from_secs(15), "{:?}", start.elapsed());
        assert!(connection.open().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_of_a_living_peer_is_waited_for() {
        let (ours, theirs) = tokio::io::duplex(65_536);
        let (connection, server) =
            tokio::join!(Http2Connection::handshake(ours, Default::default()), h2::server::handshake(theirs));
        let (connection, mut server) = (connection.unwrap(), server.unwrap());
        let stream = connection.open().expect("room");
        tokio::spawn(async move {
            while let Some(Ok((_, mut respond))) = server.accept().await {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(100)).await;
                    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                    body.send_data(Bytes::new(), true).unwrap();
                });
            }
        });
        assert_eq!(stream.exchange(request()).await.unwrap().status(), 200);
    }
}

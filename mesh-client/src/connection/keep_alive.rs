//! Finding a dead peer: after some silence a ping must be answered.
//!
//! A host that vanishes (power, network) sends no FIN, and a request to it would wait for the kernel to give up after some
//! fifteen minutes. A peer that is being heard is never pinged, so that busy connections pay nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use h2::{Ping, PingPong};
use mesh_core::resource::Http2KeepAlive;

use super::silence::Heard;

/// Looked for at this interval: a peer that fell silent within one interval is pinged at the end of the next, so that it is
/// found dead after at most 2 × 5 s and the wait for its answer, 14 s.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long an answer to a ping may take.
const PONG_WAIT_MAX: Duration = Duration::from_secs(4);

/// Returns once the peer is dead. Without open streams nobody waits for the peer, and gRPC's servers take pings on an idle
/// connection for abuse, so that none are sent.
/// Where a document says how, they are sent all the same.
pub(super) async fn until_dead(
    mut pings: PingPong,
    heard: Heard,
    streams: &AtomicU32,
    said: Option<Http2KeepAlive>,
) {
    while let Some(Http2KeepAlive { interval, timeout }) = said {
        tokio::time::sleep(interval).await;
        match tokio::time::timeout(timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
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
    use std::sync::{Arc, Weak};

    use bytes::Bytes;
    use mesh_core::balance::ClusterState;
    use mesh_core::resource::ConnectionTerms;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;

    use super::*;
    use crate::body::RequestBody;
    use crate::connection::{FailureKind, Http2Connection, Life, Open, Outgoing};
    use crate::pool::Pool;

    fn request() -> Outgoing {
        let (head, ()) = http::Request::get("http://reviews:9080/").body(()).unwrap().into_parts();
        Outgoing::new(head, RequestBody::Empty)
    }

    async fn connect(
        ours: DuplexStream,
        theirs: DuplexStream,
        terms: ConnectionTerms,
    ) -> (Arc<Http2Connection>, h2::server::Connection<DuplexStream, Bytes>) {
        let life = Life::new(terms, Weak::<Pool>::new());
        let vacancy = Arc::default();
        let open = Open::new(&vacancy, &Arc::<ClusterState>::default(), 1).expect("the first one");
        let connecting = Http2Connection::handshake(ours, vacancy, life, open);
        let (connection, server) = tokio::join!(connecting, h2::server::handshake(theirs));
        (connection.unwrap(), server.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_vanishes_is_found_dead_within_15_seconds() {
        let (ours, theirs) = tokio::io::duplex(65_536);
        let (connection, mut server) = connect(ours, theirs, ConnectionTerms::DEFAULT).await;
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
        let (connection, mut server) = connect(ours, theirs, ConnectionTerms::DEFAULT).await;
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

    #[tokio::test(start_paused = true)]
    async fn a_document_has_idle_connections_pinged_too() {
        let (ours, theirs) = tokio::io::duplex(65_536);
        let second = Duration::from_secs(1);
        let keep_alive = Http2KeepAlive { interval: 2 * second, timeout: second };
        let terms = ConnectionTerms { http2_keep_alive: Some(keep_alive), ..ConnectionTerms::DEFAULT };
        let (connection, mut server) = connect(ours, theirs, terms).await;
        let start = Instant::now();
        // It answers pings while it is driven.
        assert!(tokio::time::timeout(7 * second, server.accept()).await.is_err());
        assert!(!connection.is_closed());
        while !connection.is_closed() {
            tokio::time::sleep(second / 10).await;
        }
        assert!(start.elapsed() <= 11 * second, "{:?}", start.elapsed());
    }
}

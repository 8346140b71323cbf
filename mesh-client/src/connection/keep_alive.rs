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

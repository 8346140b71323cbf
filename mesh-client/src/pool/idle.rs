//! The HTTP/1.1 connections that wait for their next request: the one used last goes first, so that the others can grow old.

use std::time::Instant;

use super::IDLE_TIME_MAX;
use crate::connection::Http1Connection;

/// Idle connections, the longest idle first.
#[derive(Debug, Default)]
pub(super) struct Idle {
    connections: Vec<(Http1Connection, Instant)>,
    /// Somebody sweeps already.
    watched: bool,
}

impl Idle {
    /// The connection used last that still lives; the dead are thrown away.
    pub(super) fn take(&mut self, now: Instant) -> Option<Http1Connection> {
        while let Some((connection, since)) = self.connections.pop() {
            let fresh = now.duration_since(since) < IDLE_TIME_MAX;
            if fresh && connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection; true where from now on somebody has to sweep.
    pub(super) fn put(&mut self, connection: Http1Connection, now: Instant) -> bool {
        if self.connections.len() >= IDLE_CONNECTIONS_MAX {
            self.connections.remove(0);
        }
        self.connections.push((connection, now));
        !std::mem::replace(&mut self.watched, true)
    }

    /// Closes what has been idle for too long; false, and nobody sweeps any more, when nothing is left.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        self.connections.retain(|(connection, since)| {
            now.duration_since(*since) < IDLE_TIME_MAX && connection.is_ready()
        });
        self.watched = !self.connections.is_empty();
        self.watched
    }
}

/// How many are kept.
const IDLE_CONNECTIONS_MAX: usize = 64;

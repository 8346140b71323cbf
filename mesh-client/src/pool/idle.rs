//! The HTTP/1.1 connections that wait for their next request: the one used last goes first, so that the others can grow old.

use std::time::Instant;

use mesh_core::resource::ConnectionTerms;

use crate::connection::Http1Connection;

/// Idle connections, the longest idle first.
#[derive(Debug, Default)]
pub(super) struct Idle {
    connections: Vec<(Http1Connection, Instant)>,
    /// Somebody sweeps already.
    watched: bool,
}

impl Idle {
    /// The connection used last that still lives, on these terms; the others are thrown away.
    pub(super) fn take(&mut self, terms: &ConnectionTerms, now: Instant) -> Option<Http1Connection> {
        while let Some((connection, since)) = self.connections.pop() {
            if connection.life.terms == *terms && is_fit(&connection, since, now) {
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
        self.connections.retain(|(connection, since)| is_fit(connection, *since, now));
        self.watched = !self.connections.is_empty();
        self.watched
    }
}

fn is_fit(connection: &Http1Connection, since: Instant, now: Instant) -> bool {
    let life = &connection.life;
    now.duration_since(since) < life.idle_time() && !life.is_over(now) && connection.is_ready()
}

/// How many are kept.
const IDLE_CONNECTIONS_MAX: usize = 64;

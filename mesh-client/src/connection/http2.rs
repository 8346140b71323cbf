//! An HTTP/2 connection: many requests at a time, each in its caller's own task.
//!
//! ```text
//!   request task ── send_request, send_data ──► h2's state ◄── driver task ── socket
//!                ◄────── response, data ───────     ▲
//!   pump task (streamed bodies only) ── send_data ──┘
//! ```
//! The driver lives until the peer or the last holder of the connection ends it: a connection that leaves its pool finishes
//! what it has, then closes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::keep_alive::until_dead;
use super::life::{Life, Open};
use super::pump::Pump;
use super::silence::{Heard, Listening};
use super::{Failure, FailureKind, Outgoing};
use crate::body::{RequestBody, ResponseBody};

/// One connection.
pub(crate) struct Http2Connection {
    sender: SendRequest<Bytes>,
    status: Arc<Status>,
    vacancy: Arc<Vacancy>,
    pub(crate) life: Arc<Life>,
}

/// What the driver knows of the connection.
#[derive(Debug)]
struct Status {
    closed: AtomicBool,
    /// Those in use.
    streams: AtomicU32,
    /// What the peer's SETTINGS allow.
    streams_max: AtomicU32,
}

/// Where those wait who found every connection of an endpoint full.
#[derive(Debug, Default)]
pub(crate) struct Vacancy {
    pub(crate) waiting: AtomicU32,
    /// Connections of any kind, also those that take no further request.
    pub(super) open: AtomicU32,
    pub(crate) changed: Notify,
}

impl Vacancy {
    /// Tells one of those who wait that there is room.
    pub(crate) fn tell_one(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.changed.notify_one();
        }
    }
}

/// The right to one stream of a connection; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Http2Stream(Arc<Http2Connection>);

impl Http2Connection {
    /// Greets the peer and starts driving the connection.
    pub(super) async fn handshake<I>(
        io: I,
        vacancy: Arc<Vacancy>,
        life: Arc<Life>,
        open: Open,
    ) -> Result<Arc<Self>, h2::Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (io, heard) = Listening::new(io);
        let (sender, mut driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .initial_max_send_streams(0)
            // What h2 counts here for good is, on a client, frames of answers that callers have given up: each costs a small
            // frame, and a busy connection with such callers must not end by them.
            .max_local_error_reset_streams(None)
            .handshake(io)
            .await?;
        until_allowed(&mut driver).await?;
        let status = Arc::new(Status {
            closed: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            streams_max: AtomicU32::new(streams_max(driver.max_concurrent_send_streams(), &life)),
        });
        tokio::spawn(drive(driver, heard, status.clone(), vacancy.clone(), life.clone(), open));
        Ok(Arc::new(Self { sender, status, vacancy, life }))
    }

    /// Whether it takes no request any more: closed, told to go away, or out of stream numbers.
    pub(crate) fn is_closed(&self) -> bool {
        self.status.closed.load(Ordering::Acquire) || refuses(&mut self.sender.clone()).is_some()
    }

    /// One stream, if the connection lives and has room. Takes no lock of ours.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Http2Stream> {
        if self.status.closed.load(Ordering::Acquire) {
            return None;
        }
        let max = self.status.streams_max.load(Ordering::Relaxed);
        self.status
            .streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1))
            .ok()?;
        if !self.life.count_request() {
            self.status.streams.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.life.touched.fetch_add(1, Ordering::Relaxed);
        Some(Http2Stream(self.clone()))
    }
}

impl std::fmt::Debug for Http2Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2Connection").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.0.life.touched.fetch_add(1, Ordering::Relaxed);
        self.0.status.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.vacancy.tell_one();
    }
}

impl Http2Stream {
    /// The life of its connection.
    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.0.life
    }

    /// Sends a request; the future waits for the response's head, and does not hold the request.
    pub(in crate::connection) fn exchange(
        self,
        request: Outgoing,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Failure>> {
        let sent = self.send(request);
        async move {
            let (response, mut pump) = sent?;
            match response.await {
                Ok(response) => {
                    let (head, stream) = response.into_parts();
                    Ok(Response::from_parts(head, ResponseBody::http2(stream, pump, self)))
                }
                Err(error) => match pump.failure().await {
                    Some(cause) => Err(Failure::new(FailureKind::CallerBody, cause)),
                    None => Err(failure(&error)),
                },
            }
        }
    }

    fn send(&self, request: Outgoing) -> Result<(ResponseFuture, Pump), Failure> {
        let mut sender = self.0.sender.clone();
        // Asked first, while the request is still ours: a connection that was told to go away must not take it along.
        if let Some(error) = refuses(&mut sender) {
            self.0.status.closed.store(true, Ordering::Release);
            return Err(Failure {
                unsent: Some(Box::new(request)),
                ..Failure::new(FailureKind::Unsent, error)
            });
        }
        let Outgoing { head, body, .. } = request;
        let ends = matches!(body, RequestBody::Empty);
        let (response, stream) = match sender.send_request(Request::from_parts(head, ()), ends) {
            Ok(sent) => sent,
            Err(error) => return Err(failure(&error)),
        };
        let pump = send_body(stream, body).map_err(|error| failure(&error))?;
        Ok((response, pump))
    }
}

/// Waits until the peer's SETTINGS say how many streams it allows. A request sent before could be one too many, and would wait
/// on this connection where another one has room.
async fn until_allowed<I>(driver: &mut h2::client::Connection<Listening<I>, Bytes>) -> Result<(), h2::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    std::future::poll_fn(|cx| match Pin::new(&mut *driver).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended.and(Err(Reason::NO_ERROR.into()))),
        Poll::Pending if driver.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Drives the connection to its end.
async fn drive<I>(
    mut driver: h2::client::Connection<Listening<I>, Bytes>,
    heard: Heard,
    status: Arc<Status>,
    vacancy: Arc<Vacancy>,
    life: Arc<Life>,
    open: Open,
) where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let pings = driver.ping_pong();
    let dead = async {
        match pings {
            Some(pings) => until_dead(pings, heard, &status.streams, life.terms.http2_keep_alive).await,
            None => std::future::pending().await,
        }
    };
    let driven = std::future::poll_fn(|cx| {
        let driven = Pin::new(&mut driver).poll(cx);
        let max = streams_max(driver.max_concurrent_send_streams(), &life);
        if status.streams_max.swap(max, Ordering::Relaxed) < max {
            vacancy.changed.notify_waiters();
        }
        driven
    });
    // What it carries then goes on, and its end is the connection's.
    let over = async {
        life.over(&status.streams).await;
        if let Some(home) = life.home.upgrade() {
            home.let_go(&life);
        }
        std::future::pending().await
    };
    tokio::select! {
        _ = driven => {}
        () = dead => tracing::debug!("peer is dead: it did not answer a ping"),
        () = over => {}
    }
    status.closed.store(true, Ordering::Release);
    drop((driver, open));
    vacancy.changed.notify_waiters();
}

/// Why the connection takes no request any more, if so: it broke, was told to go away, or is out of stream numbers.
fn refuses(sender: &mut SendRequest<Bytes>) -> Option<h2::Error> {
    match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(error)) => Some(error),
        Poll::Ready(Ok(())) | Poll::Pending => None,
    }
}

/// A body in hand is given to h2 at once, its last frame ending the stream; a streamed one gets a task, because it must
/// go on while the caller reads the response.
fn send_body(mut stream: SendStream<Bytes>, body: RequestBody) -> Result<Pump, h2::Error> {
    match body {
        RequestBody::Empty => Ok(Pump::done()),
        RequestBody::Once(data) => match stream.send_data(data, true) {
            Err(error) if !is_over(&mut stream) => Err(error),
            // A peer that has ended the stream by now wants no more of the body; whether it has answered shows at the response.
            _ => Ok(Pump::done()),
        },
        body @ (RequestBody::Stream { .. } | RequestBody::Kept(_)) => Ok(Pump::start(stream, body)),
    }
}

/// Whether the peer has reset the stream, or is gone.
fn is_over(stream: &mut SendStream<Bytes>) -> bool {
    stream.poll_reset(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// What an error of h2 means for the request.
fn failure(error: &h2::Error) -> Failure {
    let kind = match error.reason() {
        // h2 fails with a remote GOAWAY just those streams that are beyond its last stream.
        _ if error.is_go_away() && error.is_remote() => FailureKind::Left,
        Some(Reason::REFUSED_STREAM) if error.is_remote() => FailureKind::Refused,
        _ if error.is_reset() && error.is_remote() => FailureKind::Reset,
        // h2 itself ended the stream or the connection, for what it has read.
        _ if error.is_library() => FailureKind::Garbled,
        None if !error.is_io() => FailureKind::Unsendable,
        _ => FailureKind::Terminated,
    };
    Failure::new(kind, error)
}

fn streams_max(allowed: usize, life: &Life) -> u32 {
    u32::try_from(allowed).unwrap_or(u32::MAX).min(STREAMS_MAX).min(life.terms.streams_max)
}

/// What the peer may send on one stream before we have read it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// And on all streams of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Of a response's headers, after decompression.
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// However many the peer allows: beyond some hundreds a further connection serves better than a longer queue on one.
const STREAMS_MAX: u32 = 1000;

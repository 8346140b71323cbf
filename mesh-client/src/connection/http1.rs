//! An HTTP/1.1 connection: one request at a time, kept for the next one when the response has been read to its end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::{self, Either};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::held::Held;
use super::life::{Home, Life, Open};
use super::{Failure, FailureKind, Outgoing};
use crate::body::{RequestBody, ResponseBody};
use crate::upgrade::Place;

/// One connection that nobody uses at the moment.
#[derive(Debug)]
pub(crate) struct Http1Connection {
    sender: SendRequest<RequestBody>,
    place: Weak<Place>,
    pub(crate) life: Arc<Life>,
}

/// Counts an endpoint's open HTTP/1.1 connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Http1Counter(Arc<AtomicU32>);

/// The use of a connection for one request.
#[derive(Debug)]
pub(crate) struct Http1Stream {
    connection: Http1Connection,
    home: Weak<dyn Home>,
}

impl Http1Counter {
    /// How many are open.
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Http1Connection {
    /// Starts driving a connection.
    pub(super) async fn handshake<I>(
        io: I,
        counter: Http1Counter,
        life: Arc<Life>,
        open: Open,
    ) -> Result<Self, hyper::Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let held = Held { io, _place: Arc::default(), _open: open };
        let place = Arc::downgrade(&held._place);
        let (mut sender, driver) = hyper::client::conn::http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(held))
            .await?;
        counter.0.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            // What ends it early shows at the request that it carries. An upgrade ends it too: the bytes go to whoever asks the
            // response for them, and are closed where nobody does.
            let _ = driver.with_upgrades().await;
            counter.0.fetch_sub(1, Ordering::Relaxed);
        });
        // Before the driver has run, it would be taken for a dead one.
        sender.ready().await?;
        Ok(Self { sender, place, life })
    }

    /// Whether a request can be sent at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// For one request, after which it goes to `home`.
    pub(crate) fn lease(self, home: Weak<dyn Home>) -> Http1Stream {
        self.life.count_request();
        Http1Stream { connection: self, home }
    }
}

impl Http1Stream {
    /// Sends a request; the future waits for the response's head, and does not hold the request.
    pub(super) fn exchange(
        mut self,
        request: Outgoing,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Failure>> {
        let (uri, upgrade) = (request.head.uri.clone(), request.upgrade);
        let head = match in_origin_form(request.head) {
            Ok(head) => head,
            Err(reason) => {
                return Either::Left(future::ready(Err(Failure::new(FailureKind::Unsendable, reason))));
            }
        };
        let sent = self.connection.sender.try_send_request(Request::from_parts(head, request.body));
        Either::Right(sent.map(move |answer| match answer {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Ok(response.map(|_| ResponseBody::upgraded(self.connection.place)))
            }
            Ok(response) => Ok(response.map(|body| ResponseBody::http1(body, self))),
            Err(mut error) => match error.take_message() {
                Some(request) => Err(Failure {
                    unsent: Some(Box::new(Outgoing { upgrade, ..unsent(request, uri) })),
                    ..Failure::new(FailureKind::Unsent, error.error())
                }),
                None => Err(failure(error.error())),
            },
        }))
    }

    /// Gives the connection back once it is ready, which is just after the response's end; one that nobody wants back is closed.
    pub(crate) fn finish(self) {
        let Self { mut connection, home } = self;
        if home.strong_count() == 0 || connection.life.is_over(Instant::now()) {
            return;
        }
        if connection.is_ready() {
            give_back(connection, &home);
            return;
        }
        tokio::spawn(async move {
            if connection.sender.ready().await.is_ok() {
                give_back(connection, &home);
            }
        });
    }
}

fn give_back(connection: Http1Connection, home: &Weak<dyn Home>) {
    if let Some(home) = home.upgrade() {
        home.take_back(connection);
    }
}

/// The request as HTTP/1.1 servers want it: the path in its first line, the authority in `host`.
fn in_origin_form(mut head: http::request::Parts) -> Result<http::request::Parts, &'static str> {
    if let Some(authority) = head.uri.authority() {
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|_| "the authority is no header value")?;
        head.headers.insert(header::HOST, host);
    }
    let path = head.uri.path_and_query().cloned().ok_or("the URI has no path")?;
    head.uri = Uri::from(path);
    head.version = Version::HTTP_11;
    Ok(head)
}

/// The request as it was before [`in_origin_form`], for the next connection may speak HTTP/2.
fn unsent(request: Request<RequestBody>, uri: Uri) -> Outgoing {
    let (mut head, body) = request.into_parts();
    head.headers.remove(header::HOST);
    head.uri = uri;
    Outgoing::new(head, body)
}

fn failure(error: &hyper::Error) -> Failure {
    let kind = match (error.is_user(), error.is_parse()) {
        (true, _) => FailureKind::CallerBody,
        (_, true) => FailureKind::Garbled,
        _ => FailureKind::Terminated,
    };
    // hyper says what it was about, and its source what happened.
    match std::error::Error::source(error) {
        Some(source) => Failure::new(kind, format_args!("{error}: {source}")),
        None => Failure::new(kind, error),
    }
}

/// Of a response.
const HEADERS_MAX: usize = 128;

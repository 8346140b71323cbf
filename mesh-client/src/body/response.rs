//! The response's body: what a connection delivers, under the request's deadline.
//!
//! It is one type for all connections, neither boxed nor generic. While it lives the request is in flight: dropping it early
//! resets the stream, and the endpoint's count of open requests falls when it ends, not when the head has come.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use mesh_core::balance::InFlight;
use mesh_core::status::Fault;

use crate::connection::{Http1Stream, Http2Stream, Pump};
use crate::deadline::Timer;
use crate::upgrade::Place;

/// The body of a response.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    in_flight: Option<InFlight>,
    timer: Option<Timer>,
    protocol: Protocol,
}

/// What the caller speaks, which decides how it is told of a deadline in the midst of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A body error.
    Http,
    /// Trailers with `grpc-status` 4.
    Grpc,
}

/// Why a response's body broke off.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// The route's timeout or the caller's deadline passed.
    #[error("upstream request timeout: the response's body did not end before the deadline")]
    Deadline,
    /// The endpoint reset the stream, or the connection broke.
    #[error("the response's body broke off: {0}")]
    Http2(#[source] Arc<h2::Error>),
    /// The connection broke, or what came was no HTTP.
    #[error("the response's body broke off: {0}")]
    Http1(#[source] Arc<hyper::Error>),
}

#[derive(Debug)]
enum Source {
    /// Nothing more.
    Ended,
    /// There never is any: the connection was handed over, and its place is held where its bytes are.
    Upgraded(Weak<Place>),
    /// Made by the mesh itself.
    Local(Bytes),
    Http2 {
        stream: RecvStream,
        data_ended: bool,
        _pump: Pump,
        _permit: Http2Stream,
    },
    Http1 {
        body: Incoming,
        stream: Http1Stream,
    },
}

impl ResponseBody {
    /// A body that the mesh itself made.
    pub(crate) fn local(data: Bytes) -> Self {
        Self::new(if data.is_empty() { Source::Ended } else { Source::Local(data) })
    }

    pub(crate) fn http2(stream: RecvStream, pump: Pump, permit: Http2Stream) -> Self {
        Self::new(Source::Http2 { stream, data_ended: false, _pump: pump, _permit: permit })
    }

    pub(crate) fn http1(body: Incoming, stream: Http1Stream) -> Self {
        if Body::is_end_stream(&body) {
            stream.finish();
            return Self::new(Source::Ended);
        }
        Self::new(Source::Http1 { body, stream })
    }

    /// For a connection that was handed over.
    pub(crate) fn upgraded(place: Weak<Place>) -> Self {
        Self::new(Source::Upgraded(place))
    }

    /// Holds the request's place in the endpoint's count until the body ends, or the connection that took the body's place.
    pub(crate) fn hold(&mut self, in_flight: InFlight) {
        if let Source::Upgraded(place) = &self.source {
            if let Some(place) = place.upgrade() {
                // One request, one place: nothing can be there already.
                let _ = place.set(in_flight);
            }
        } else if !self.source_ended() {
            self.in_flight = Some(in_flight);
        }
    }

    /// Puts the body under the request's deadline.
    pub(crate) fn limit(&mut self, timer: Timer, protocol: Protocol) {
        if !self.source_ended() {
            self.timer = Some(timer);
            self.protocol = protocol;
        }
    }

    fn new(source: Source) -> Self {
        Self { source, in_flight: None, timer: None, protocol: Protocol::Http }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Ended | Source::Upgraded(_) => Poll::Ready(None),
            Source::Local(data) => {
                let data = std::mem::take(data);
                self.source = Source::Ended;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Source::Http2 { stream, data_ended, .. } => {
                poll_http2(stream, data_ended, cx).map_err(|error| BodyError::Http2(Arc::new(error)))
            }
            Source::Http1 { body, .. } => {
                Pin::new(body).poll_frame(cx).map_err(|error| BodyError::Http1(Arc::new(error)))
            }
        }
    }

    /// Lets go of the stream and of the place in the endpoint's count.
    fn end(&mut self) {
        if let Source::Http1 { stream, .. } = std::mem::replace(&mut self.source, Source::Ended) {
            stream.finish();
        }
        self.abandon();
    }

    /// As [`end`](Self::end), but the stream is in no state to be used again.
    fn abandon(&mut self) {
        self.source = Source::Ended;
        self.in_flight = None;
        self.timer = None;
    }

    fn deadline_passed(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        self.abandon();
        match self.protocol {
            Protocol::Http => Some(Err(BodyError::Deadline)),
            Protocol::Grpc => {
                let mut trailers = HeaderMap::with_capacity(2);
                trailers.insert("grpc-status", HeaderValue::from(u16::from(Fault::Timeout.grpc_status())));
                trailers.insert("grpc-message", HeaderValue::from_static("upstream request timeout"));
                Some(Ok(Frame::trailers(trailers)))
            }
        }
    }
}

fn poll_http2(
    stream: &mut RecvStream,
    data_ended: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
    while !*data_ended {
        match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) if data.is_empty() => {}
            Some(Ok(data)) => {
                let released = stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(released.map(|()| Frame::data(data))));
            }
            // A server that has answered in full may reset the rest of the request with NO_ERROR (RFC 9113, 8.1).
            Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => *data_ended = true,
        }
    }
    match ready!(stream.poll_trailers(cx)) {
        Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
        Err(error) => Poll::Ready(Some(Err(error))),
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.poll_source(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.timer.as_mut().map_or(Poll::Pending, |timer| timer.poll(cx)));
                self.deadline_passed()
            }
        };
        match &frame {
            Some(Err(_)) => self.abandon(),
            Some(Ok(frame)) if !frame.is_trailers() && !self.source_ended() => {}
            Some(Ok(_)) | None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source_ended()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ended | Source::Upgraded(_) => SizeHint::with_exact(0),
            Source::Local(data) => SizeHint::with_exact(data.len() as u64),
            Source::Http1 { body, .. } => body.size_hint(),
            Source::Http2 { .. } => SizeHint::default(),
        }
    }
}

impl ResponseBody {
    fn source_ended(&self) -> bool {
        match &self.source {
            Source::Ended | Source::Upgraded(_) => true,
            Source::Local(_) => false,
            Source::Http2 { stream, .. } => stream.is_end_stream(),
            Source::Http1 { body, .. } => Body::is_end_stream(body),
        }
    }
}

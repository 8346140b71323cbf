//! Sending a streamed request body over HTTP/2 while the caller reads the response.
//!
//! No frame is read from the caller before the peer has room for it: back-pressure reaches whoever produces the body.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};
use tokio::task::JoinHandle;

use crate::body::{BoxError, RequestBody};

/// The sending of a body. Dropping it stops the sending and resets what was not finished.
#[derive(Debug)]
pub(crate) struct Pump(Option<JoinHandle<Result<(), BoxError>>>);

impl Pump {
    /// For a body that has been handed over whole.
    pub(super) fn done() -> Self {
        Self(None)
    }

    /// Begins to send.
    pub(super) fn start(stream: SendStream<Bytes>, body: RequestBody) -> Self {
        Self(Some(tokio::spawn(send(stream, body))))
    }

    /// After the stream has failed: whether the caller's own body was the cause.
    pub(super) async fn failure(&mut self) -> Option<BoxError> {
        self.0.take()?.await.ok()?.err()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Sends until the body ends, it fails, or the peer wants no more of it. Only the body's own failure is an error: the
/// others show at the response.
async fn send(mut stream: SendStream<Bytes>, mut body: RequestBody) -> Result<(), BoxError> {
    while let Some(frame) = next_when_wanted(&mut stream, &mut body).await {
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                let _ = stream.send_data(Bytes::new(), true);
                return Ok(());
            }
            Err(error) => {
                stream.send_reset(Reason::CANCEL);
                return Err(error);
            }
        };
        match frame.into_data() {
            Ok(data) => {
                let ends = body.is_end_stream();
                if stream.send_data(data, ends).is_err() || ends {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    let _ = stream.send_trailers(trailers);
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The body's next frame once the peer has room; `None` when the peer has reset the stream or is gone.
async fn next_when_wanted(
    stream: &mut SendStream<Bytes>,
    body: &mut RequestBody,
) -> Option<Result<Option<Frame<Bytes>>, BoxError>> {
    stream.reserve_capacity(1);
    poll_fn(|cx| {
        if stream.capacity() == 0 {
            loop {
                match stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(0))) => {}
                    Poll::Ready(Some(Ok(_))) => break,
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut *body).poll_frame(cx).map(|frame| Some(frame.transpose()))
    })
    .await
}

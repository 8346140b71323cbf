//! A streamed request body of which a copy is kept, up to a limit, while it is sent.
//!
//! The copy goes where it goes only once the whole body has passed: nobody waits for it, and a body that grows beyond the limit,
//! fails, or is given up is not copied at all.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{BoxError, RequestBody};

/// What is done with a copy; without one where the body was larger than the limit.
type Finish = Box<dyn FnOnce(Option<BodyCopy>) + Send>;

/// A whole body.
#[derive(Debug, Clone, Default)]
pub(crate) struct BodyCopy {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A body on its way, and what has passed of it.
pub(crate) struct Tee {
    body: RequestBody,
    copying: Option<Copying>,
}

struct Copying {
    data: BytesMut,
    trailers: Option<HeaderMap>,
    bytes_max: usize,
    finish: Finish,
}

impl Tee {
    pub(crate) fn new(
        body: RequestBody,
        bytes_max: usize,
        finish: impl FnOnce(Option<BodyCopy>) + Send + 'static,
    ) -> Self {
        let finish = Box::new(finish);
        Self { body, copying: Some(Copying { data: BytesMut::new(), trailers: None, bytes_max, finish }) }
    }

    fn note(&mut self, frame: &Frame<Bytes>) {
        let Some(copying) = &mut self.copying else { return };
        if let Some(data) = frame.data_ref() {
            if copying.data.len() + data.len() <= copying.bytes_max {
                copying.data.extend_from_slice(data);
            } else if let Some(copying) = self.copying.take() {
                (copying.finish)(None);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            copying.trailers = Some(trailers.clone());
        }
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.note(frame),
            Some(Err(_)) => self.copying = None,
            None => {}
        }
        // Whoever sends it may not ask again after the last frame, where the body says that it is one.
        if (frame.is_none() || self.body.is_end_stream())
            && let Some(Copying { data, trailers, finish, .. }) = self.copying.take()
        {
            finish(Some(BodyCopy { data: data.freeze(), trailers }));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

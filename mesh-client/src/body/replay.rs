//! A streamed request body that can be sent again, as long as no more of it has passed than may be kept.
//!
//! Attempts share what has passed and what is still to come. Each plays the first and reads on in the second; beyond the limit
//! nothing is kept any longer, and the attempt under way is the last. Only the latest attempt may read: what an earlier one
//! has left on a connection must not take frames away from it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{BoxError, RequestBody};

/// One attempt's reading of the body.
#[derive(Debug)]
pub(crate) struct Replay {
    shared: Arc<Mutex<Shared>>,
    /// The number of the attempt.
    attempt: u32,
    /// How many of the kept frames have been played.
    played: usize,
}

#[derive(Debug)]
struct Shared {
    /// What is still to come.
    rest: RequestBody,
    kept: Vec<Kept>,
    kept_bytes: usize,
    /// Whether `kept` is all that has passed.
    is_whole: bool,
    /// The latest attempt.
    attempt: u32,
}

#[derive(Debug, Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Replay {
    pub(crate) fn new(rest: RequestBody) -> Self {
        let shared = Shared { rest, kept: Vec::new(), kept_bytes: 0, is_whole: true, attempt: 0 };
        Self { shared: Arc::new(Mutex::new(shared)), attempt: 0, played: 0 }
    }

    /// The same body from its beginning, for the next attempt; none where it is no longer kept.
    pub(crate) fn again(&self) -> Option<Self> {
        let mut shared = self.lock();
        if !shared.is_whole {
            return None;
        }
        shared.attempt += 1;
        Some(Self { shared: self.shared.clone(), attempt: shared.attempt, played: 0 })
    }

    /// Makes this one itself the latest attempt.
    pub(crate) fn take_over(&mut self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.attempt += 1;
        (self.attempt, self.played) = (shared.attempt, 0);
    }

    /// Whether it can be sent again.
    pub(crate) fn is_whole(&self) -> bool {
        self.lock().is_whole
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic in the caller's body leaves nothing half done here.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.is_whole {
            return;
        }
        let kept = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Kept::Data(data.clone()),
            (None, Some(trailers)) => Kept::Trailers(trailers.clone()),
            (None, None) => return,
        };
        let bytes = if let Kept::Data(data) = &kept { data.len() } else { 0 };
        self.kept_bytes = self.kept_bytes.saturating_add(bytes.max(FRAME_BYTES_MIN));
        if self.kept_bytes > REPLAY_BYTES_MAX {
            self.give_up();
        } else {
            self.kept.push(kept);
        }
    }

    fn give_up(&mut self) {
        self.is_whole = false;
        self.kept = Vec::new();
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut shared = this.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.attempt != this.attempt {
            return Poll::Ready(Some(Err("another attempt has taken over".into())));
        }
        if let Some(kept) = shared.kept.get(this.played).cloned() {
            this.played += 1;
            return Poll::Ready(Some(Ok(match kept {
                Kept::Data(data) => Frame::data(data),
                Kept::Trailers(trailers) => Frame::trailers(trailers),
            })));
        }
        let frame = ready!(Pin::new(&mut shared.rest).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                shared.keep(frame);
                this.played = shared.kept.len();
            }
            Some(Err(_)) => shared.give_up(),
            None => shared.rest = RequestBody::Empty,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.lock();
        self.played >= shared.kept.len() && shared.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.lock();
        let kept = shared.kept.iter().skip(self.played);
        let kept: u64 =
            kept.map(|kept| if let Kept::Data(data) = kept { data.len() as u64 } else { 0 }).sum();
        let rest = shared.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(kept)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// So much of a body is kept; a longer one is sent once.
const REPLAY_BYTES_MAX: usize = 64 * 1024;
/// What a frame counts for at least, so that a million empty ones have a limit too.
const FRAME_BYTES_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn body(pieces: impl IntoIterator<Item = &'static [u8], IntoIter: Send + 'static>) -> Replay {
        let frames =
            pieces.into_iter().map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece))));
        Replay::new(RequestBody::stream(StreamBody::new(futures_util::stream::iter(frames))))
    }

    fn read(body: Replay) -> Result<Bytes, String> {
        let collected = body.collect().now_or_never().expect("nothing to wait for");
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
    }

    fn next(body: &mut Replay) -> Option<Bytes> {
        let frame = body.frame().now_or_never().expect("nothing to wait for")?;
        Some(frame.expect("it is the latest").into_data().expect("data"))
    }

    #[test]
    fn an_attempt_plays_what_passed_and_reads_on() {
        let origin = body([&b"one "[..], b"two ", b"three"]);
        let mut first = origin.again().expect("whole");
        assert_eq!(next(&mut first).as_deref(), Some(&b"one "[..]));
        let second = origin.again().expect("whole");
        assert_eq!(second.size_hint().lower(), 4);
        assert_eq!(read(second).as_deref(), Ok(&b"one two three"[..]));
        let third = origin.again().expect("whole");
        assert_eq!(third.size_hint().exact(), Some(13));
        assert_eq!(read(third).as_deref(), Ok(&b"one two three"[..]));
    }

    #[test]
    fn an_attempt_that_was_given_up_takes_nothing_away() {
        let origin = body([&b"one "[..], b"two"]);
        let first = origin.again().expect("whole");
        let second = origin.again().expect("whole");
        assert_eq!(read(first), Err("another attempt has taken over".to_owned()));
        assert_eq!(read(second).as_deref(), Ok(&b"one two"[..]));
        let mut origin = origin;
        origin.take_over();
        assert_eq!(read(origin).as_deref(), Ok(&b"one two"[..]));
    }

    #[test]
    fn what_is_longer_than_may_be_kept_passes_once() {
        static PIECE: [u8; 32 * 1024] = [7; 32 * 1024];
        let long = body([&PIECE[..], &PIECE[..], &b"!"[..]]);
        let mut first = long.again().expect("whole");
        next(&mut first).expect("a piece");
        next(&mut first).expect("a piece");
        assert!(long.is_whole(), "just as much as may be kept");
        assert_eq!(next(&mut first).as_deref(), Some(&b"!"[..]), "it passes all the same");
        assert!(!long.is_whole() && long.again().is_none());
        let many = body((0..2000).map(|_| &b""[..]));
        assert_eq!(read(many.again().expect("whole")).as_deref(), Ok(&b""[..]));
        assert!(!many.is_whole(), "frames without bytes count too");
    }

    #[test]
    fn a_body_that_failed_is_not_sent_again() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"one"))), Err::<_, BoxError>("disk on fire".into())];
        let body = Replay::new(RequestBody::stream(StreamBody::new(futures_util::stream::iter(frames))));
        assert_eq!(read(body.again().expect("whole")), Err("disk on fire".to_owned()));
        assert!(body.again().is_none());
    }
}

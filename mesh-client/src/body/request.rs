//! The caller's request body, decided once: whole in hand, or a stream behind one pointer.
//!
//! Whatever body type a caller has, connections see this one, so that one pool serves them all. A foreign body is boxed at
//! most once, and read ahead by at most two frames without waiting: that is where a unary call's whole body shows. A body in
//! hand goes out with END_STREAM on its only DATA frame, and can be sent again after a refusal without being copied.

use std::future::poll_fn;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::Replay;

/// The error of a caller's body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Foreign = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// A request body on its way to a connection.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Nothing (more).
    Empty,
    /// All of it.
    Once(Bytes),
    /// The frames read ahead, in order, and the rest.
    Stream { first: Option<Frame<Bytes>>, second: Option<Frame<Bytes>>, rest: Foreign },
    /// A stream that can be sent again, up to a limit.
    Kept(Replay),
}

/// The first bytes of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) data: Bytes,
    /// Whether there are more.
    pub(crate) is_partial: bool,
}

impl RequestBody {
    /// Takes a caller's body over, reading what is there already. It never waits: the waker is for whoever reads on.
    pub(crate) fn read_ahead<B>(body: B, cx: &mut Context<'_>) -> Result<Self, BoxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Ok(Self::Empty);
        }
        let mut rest = Foreign::new(http_body_util::BodyExt::map_err(body, Into::into));
        let first = match Pin::new(&mut rest).poll_frame(cx) {
            Poll::Pending => return Ok(Self::Stream { first: None, second: None, rest }),
            Poll::Ready(None) => return Ok(Self::Empty),
            Poll::Ready(Some(frame)) => frame?,
        };
        let first = match first.into_data() {
            Ok(data) if rest.is_end_stream() => return Ok(Self::Once(data)),
            Ok(data) => data,
            Err(trailers) => return Ok(Self::Stream { first: Some(trailers), second: None, rest }),
        };
        let second = match Pin::new(&mut rest).poll_frame(cx) {
            Poll::Pending => None,
            Poll::Ready(None) => return Ok(Self::Once(first)),
            Poll::Ready(Some(frame)) => Some(frame?),
        };
        Ok(Self::Stream { first: Some(Frame::data(first)), second, rest })
    }

    /// Waits until more than `bytes_max` bytes are there, or the end. What was read stays a part of the body: beyond the limit,
    /// one frame at most.
    pub(crate) async fn beginning(&mut self, bytes_max: usize) -> Result<Beginning, BoxError> {
        if let Self::Once(data) = self {
            let is_partial = data.len() > bytes_max;
            return Ok(Beginning { data: data.slice(..data.len().min(bytes_max)), is_partial });
        }
        let mut read = BytesMut::new();
        let next = loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) if read.len() + data.len() <= bytes_max => read.extend_from_slice(&data),
                Some(Ok(data)) => break Some(Frame::data(data)),
                Some(Err(trailers)) => break Some(trailers),
                None => break None,
            }
        };
        let read = read.freeze();
        let mut beginning = Beginning { data: read.clone(), is_partial: false };
        if let Some(data) = next.as_ref().and_then(Frame::data_ref) {
            let cut = &data[..bytes_max - read.len()];
            beginning = Beginning { data: [&read, cut].concat().into(), is_partial: true };
        }
        let first = Some(read).filter(|read| !read.is_empty());
        *self = match (next, first, replace(self, Self::Empty)) {
            (None, None, _) => Self::Empty,
            (None, Some(all), _) => Self::Once(all),
            (second, first, Self::Stream { rest, .. }) => {
                Self::Stream { first: first.map(Frame::data), second, rest }
            }
            (second, first, rest) => {
                Self::Stream { first: first.map(Frame::data), second, rest: Foreign::new(rest) }
            }
        };
        Ok(beginning)
    }

    /// A body of any type, behind one pointer.
    pub(crate) fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let rest = Foreign::new(http_body_util::BodyExt::map_err(body, Into::into));
        Self::Stream { first: None, second: None, rest }
    }

    /// Keeps what passes of a stream, so that it can be sent again.
    pub(crate) fn keep(&mut self) {
        if let Self::Stream { .. } = self {
            *self = Self::Kept(Replay::new(replace(self, Self::Empty)));
        }
    }

    /// Whether it can be sent again.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Empty | Self::Once(_) => true,
            Self::Stream { .. } => false,
            Self::Kept(replay) => replay.is_whole(),
        }
    }

    /// The same body again, where that costs no copy of it; a stream is read once.
    pub(crate) fn replay(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Once(data) => Some(Self::Once(data.clone())),
            Self::Stream { .. } => None,
            Self::Kept(replay) => replay.again().map(Self::Kept),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Once(data) => {
                let data = std::mem::take(data);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Self::Stream { first, second, rest } => match first.take().or_else(|| second.take()) {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => Pin::new(rest).poll_frame(cx),
            },
            Self::Kept(replay) => Pin::new(replay).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(_) => false,
            Self::Stream { first, second, rest } => {
                first.is_none() && second.is_none() && rest.is_end_stream()
            }
            Self::Kept(replay) => replay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Once(data) => SizeHint::with_exact(data.len() as u64),
            Self::Kept(replay) => replay.size_hint(),
            Self::Stream { first, second, rest } => {
                let ahead: u64 = [first, second]
                    .into_iter()
                    .flatten()
                    .filter_map(|frame| frame.data_ref())
                    .map(|data| data.len() as u64)
                    .sum();
                let behind = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(behind.lower().saturating_add(ahead));
                if let Some(upper) = behind.upper().and_then(|upper| upper.checked_add(ahead)) {
                    hint.set_upper(upper);
                }
                hint
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty, Full, StreamBody};

    use super::*;

    fn streamed(
        frames: Vec<Frame<Bytes>>,
        goes_on: bool,
    ) -> impl Body<Data = Bytes, Error = std::io::Error> + Send + 'static {
        let there = futures_util::stream::iter(frames.into_iter().map(Ok));
        let pending: futures_util::stream::Pending<_> = futures_util::stream::pending();
        let later = futures_util::StreamExt::take(pending, usize::from(goes_on));
        StreamBody::new(futures_util::StreamExt::chain(there, later))
    }

    fn read<B>(body: B) -> Result<RequestBody, BoxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        RequestBody::read_ahead(body, &mut Context::from_waker(std::task::Waker::noop()))
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn what_is_there_already_decides_the_kind() {
        let check = |body: RequestBody, expected: &str| {
            let kind = match &body {
                RequestBody::Empty => "empty".to_owned(),
                RequestBody::Once(data) => format!("once {}", data.len()),
                RequestBody::Stream { first, second, .. } => {
                    format!("stream {} {}", first.is_some(), second.is_some())
                }
                RequestBody::Kept(_) => "kept".to_owned(),
            };
            assert_eq!(kind, expected);
            assert_eq!(body.replay().is_some(), !expected.starts_with("stream"));
        };
        check(read(Empty::<Bytes>::new()).unwrap(), "empty");
        check(read(Full::new(Bytes::from_static(b"abc"))).unwrap(), "once 3");
        check(read(streamed(vec![], false)).unwrap(), "empty");
        check(read(streamed(vec![data("ab")], false)).unwrap(), "once 2");
        check(read(streamed(vec![data("ab")], true)).unwrap(), "stream true false");
        check(read(streamed(vec![], true)).unwrap(), "stream false false");
        let two = streamed(vec![data("ab"), data("cd")], false);
        check(read(two).unwrap(), "stream true true");
    }

    #[tokio::test]
    async fn a_stream_keeps_its_frames_in_order_and_its_trailers() {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("6"));
        let frames = vec![data("ab"), data("cd"), data("ef"), Frame::trailers(trailers)];
        let body = read(streamed(frames, false)).unwrap();
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "6");
        assert_eq!(collected.to_bytes(), "abcdef");
    }

    #[tokio::test]
    async fn a_beginning_is_read_and_given_back() {
        let check = async |frames: &[&'static str], told: &str, is_partial: bool| {
            let frames: Vec<_> = frames.iter().map(|text| data(text)).collect();
            let mut body = RequestBody::stream(streamed(frames, is_partial));
            let beginning = body.beginning(4).await.unwrap();
            assert_eq!((&*beginning.data, beginning.is_partial), (told.as_bytes(), is_partial));
            body
        };
        let whole = |body: RequestBody| async { body.collect().await.unwrap().to_bytes() };
        assert!(matches!(check(&[], "", false).await, RequestBody::Empty));
        assert_eq!(check(&["ab"], "ab", false).await.replay().unwrap().size_hint().exact(), Some(2));
        assert_eq!(whole(check(&["ab", "cd"], "abcd", false).await).await, "abcd", "just as much");
        let mut more = check(&["ab", "cdef"], "abcd", true).await;
        let frames = [more.frame().await, more.frame().await].map(|frame| frame.unwrap().unwrap());
        assert_eq!(frames.map(|frame| frame.into_data().unwrap()), ["ab", "cdef"]);
        let mut once = RequestBody::Once(Bytes::from_static(b"abcdef"));
        let cut = Beginning { data: Bytes::from_static(b"abcd"), is_partial: true };
        assert_eq!(once.beginning(4).await.unwrap(), cut);
        assert_eq!(whole(once).await, "abcdef");
    }

    #[test]
    fn a_body_that_fails_at_once_is_the_callers_error() {
        let failing = StreamBody::new(futures_util::stream::iter([Err::<Frame<Bytes>, _>(
            std::io::Error::other("disk on fire"),
        )]));
        let error = read(failing).unwrap_err();
        assert_eq!(error.to_string(), "disk on fire");
    }
}

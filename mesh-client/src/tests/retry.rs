//! What is tried again, and what is not.

use bytes::Bytes;
use futures_util::StreamExt;
use h2::Reason;
use http_body::Frame;
use http_body_util::{Full, StreamBody};

use super::peer::{Manner, Peer};
use super::*;
use mesh_core::status::ResponseFlag;

fn counts(outbound: &Outbound, flag: ResponseFlag) -> [u64; 3] {
    outbound.state.records.of(&CLUSTER.into()).counts(flag)
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_costs_no_request() {
    let alive = Peer::start(Manner::Echo).await;
    let outbound = Setup::http2([deserted(), deserted(), alive.address]).outbound();
    for number in 0..20 {
        let response = send(&outbound, post(Full::new(Bytes::from(number.to_string())))).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, number.to_string());
    }
    assert_eq!(alive.requests(), 20);
    assert!(counts(&outbound, ResponseFlag::UF)[1] > 0, "retries are counted");
}

#[tokio::test]
async fn a_refused_stream_goes_to_another_endpoint_with_the_same_body() {
    let refusing = Peer::start(Manner::Reset(Reason::REFUSED_STREAM)).await;
    let alive = Peer::start(Manner::Echo).await;
    let outbound = Setup::http2([refusing.address, alive.address]).outbound();
    for _ in 0..4 {
        let response = send(&outbound, post(Full::new(Bytes::from_static(b"the same")))).await;
        assert_eq!(text(response).await, "the same");
    }
    assert_eq!(refusing.requests(), 4, "a retry takes its turn too, so each request begins at it");
    assert_eq!(alive.requests(), 4);
}

#[tokio::test]
async fn two_more_attempts_are_made_and_then_the_last_failure_is_told() {
    let refusing = Peer::start(Manner::Reset(Reason::REFUSED_STREAM)).await;
    let outbound = Setup::http2([refusing.address]).outbound();
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 503);
    assert!(matches!(error(&response), ClientError::Refused { .. }), "{}", error(&response));
    assert_eq!(refusing.requests(), 3);
    assert_eq!(counts(&outbound, ResponseFlag::UR), [1, 2, 1]);
}

#[tokio::test]
async fn what_may_have_been_processed_is_not_repeated() {
    let resetting = Peer::start(Manner::Reset(Reason::INTERNAL_ERROR)).await;
    let outbound = Setup::http2([resetting.address]).outbound();
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 503);
    assert!(matches!(error(&response), ClientError::Broken { reset: true, .. }), "{}", error(&response));
    assert_eq!(resetting.requests(), 1);
}

#[tokio::test]
async fn a_body_that_was_read_of_is_not_sent_again() {
    let refusing = Peer::start(Manner::Reset(Reason::REFUSED_STREAM)).await;
    let outbound = Setup::http2([refusing.address]).outbound();
    let pieces = futures_util::stream::unfold(0, async |number| {
        tokio::task::yield_now().await;
        (number < 3).then(|| (Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"piece"))), number + 1))
    });
    let response = send(&outbound, post(StreamBody::new(Box::pin(pieces)))).await;
    assert_eq!(response.status(), 503);
    assert_eq!(refusing.requests(), 1);
}

#[tokio::test]
async fn without_a_policy_there_is_one_attempt() {
    let setup = Setup { retries: 0, ..Setup::http2([deserted()]) };
    let outbound = setup.outbound();
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 503);
    let error = error(&response);
    assert!(matches!(error, ClientError::Connect(_)), "{error}");
    assert!(error.to_string().contains(&setup.addresses[0].to_string()), "it names the endpoint: {error}");
    assert_eq!(counts(&outbound, ResponseFlag::UF), [1, 0, 1]);
}

#[tokio::test]
async fn a_peer_that_leaves_after_each_answer_fails_no_request() {
    let leaving = Peer::start(Manner::Leave).await;
    let outbound = Setup { retries: 0, ..Setup::http2([leaving.address]) }.outbound();
    for _ in 0..10 {
        assert_eq!(text(send(&outbound, get("/")).await).await, "bye");
        leaving.until_open(0).await;
    }
    assert_eq!(leaving.requests(), 10);
}

#[tokio::test]
async fn a_body_that_fails_is_the_callers_own_failure() {
    let peer = Peer::start(Manner::Echo).await;
    let outbound = Setup::http2([peer.address]).outbound();
    let pieces = futures_util::stream::unfold(0, async |number| {
        tokio::task::yield_now().await;
        let piece = match number {
            0 => Ok(Frame::data(Bytes::from_static(b"piece"))),
            _ => Err(std::io::Error::other("disk on fire")),
        };
        Some((piece, number + 1))
    });
    let response = send(&outbound, post(StreamBody::new(Box::pin(pieces)))).await;
    assert_eq!(response.status(), 400);
    assert_eq!(error(&response).to_string(), "the request's body failed: disk on fire");
}

/// Pieces of a body that come one by one, so that it is a stream.
fn stream(pieces: usize, piece: &'static [u8]) -> StreamBody<impl futures_util::Stream<Item = StreamItem>> {
    let pieces = futures_util::stream::iter(std::iter::repeat_n(piece, pieces));
    StreamBody::new(Box::pin(pieces.then(async |piece| {
        tokio::task::yield_now().await;
        Ok(Frame::data(Bytes::from_static(piece)))
    })))
}

type StreamItem = Result<Frame<Bytes>, std::io::Error>;

#[tokio::test]
async fn an_answer_that_the_policy_names_is_repeated_with_the_same_body() {
    let check = async |condition: RetryCondition, status, grpc_status, requests| {
        let manner = Manner::Fail { first: 2, status, grpc_status };
        let (peer, on) = (Peer::start(manner).await, Box::leak(Box::new([condition])));
        let outbound = Setup { retry_on: on, ..Setup::http2([peer.address]) }.outbound();
        let response = send(&outbound, post(stream(3, b"piece "))).await;
        let expected = if requests == 3 { "piece piece piece " } else { "failed" };
        assert_eq!(text(response).await, expected, "{condition:?} {status} {grpc_status:?}");
        assert_eq!(peer.requests(), requests, "{condition:?} {status} {grpc_status:?}");
    };
    check(RetryCondition::ServerError, 500, None, 3).await;
    check(RetryCondition::ServerError, 404, None, 1).await;
    check(RetryCondition::GatewayError, 503, None, 3).await;
    check(RetryCondition::GatewayError, 500, None, 1).await;
    check(RetryCondition::Retriable4xx, 409, None, 3).await;
    check(RetryCondition::Unavailable, 200, Some(14), 3).await;
    check(RetryCondition::Unavailable, 200, Some(13), 1).await;
}

#[tokio::test]
async fn when_no_attempts_are_left_the_last_answer_is_the_callers() {
    let peer = Peer::start(Manner::Fail { first: 9, status: 503, grpc_status: None }).await;
    let setup = Setup { retry_on: &[RetryCondition::ServerError], ..Setup::http2([peer.address]) };
    let outbound = setup.outbound();
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(text(response).await, "failed");
    assert_eq!(peer.requests(), 3);
    // The streams of what was dropped are free again.
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_long_body_is_sent_once() {
    static PIECE: [u8; 16 * 1024] = [b'.'; 16 * 1024];
    let peer = Peer::start(Manner::Fail { first: 9, status: 503, grpc_status: None }).await;
    let setup = Setup { retry_on: &[RetryCondition::ServerError], ..Setup::http2([peer.address]) };
    let response = send(&setup.outbound(), post(stream(5, &PIECE))).await;
    assert_eq!(text(response).await, "failed");
    assert_eq!(peer.requests(), 1);
}

#[tokio::test]
async fn a_reset_is_repeated_where_the_policy_says_so() {
    let resetting = Peer::start(Manner::Reset(Reason::INTERNAL_ERROR)).await;
    let alive = Peer::start(Manner::Echo).await;
    let setup =
        Setup { retry_on: &[RetryCondition::Reset], ..Setup::http2([resetting.address, alive.address]) };
    let outbound = setup.outbound();
    for _ in 0..4 {
        assert_eq!(text(send(&outbound, post(stream(2, b"piece "))).await).await, "piece piece ");
    }
    assert_eq!((resetting.requests(), alive.requests()), (4, 4), "the next attempt goes elsewhere");
}

#[tokio::test]
async fn an_attempt_whose_time_is_over_is_followed_by_another_where_the_policy_says_so() {
    let silent = Peer::start(Manner::Silent(Arc::default())).await;
    let alive = Peer::start(Manner::Echo).await;
    let setup = Setup {
        retry_on: &[RetryCondition::GatewayError],
        per_try_timeout: Some(Duration::from_millis(50)),
        ..Setup::http2([silent.address, alive.address])
    };
    let response = send(&setup.outbound(), post(Full::new(Bytes::from_static(b"late")))).await;
    assert_eq!(text(response).await, "late");
    let safe = Setup { per_try_timeout: Some(Duration::from_millis(50)), ..Setup::http2([silent.address]) };
    let response = send(&safe.outbound(), get("/")).await;
    assert_eq!(response.status(), 504, "by default what may be done already is not done again");
    assert_eq!(silent.requests(), 2);
}

#[tokio::test]
async fn the_routes_timeout_holds_over_all_attempts_and_their_pauses() {
    let peer = Peer::start(Manner::Fail { first: u32::MAX, status: 503, grpc_status: None }).await;
    let setup = Setup {
        retries: 1_000,
        retry_on: &[RetryCondition::ServerError],
        timeout: Some(Duration::from_millis(200)),
        ..Setup::http2([peer.address])
    };
    let response = send(&setup.outbound(), get("/")).await;
    assert_eq!(response.status(), 504);
    // Pauses are of at least half of 25 ms, then double.
    assert!((2..=6).contains(&peer.requests()), "{}", peer.requests());
}

//! Bodies in both directions, and the deadline over them.

use std::sync::atomic::Ordering;
use std::time::Instant;

use http_body_util::{Full, StreamBody};
use mesh_core::context::RequestContext;

use super::peer::{Manner, Peer};
use super::*;
use crate::BodyError;

#[tokio::test]
async fn trailers_pass_and_the_request_is_in_flight_until_they_have() {
    let peer = Peer::start(Manner::Trailers).await;
    let setup = Setup::http2([peer.address]);
    let cluster = setup.cluster();
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    let outbound = outbound(Parts { snapshot: snapshot(routes, Some(cluster.clone())), ..Parts::default() });
    let mut body = send(&outbound, get("/")).await.into_body();
    let in_flight = || cluster.endpoints[0].state.in_flight.load(Ordering::Relaxed);
    assert_eq!(in_flight(), 1);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "body");
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["x-sum"], "4");
    assert_eq!(in_flight(), 0);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_large_body_passes_in_both_directions() {
    let peer = Peer::start(Manner::Echo).await;
    let outbound = Setup::http2([peer.address]).outbound();
    let sent: Bytes = (0..5_000_000_u32).map(|number| number.to_le_bytes()[0]).collect::<Vec<_>>().into();
    let pieces =
        sent.chunks(70_000).map(|piece| Ok::<_, BoxError>(http_body::Frame::data(sent.slice_ref(piece))));
    let streamed = StreamBody::new(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    for response in
        [send(&outbound, post(Full::new(sent.clone()))).await, send(&outbound, post(streamed)).await]
    {
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_has_not_waited_for_the_body_is_an_answer() {
    // It resets the rest of the request, at times before the body is handed to the connection's other thread.
    let peer = Peer::start(Manner::TellHeaders).await;
    let outbound = Setup::http2([peer.address]).outbound();
    for call in 0..3_000 {
        let response = send(&outbound, post(Full::new(Bytes::from_static(b"unread")))).await;
        let failed = response.extensions().get::<ClientError>().cloned();
        assert_eq!(response.status(), StatusCode::OK, "call {call}: {failed:?}");
        assert!(text(response).await.contains(":path: /"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_read_no_bodies_cost_no_connection() {
    // More than ten times what h2 puts up with by default.
    let peer = Peer::start(Manner::TellHeaders).await;
    let outbound = Setup::http2([peer.address]).outbound();
    for _ in 0..10_000 {
        let response = send(&outbound, get("/")).await;
        let failed = response.extensions().get::<ClientError>().cloned();
        assert_eq!(response.status(), StatusCode::OK, "{failed:?}");
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_try_may_take_so_long_until_its_answer_begins() {
    let stalling = Peer::start(Manner::Stall).await;
    let silent = Peer::start(Manner::Silent(Arc::default())).await;
    let per_try_timeout = Some(Duration::from_millis(60));
    let outbound = Setup { per_try_timeout, ..Setup::http2([silent.address]) }.outbound();
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 504);
    assert!(matches!(error(&response), ClientError::Deadline));
    assert_eq!(silent.requests(), 1, "what may have been done is not done again");
    let outbound = Setup { per_try_timeout, ..Setup::http2([stalling.address]) }.outbound();
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 200, "the body is under the route's timeout alone");
}

#[tokio::test]
async fn the_routes_timeout_covers_head_and_body() {
    let stalling = Peer::start(Manner::Stall).await;
    let silent = Peer::start(Manner::Silent(Arc::default())).await;
    let timeout = Some(Duration::from_millis(60));
    let outbound = Setup { timeout, ..Setup::http2([silent.address]) }.outbound();
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 504);
    assert!(matches!(error(&response), ClientError::Deadline));

    let outbound = Setup { timeout, ..Setup::http2([stalling.address]) }.outbound();
    let mut body = send(&outbound, get("/")).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    assert!(matches!(body.frame().await.unwrap(), Err(BodyError::Deadline)));
}

#[tokio::test]
async fn a_grpc_caller_is_told_of_the_deadline_in_trailers() {
    let stalling = Peer::start(Manner::Stall).await;
    let outbound = Setup::http2([stalling.address]).outbound();
    let mut request = post(Full::new(Bytes::from_static(b"\0\0\0\0\0")));
    request.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    request.headers_mut().insert("grpc-timeout", "60m".parse().unwrap());
    let mut body = send(&outbound, request).await.into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["grpc-status"], "4");
}

#[tokio::test]
async fn what_remains_of_an_inherited_deadline_is_announced_with_the_trace() {
    let peer = Peer::start(Manner::TellHeaders).await;
    let outbound = Setup::http2([peer.address]).outbound();
    let context = RequestContext {
        deadline: Some(Instant::now() + Duration::from_secs(20)),
        trace: [("traceparent".parse().unwrap(), "00-trace".parse().unwrap())].into_iter().collect(),
        ..RequestContext::default()
    };
    let told = Arc::new(context).scope(async { text(send(&outbound, get("/a?b=c")).await).await }).await;
    assert!(told.contains(":authority: reviews:9080\n:path: /a?b=c"), "{told}");
    assert!(told.contains("traceparent: 00-trace"), "{told}");
    let announced = told.lines().find_map(|line| line.strip_prefix("x-envoy-expected-rq-timeout-ms: "));
    let announced: u64 = announced.expect("a timeout").parse().unwrap();
    assert!((15_000..=20_000).contains(&announced), "{announced}");
}

#[tokio::test]
async fn a_deadline_that_has_passed_already_sends_nothing() {
    let peer = Peer::start(Manner::Echo).await;
    let outbound = Setup::http2([peer.address]).outbound();
    let context = RequestContext { deadline: Some(Instant::now()), ..RequestContext::default() };
    let response = Arc::new(context).scope(async { send(&outbound, get("/")).await }).await;
    assert_eq!(response.status(), 504);
    assert_eq!(peer.requests(), 0);
}

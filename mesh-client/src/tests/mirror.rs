//! Copies of requests: who gets them, and what never becomes of the request because of them.

use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use mesh_core::route::{Fraction, Mirror};
use mesh_core::status::ResponseFlag;
use tokio::sync::Semaphore;

use super::peer::{Manner, Peer};
use super::*;

/// A rule that sends to one peer and copies to another.
fn mirrored(original: &Peer, copies: SocketAddr, fraction: Fraction) -> Outbound {
    let setup = Setup::http2([original.address]);
    let RouteAction::Forward(mut forward) = setup.forward() else { panic!("no forward") };
    forward.mirrors = vec![Mirror { cluster: COPIES.into(), cluster_index: 1, fraction }];
    let rule = route(RouteMatch::everything(), RouteAction::Forward(forward));
    let cluster = Setup { name: COPIES, ..Setup::http2([copies]) }.cluster();
    let snapshot = snapshot_of(vec![rule], [Some(setup.cluster()), Some(cluster)]);
    outbound(Parts { snapshot, ..Parts::default() })
}

fn unmirrored(outbound: &Outbound) -> u64 {
    outbound.state.records.of(&COPIES.into()).unmirrored()
}

/// A body that comes in pieces, later than its head.
fn streamed(pieces: usize, bytes: usize) -> impl Body<Data = Bytes, Error = std::convert::Infallible> + Send {
    StreamBody::new(futures_util::stream::unfold(pieces, move |left| async move {
        tokio::task::yield_now().await;
        let data = Bytes::from(vec![b'x'; bytes]);
        (left > 0).then(|| (Ok(Frame::data(data)), left - 1))
    }))
}

#[tokio::test]
async fn a_copy_goes_to_its_cluster_and_its_answer_nowhere() {
    let (original, copies) = (Peer::start(Manner::TellHeaders).await, Peer::start(Manner::Echo).await);
    let outbound = mirrored(&original, copies.address, Fraction::ALL);
    let response = send(&outbound, get("/a")).await;
    assert!(text(response).await.contains(":authority: reviews:9080\n"), "the request itself is not changed");
    copies.until_requests(1).await;
    assert_eq!((original.requests(), copies.requests()), (1, 1));
}

#[tokio::test]
async fn a_copy_says_that_it_is_one_and_has_the_whole_body() {
    let original = Peer::start(Manner::Echo).await;
    let (told, mut tells) = tokio::sync::mpsc::channel(8);
    let copies = Peer::start(Manner::Report(told)).await;
    let outbound = mirrored(&original, copies.address, Fraction::ALL);
    let response = send(&outbound, post(Full::new(Bytes::from_static(b"in hand")))).await;
    assert_eq!(text(response).await, "in hand");
    assert_eq!(tells.recv().await.unwrap(), ("reviews-shadow:9080".to_owned(), "in hand".into()));
    let response = send(&outbound, post(streamed(3, 2))).await;
    assert_eq!(text(response).await, "xxxxxx");
    assert_eq!(tells.recv().await.unwrap(), ("reviews-shadow:9080".to_owned(), "xxxxxx".into()));
}

#[tokio::test]
async fn a_share_of_none_copies_nothing() {
    let (original, copies) = (Peer::start(Manner::Echo).await, Peer::start(Manner::Echo).await);
    let outbound = mirrored(&original, copies.address, Fraction::of_million(0));
    for _ in 0..50 {
        assert_eq!(send(&outbound, get("/")).await.status(), 200);
    }
    assert_eq!((original.requests(), copies.requests(), unmirrored(&outbound)), (50, 0, 0));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_sent_and_not_mirrored() {
    let (original, copies) = (Peer::start(Manner::Echo).await, Peer::start(Manner::Echo).await);
    let outbound = mirrored(&original, copies.address, Fraction::ALL);
    let response = send(&outbound, post(streamed(40, 8 * 1024))).await;
    assert_eq!(text(response).await.len(), 320 * 1024);
    let response = send(&outbound, post(Full::new(Bytes::from(vec![b'x'; 300 * 1024])))).await;
    assert_eq!(text(response).await.len(), 300 * 1024);
    assert_eq!((original.requests(), copies.requests(), unmirrored(&outbound)), (2, 0, 2));
}

#[tokio::test]
async fn a_mirror_that_fails_or_hangs_hurts_no_request() {
    let original = Peer::start(Manner::Echo).await;
    let nobody = mirrored(&original, deserted(), Fraction::ALL);
    assert_eq!(send(&nobody, get("/")).await.status(), 200);
    let hangs = Peer::start(Manner::Wait(std::sync::Arc::new(Semaphore::new(0)))).await;
    let outbound = mirrored(&original, hangs.address, Fraction::ALL);
    for _ in 0..300 {
        assert_eq!(send(&outbound, get("/")).await.status(), 200);
    }
    assert_eq!(unmirrored(&outbound), 44, "256 are in flight");
    let counts = outbound.state.records.of(&CLUSTER.into()).counts(ResponseFlag::UF);
    assert_eq!(counts, [300, 0, 0]);
}

const COPIES: &str = "outbound|9080|v2|reviews.default.svc.cluster.local";

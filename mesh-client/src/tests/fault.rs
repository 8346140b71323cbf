//! Faults that a rule injects.

use mesh_core::route::{Abort, AbortStatus, Delay, FaultInjection, Fraction};
use mesh_core::status::ResponseFlag;
use tokio::time::Instant;

use super::peer::{Manner, Peer};
use super::*;
use crate::deadline::GRPC_TIMEOUT;

fn delay(millis: u64, fraction: Fraction) -> Option<Delay> {
    Some(Delay { duration: Duration::from_millis(millis), fraction })
}

fn abort(status: AbortStatus, fraction: Fraction) -> Option<Abort> {
    Some(Abort { status, fraction })
}

fn faulty(setup: &Setup, fault: FaultInjection) -> Outbound {
    let mut faulty = route(RouteMatch::everything(), setup.forward());
    faulty.filters.fault = Some(fault);
    let snapshot = snapshot(vec![faulty], Some(setup.cluster()));
    outbound(Parts { snapshot, ..Parts::default() })
}

fn grpc(mut request: Request<http_body_util::Empty<Bytes>>) -> Request<http_body_util::Empty<Bytes>> {
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request
}

#[tokio::test]
async fn an_abort_answers_each_caller_in_its_protocol_and_asks_nobody() {
    let check = async |status, http: u16, grpc_status: &str| {
        let fault = FaultInjection { delay: None, abort: abort(status, Fraction::ALL) };
        let outbound = faulty(&Setup::http2([deserted()]), fault);
        let response = send(&outbound, get("/")).await;
        assert_eq!((response.status().as_u16(), error(&response).flag()), (http, Some(ResponseFlag::FI)));
        assert_eq!(text(response).await, "fault filter abort");
        let response = send(&outbound, grpc(get("/"))).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], grpc_status);
        assert!(http_body::Body::is_end_stream(response.body()));
    };
    check(AbortStatus::Http(StatusCode::FORBIDDEN), 403, "7").await;
    check(AbortStatus::Grpc(8), 429, "8").await;
}

#[tokio::test]
async fn the_share_of_aborted_requests_is_the_one_that_is_said() {
    let peer = Peer::start(Manner::TellHeaders).await;
    let status = AbortStatus::Http(StatusCode::FORBIDDEN);
    let fault = FaultInjection { delay: None, abort: abort(status, Fraction::of_million(300_000)) };
    let outbound = faulty(&Setup::http2([peer.address]), fault);
    let mut rng = fastrand::Rng::with_seed(11);
    let mut aborted = 0;
    for _ in 0..1000 {
        let response = outbound.clone().call_with(None, get("/"), rng.fork()).await;
        aborted += u32::from(response.status() == 403);
    }
    // Three standard deviations of 1000 draws at 30 %.
    assert!((257..=343).contains(&aborted), "{aborted}");
}

/// Where nobody serves: how long a delay of 2 s holds the request up, and how it ends.
async fn held_up(fraction: Fraction, grpc_timeout: Option<&str>) -> (Duration, u16) {
    let setup = Setup { timeout: Some(Duration::from_millis(100)), ..Setup::http2([]) };
    let outbound = faulty(&setup, FaultInjection { delay: delay(2_000, fraction), abort: None });
    let mut request = get("/");
    grpc_timeout.map(|value| request.headers_mut().insert(GRPC_TIMEOUT, value.parse().unwrap()));
    let start = Instant::now();
    let status = send(&outbound, request).await.status();
    (start.elapsed(), status.as_u16())
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_no_part_of_the_routes_timeout() {
    let (waited, status) = held_up(Fraction::ALL, None).await;
    assert_eq!((waited.as_millis() / 10, status), (200, 503));
    let (waited, status) = held_up(Fraction::of_million(0), None).await;
    assert_eq!((waited.as_millis() / 10, status), (0, 503));
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_deadline_goes_on_during_a_delay() {
    let (waited, status) = held_up(Fraction::ALL, Some("500m")).await;
    assert_eq!((waited.as_millis() / 10, status), (50, 504));
}

#[tokio::test(start_paused = true)]
async fn the_delay_comes_before_the_abort() {
    let status = AbortStatus::Http(StatusCode::FORBIDDEN);
    let fault = FaultInjection { delay: delay(1_000, Fraction::ALL), abort: abort(status, Fraction::ALL) };
    let outbound = faulty(&Setup::http2([deserted()]), fault);
    let start = Instant::now();
    assert_eq!(send(&outbound, get("/")).await.status(), 403);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

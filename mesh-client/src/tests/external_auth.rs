//! External authorization: what the service is asked, what its answer does, and that nothing passes without a yes.

use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue as WireValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::Empty;
use mesh_core::matcher::{Pattern, Text};
use mesh_core::route::{
    AuthBody, AuthProtocol, CorsPolicy, DirectResponse, ExternalAuth, GrpcAuth, HttpAuth,
};
use mesh_core::status::ResponseFlag;
use prost::Message;
use tokio::sync::{Notify, mpsc};

use super::peer::{Judge, Manner, Peer};
use super::*;

const AUTH: &str = "outbound|9000||auth.default.svc.cluster.local";

fn exactly(name: &str) -> Pattern {
    Pattern::Exact(Text { text: name.into(), ignore_case: false })
}

fn http() -> AuthProtocol {
    AuthProtocol::Http(HttpAuth {
        path_prefix: "/check".into(),
        request_headers: vec![exactly("x-told")],
        answer_headers: vec![exactly("x-user")],
    })
}

fn grpc() -> AuthProtocol {
    let authority = http::uri::Authority::from_static("auth.default.svc.cluster.local:9000");
    AuthProtocol::Grpc(GrpcAuth { authority, request_headers: None })
}

/// A service that answers everything alike, and what it is asked.
async fn judge(
    answer: Response<Bytes>,
    trailers: Option<HeaderMap>,
) -> (Peer, mpsc::Receiver<Request<Bytes>>) {
    let (asked, asks) = mpsc::channel(8);
    (Peer::start(Manner::Judge(Arc::new(Judge { answer, trailers, asked }))).await, asks)
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        answer.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    answer
}

/// A service of gRPC that answers so.
async fn grpc_judge(code: i32, response: Option<HttpResponse>) -> (Peer, mpsc::Receiver<Request<Bytes>>) {
    let status = Some(rpc::Status { code, ..rpc::Status::default() });
    let message = CheckResponse { status, http_response: response, ..CheckResponse::default() };
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    framed.extend(message.encode_to_vec());
    let answer = answer(200, &[("content-type", "application/grpc")], "").map(|_| Bytes::from(framed));
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    judge(answer, Some(trailers)).await
}

fn option(name: &str, value: &str) -> HeaderValueOption {
    let header = WireValue { key: name.into(), value: value.into(), ..WireValue::default() };
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

/// A rule to one peer for which another is asked.
struct Asks {
    protocol: AuthProtocol,
    timeout: Option<Duration>,
    cors: bool,
    body: Option<AuthBody>,
}

impl Asks {
    fn by(protocol: AuthProtocol) -> Self {
        Self { protocol, timeout: None, cors: false, body: None }
    }

    fn outbound(self, destination: &Peer, service: Option<Vec<SocketAddr>>) -> Outbound {
        let setup = Setup { timeout: self.timeout, ..Setup::http2([destination.address]) };
        let mut rule = route(RouteMatch::everything(), setup.forward());
        rule.provenance.document = Some("HTTPRoute/default/reviews".into());
        self.guard(&mut rule);
        let service = service.map(|all| Setup { name: AUTH, ..Setup::http2(all) }.cluster());
        let snapshot = snapshot_of(vec![rule], [Some(setup.cluster()), service]);
        outbound(Parts { snapshot, ..Parts::default() })
    }

    fn guard(self, rule: &mut Route) {
        rule.filters.external_auth = Some(ExternalAuth {
            cluster: AUTH.into(),
            cluster_index: 1,
            protocol: self.protocol,
            timeout: Duration::from_secs(5),
            body: self.body,
        });
        rule.filters.cors = self
            .cors
            .then(|| CorsPolicy { allow_origins: vec![exactly("https://shop")], ..CorsPolicy::default() });
    }
}

fn asking(path: &str, headers: &[(&'static str, &'static str)]) -> Request<Empty<Bytes>> {
    let mut request = get(path);
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

fn grpc_call() -> Request<Empty<Bytes>> {
    let mut request = asking("/reviews.v1.Reviews/Get", &[("content-type", "application/grpc")]);
    *request.method_mut() = Method::POST;
    request
}

fn denials(outbound: &Outbound) -> [u64; 3] {
    outbound.state.records.of(&AUTH.into()).counts(ResponseFlag::UAEX)
}

#[tokio::test]
async fn a_yes_takes_headers_along_that_the_caller_cannot_forge() {
    let destination = Peer::start(Manner::TellHeaders).await;
    let (service, mut asks) = judge(answer(200, &[("x-user", "jason"), ("x-else", "1")], "yes"), None).await;
    let outbound = Asks::by(http()).outbound(&destination, Some(vec![service.address]));
    let said = [("authorization", "Bearer a"), ("x-told", "1"), ("x-untold", "2"), ("x-user", "root")];
    let told = text(send(&outbound, asking("/a?b=c", &said)).await).await;
    assert!(told.contains("x-user: jason") && !told.contains("root"), "{told}");
    assert!(told.contains("x-untold: 2") && !told.contains("x-else"), "{told}");
    let asked = asks.recv().await.unwrap();
    assert_eq!(
        (asked.method(), asked.uri().to_string()),
        (&Method::GET, "http://reviews:9080/check/a?b=c".into())
    );
    let header = |name: &str| asked.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!([header("authorization"), header("x-told")], [Some("Bearer a"), Some("1")]);
    assert_eq!([header("x-untold"), header("x-user")], [None, None]);
    assert_eq!(denials(&outbound), [1, 0, 0]);
}

/// A body in two pieces, of which the second comes once it is let.
fn in_pieces(second: Arc<Notify>) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static {
    let frame = |text: &'static [u8]| Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(text)));
    let first = futures_util::stream::iter([frame(b"one ")]);
    let second = futures_util::stream::once(async move {
        second.notified().await;
        frame(b"two")
    });
    http_body_util::StreamBody::new(futures_util::StreamExt::chain(first, second))
}

fn told(bytes_max: usize, protocol: AuthProtocol) -> Asks {
    Asks { body: Some(AuthBody { bytes_max, as_bytes: false }), ..Asks::by(protocol) }
}

#[tokio::test]
async fn the_beginning_of_a_body_is_told_and_still_sent_whole() {
    let destination = Peer::start(Manner::Echo).await;
    let (service, mut asks) = judge(answer(200, &[], ""), None).await;
    for (bytes_max, beginning, partial) in [(5, "one t", "true"), (7, "one two", "false")] {
        let outbound = told(bytes_max, http()).outbound(&destination, Some(vec![service.address]));
        let second = Arc::new(Notify::new());
        let request = Request::post("http://reviews:9080/").body(in_pieces(second.clone())).unwrap();
        let call = tokio::spawn(async move { text(send(&outbound, request).await).await });
        second.notify_one();
        assert_eq!(call.await.unwrap(), "one two");
        let asked = asks.recv().await.unwrap();
        let header = |name: &str| asked.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!((&**asked.body(), asked.method()), (beginning.as_bytes(), &Method::POST));
        assert_eq!(header("content-length"), Some(&*beginning.len().to_string()));
        assert_eq!(header("x-envoy-auth-partial-body"), Some(partial));
    }
    let (service, mut asks) = grpc_judge(0, None).await;
    let outbound = told(5, grpc()).outbound(&destination, Some(vec![service.address]));
    let request = Request::post("http://reviews:9080/").body("one two".to_owned()).unwrap();
    assert_eq!(text(send(&outbound, request).await).await, "one two");
    let asked = asks.recv().await.unwrap();
    let attributes = CheckRequest::decode(&asked.body()[5..]).unwrap().attributes.unwrap();
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!((&*http.body, &*http.headers["x-envoy-auth-partial-body"]), ("one t", "true"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_within_the_requests_time() {
    let destination = Peer::start(Manner::Echo).await;
    let (service, _asks) = judge(answer(200, &[], ""), None).await;
    let asks = Asks { timeout: Some(Duration::from_millis(100)), ..told(5, http()) };
    let outbound = asks.outbound(&destination, Some(vec![service.address]));
    let request = Request::post("http://reviews:9080/").body(in_pieces(Arc::default())).unwrap();
    let response = send(&outbound, request).await;
    assert!(matches!(error(&response), ClientError::Deadline));
    assert_eq!((response.status().as_u16(), service.requests(), destination.requests()), (504, 0, 0));
}

#[tokio::test]
async fn a_no_is_the_services_own_answer_and_nothing_is_sent() {
    let destination = Peer::start(Manner::Echo).await;
    let said = answer(401, &[("www-authenticate", "Basic"), ("content-type", "text/html")], "<p>who?</p>");
    let (service, _asks) = judge(said, None).await;
    let outbound = Asks::by(http()).outbound(&destination, Some(vec![service.address]));
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 401);
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!([header("www-authenticate"), header("content-type")], [Some("Basic"), Some("text/html")]);
    assert_eq!(header("content-length"), Some("11"));
    assert!(matches!(error(&response), ClientError::Denied { status: StatusCode::UNAUTHORIZED, .. }));
    let rule = response.extensions().get::<Provenance>().expect("the rule");
    assert_eq!(rule.document.as_deref(), Some("HTTPRoute/default/reviews"));
    assert_eq!(text(response).await, "<p>who?</p>");

    let response = send(&outbound, grpc_call()).await;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!((response.status().as_u16(), header("grpc-status")), (200, Some("16")));
    assert_eq!(
        [header("grpc-message"), header("content-type")],
        [Some("<p>who?</p>"), Some("application/grpc")]
    );
    assert_eq!((destination.requests(), denials(&outbound)), (0, [2, 0, 2]));
}

#[tokio::test]
async fn a_service_of_grpc_says_yes_with_changes_of_headers() {
    let destination = Peer::start(Manner::TellHeaders).await;
    let ok = OkHttpResponse {
        headers: vec![option("x-user", "jason")],
        headers_to_remove: vec!["cookie".into()],
        response_headers_to_add: vec![option("x-seen", "yes")],
        ..OkHttpResponse::default()
    };
    let (service, mut asks) = grpc_judge(0, Some(HttpResponse::OkResponse(ok))).await;
    let outbound = Asks::by(grpc()).outbound(&destination, Some(vec![service.address]));
    let response = send(&outbound, asking("/a", &[("x-user", "root"), ("cookie", "a=1")])).await;
    assert_eq!(response.headers()["x-seen"], "yes");
    let told = text(response).await;
    assert!(told.contains("x-user: jason") && !told.contains("root") && !told.contains("cookie"), "{told}");
    let asked = asks.recv().await.unwrap();
    let uri = "http://auth.default.svc.cluster.local:9000/envoy.service.auth.v3.Authorization/Check";
    assert_eq!((asked.method(), asked.uri().to_string()), (&Method::POST, uri.into()));
    assert!(asked.headers().contains_key("grpc-timeout"));
    let attributes = CheckRequest::decode(&asked.body()[5..]).unwrap().attributes.unwrap();
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!((&*http.path, &*http.host, &*http.headers["x-user"]), ("/a", "reviews:9080", "root"));
}

#[tokio::test]
async fn a_service_of_grpc_says_no_to_either_kind_of_caller() {
    let destination = Peer::start(Manner::Echo).await;
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: 429 }),
        headers: vec![option("retry-after", "7")],
        body: "later".into(),
    };
    let (service, _asks) = grpc_judge(7, Some(HttpResponse::DeniedResponse(denied))).await;
    let outbound = Asks::by(grpc()).outbound(&destination, Some(vec![service.address]));
    let response = send(&outbound, get("/")).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &HeaderValue::from(7))
    );
    assert_eq!(text(response).await, "later");
    let response = send(&outbound, grpc_call()).await;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!([header("grpc-status"), header("grpc-message")], [Some("14"), Some("later")]);
    assert_eq!(header("retry-after"), Some("7"));
    assert_eq!(destination.requests(), 0);
}

/// Without a verdict a request is denied by name, and reaches nobody.
async fn closed(asks: Asks, service: Option<Vec<SocketAddr>>, why: &str) {
    let destination = Peer::start(Manner::Echo).await;
    let outbound = asks.outbound(&destination, service);
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 403);
    let said = error(&response);
    assert!(matches!(said, ClientError::NotAuthorized { .. }), "{said}");
    assert_eq!(said.flag(), Some(ResponseFlag::UAEX));
    let body = text(response).await;
    assert!(body.contains(why) && body.ends_with("by HTTPRoute/default/reviews"), "{body}");
    let response = send(&outbound, grpc_call()).await;
    assert_eq!(response.headers()["grpc-status"], "7");
    assert_eq!((destination.requests(), denials(&outbound)[2]), (0, 2));
}

#[tokio::test]
async fn without_a_verdict_nothing_passes() {
    closed(Asks::by(http()), None, "it does not exist").await;
    closed(Asks::by(http()), Some(vec![]), "no healthy upstream").await;
    closed(Asks::by(grpc()), Some(vec![deserted()]), "Connection refused").await;
    let resets = Peer::start(Manner::Reset(h2::Reason::INTERNAL_ERROR)).await;
    closed(Asks::by(grpc()), Some(vec![resets.address]), "broke off").await;
    let (fails, _asks) = judge(answer(503, &[("x-user", "jason")], ""), None).await;
    closed(Asks::by(http()), Some(vec![fails.address]), "has the status 503").await;
    let (garbage, _asks) = judge(answer(200, &[("content-type", "application/grpc")], "yes"), None).await;
    closed(Asks::by(grpc()), Some(vec![garbage.address]), "has no gRPC status").await;
    let huge = answer(401, &[], "").map(|_| Bytes::from(vec![b'x'; 64 * 1024 + 1]));
    let (large, _asks) = judge(huge, None).await;
    closed(Asks::by(http()), Some(vec![large.address]), "length limit exceeded").await;
}

#[tokio::test]
async fn a_service_that_hangs_denies_within_the_rules_time_and_is_told() {
    let given_up = Arc::new(Notify::new());
    let hangs = Peer::start(Manner::Silent(given_up.clone())).await;
    let asks = || Asks { timeout: Some(Duration::from_millis(100)), ..Asks::by(http()) };
    let start = Instant::now();
    closed(asks(), Some(vec![hangs.address]), "it did not answer in time").await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    given_up.notified().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_question_along() {
    let given_up = Arc::new(Notify::new());
    let hangs = Peer::start(Manner::Silent(given_up.clone())).await;
    let destination = Peer::start(Manner::Echo).await;
    let outbound = Asks::by(grpc()).outbound(&destination, Some(vec![hangs.address]));
    let call = tokio::spawn(async move { send(&outbound, get("/")).await });
    hangs.until_requests(1).await;
    call.abort();
    given_up.notified().await;
    assert_eq!(destination.requests(), 0);
}

#[tokio::test]
async fn a_preflight_is_not_asked_about_and_a_denial_says_who_may_read_it() {
    let destination = Peer::start(Manner::Echo).await;
    let (service, _asks) = judge(answer(403, &[], "no"), None).await;
    let asks = Asks { cors: true, ..Asks::by(http()) };
    let outbound = asks.outbound(&destination, Some(vec![service.address]));
    let mut preflight = asking("/", &[("origin", "https://shop"), ("access-control-request-method", "PUT")]);
    *preflight.method_mut() = Method::OPTIONS;
    let response = send(&outbound, preflight).await;
    assert_eq!((response.status().as_u16(), service.requests()), (200, 0));
    let response = send(&outbound, asking("/", &[("origin", "https://shop")])).await;
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://shop");
    assert_eq!((service.requests(), destination.requests()), (1, 0));
}

#[tokio::test]
async fn what_a_rule_answers_itself_is_asked_about_too() {
    let (service, _asks) = judge(answer(403, &[], "no"), None).await;
    let direct = DirectResponse { status: StatusCode::OK, body: Bytes::from_static(b"secret") };
    let mut rule = route(RouteMatch::everything(), RouteAction::DirectResponse(direct));
    Asks::by(http()).guard(&mut rule);
    let cluster = Setup { name: AUTH, ..Setup::http2([service.address]) }.cluster();
    let outbound =
        outbound(Parts { snapshot: snapshot_of(vec![rule], [None, Some(cluster)]), ..Parts::default() });
    let response = send(&outbound, get("/")).await;
    assert_eq!((response.status().as_u16(), &*text(response).await), (403, "no"));
}

//! What is asked, and what answers mean. Services of these tests speak by the messages themselves.

use bytes::{BufMut, Bytes};
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as WireValue, HeaderValueOption, QueryParameter};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::pb::google::rpc::Status;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::matcher::{Pattern, Text};
use crate::route::{AuthProtocol, GrpcAuth, HeaderOperations, HttpAuth};

fn told(names: Option<Box<[HeaderName]>>) -> GrpcAuth {
    GrpcAuth { authority: Authority::from_static("auth:9000"), request_headers: names }
}

fn grpc() -> AuthProtocol {
    AuthProtocol::Grpc(told(None))
}

fn exactly(name: &str) -> Pattern {
    Pattern::Exact(Text { text: name.into(), ignore_case: false })
}

fn everything() -> Pattern {
    Pattern::Prefix(Text { text: "".into(), ignore_case: false })
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

fn facts(headers: &HeaderMap) -> CheckFacts<'_> {
    CheckFacts {
        method: &Method::PUT,
        scheme: "http",
        authority: "reviews:9080",
        path: "/a?b=c",
        headers,
        principal: Some("spiffe://mesh/ns/default/sa/web"),
        unix_time: std::time::Duration::from_millis(1_500),
        body: None,
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut framed = vec![0];
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
    framed.extend(message.encode_to_vec());
    framed.into()
}

fn answer(body: Bytes) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: map(&[("content-type", "application/grpc")]),
        body,
        trailers: Some(map(&[("grpc-status", "0")])),
    }
}

fn checked(code: Option<i32>, response: Option<HttpResponse>) -> Result<Verdict, NoVerdict> {
    let status = code.map(|code| Status { code, ..Status::default() });
    let response = CheckResponse { status, http_response: response, ..CheckResponse::default() };
    answer(framed(&response)).verdict(&grpc())
}

#[allow(deprecated, reason = "it is what services write")]
fn option(name: &str, value: &str, append: Option<bool>) -> HeaderValueOption {
    let header = WireValue { key: name.to_owned(), value: value.to_owned(), ..WireValue::default() };
    let append = append.map(|value| BoolValue { value });
    HeaderValueOption { header: Some(header), append, ..HeaderValueOption::default() }
}

fn ok(ok: OkHttpResponse) -> Result<Verdict, NoVerdict> {
    checked(Some(0), Some(HttpResponse::OkResponse(ok)))
}

fn denied(denied: DeniedHttpResponse) -> Result<Verdict, NoVerdict> {
    checked(Some(7), Some(HttpResponse::DeniedResponse(denied)))
}

#[track_caller]
fn none(verdict: Result<Verdict, NoVerdict>, why: &str) {
    assert_eq!(verdict.expect_err("no verdict").to_string(), format!("its answer has {why}"));
}

#[test]
fn a_service_of_grpc_is_told_the_head_of_the_request() {
    let headers =
        map(&[("x", "1"), ("x", "2"), ("cookie", "a=1"), ("cookie", "b=2"), ("content-length", "9")]);
    let framed = facts(&headers).grpc(&told(None));
    assert_eq!(framed[0], 0, "not compressed");
    assert_eq!(framed[1..5], u32::try_from(framed.len() - 5).unwrap().to_be_bytes());
    let attributes = CheckRequest::decode(&framed[5..]).unwrap().attributes.unwrap();
    assert_eq!(attributes.source.unwrap().principal, "spiffe://mesh/ns/default/sa/web");
    let request = attributes.request.unwrap();
    assert_eq!(request.time.map(|time| (time.seconds, time.nanos)), Some((1, 500_000_000)));
    let http = request.http.unwrap();
    let said = [&http.method, &http.path, &http.host, &http.scheme].map(String::as_str);
    assert_eq!((said, http.size), (["PUT", "/a?b=c", "reviews:9080", "http"], 9));
    let header = |name: &str| http.headers.get(name).map(String::as_str);
    assert_eq!([header("x"), header("cookie")], [Some("1,2"), Some("a=1; b=2")]);
    assert_eq!([header(":path"), header(":authority")], [Some("/a?b=c"), Some("reviews:9080")]);
}

#[test]
fn a_service_of_grpc_can_be_told_certain_headers_and_the_beginning_of_the_body() {
    let headers = map(&[("x-told", "1"), ("x-untold", "2"), ("authorization", "Bearer a")]);
    let asked = |body| {
        let listed = told(Some([HeaderName::from_static("x-told")].into()));
        let framed = CheckFacts { body, ..facts(&headers) }.grpc(&listed);
        CheckRequest::decode(&framed[5..]).unwrap().attributes.unwrap().request.unwrap().http.unwrap()
    };
    let names = |http: &HttpRequest| {
        let mut names: Vec<_> = http.headers.keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(&asked(None)), ["x-told"]);
    let body = CheckBody { data: b"a\xff", is_partial: true, as_bytes: false };
    let text = asked(Some(body));
    assert_eq!(names(&text), ["x-envoy-auth-partial-body", "x-told"]);
    assert_eq!((&*text.headers["x-envoy-auth-partial-body"], &*text.body), ("true", "a\u{fffd}"));
    let bytes = asked(Some(CheckBody { as_bytes: true, is_partial: false, ..body }));
    assert_eq!((&*bytes.headers["x-envoy-auth-partial-body"], &*bytes.body), ("false", ""));
    assert_eq!(bytes.raw_body, b"a\xff");
}

#[test]
fn a_service_of_http_is_told_what_its_rule_lists() {
    let headers = map(&[
        ("authorization", "Bearer a"),
        ("x-told", "1"),
        ("x-untold", "2"),
        ("content-length", "9"),
        ("te", "trailers"),
        ("content-type", "text/plain"),
    ]);
    let listed = ["x-told", "te"].map(exactly).into();
    let auth = HttpAuth { path_prefix: "/check".into(), request_headers: listed, answer_headers: Vec::new() };
    assert_eq!(facts(&headers).http_path(&auth), "/check/a?b=c");
    let told = map(&[("authorization", "Bearer a"), ("x-told", "1"), ("content-length", "0")]);
    assert_eq!(facts(&headers).http_headers(&auth), told);
    let body = Some(CheckBody { data: b"abc", is_partial: false, as_bytes: false });
    let told = CheckFacts { body, ..facts(&headers) }.http_headers(&auth);
    assert_eq!(
        (&told["content-length"], &told["x-envoy-auth-partial-body"]),
        (&"3".parse().unwrap(), &"false".parse().unwrap())
    );
}

#[test]
fn a_yes_of_grpc_changes_headers() {
    assert_eq!(checked(Some(0), None), Ok(Verdict::Allow(Allowed::default())));
    let verdict = ok(OkHttpResponse {
        headers: vec![option("x-user", "jason", None), option("x-group", "a", Some(true))],
        headers_to_remove: vec!["cookie".into(), "Host".into()],
        response_headers_to_add: vec![option("x-seen", "yes", Some(false))],
        ..OkHttpResponse::default()
    });
    let request = HeaderOperations {
        set: vec![pair("x-user", "jason")],
        add: vec![pair("x-group", "a")],
        remove: vec![HeaderName::from_static("cookie")],
    };
    let response = HeaderOperations { set: vec![pair("x-seen", "yes")], ..HeaderOperations::default() };
    assert_eq!(verdict, Ok(Verdict::Allow(Allowed { request, response })));
}

#[test]
fn a_no_of_grpc_has_status_headers_and_body() {
    let plain = Denial { status: StatusCode::FORBIDDEN, headers: HeaderMap::new(), body: Bytes::new() };
    assert_eq!(checked(Some(16), None), Ok(Verdict::Deny(plain.clone())));
    assert_eq!(denied(DeniedHttpResponse::default()), Ok(Verdict::Deny(plain)));
    let verdict = denied(DeniedHttpResponse {
        status: Some(HttpStatus { code: 401 }),
        headers: vec![option("www-authenticate", "Basic", None), option("content-length", "99", None)],
        body: "who are you?".into(),
    });
    let headers = map(&[("www-authenticate", "Basic")]);
    let body = Bytes::from_static(b"who are you?");
    assert_eq!(verdict, Ok(Verdict::Deny(Denial { status: StatusCode::UNAUTHORIZED, headers, body })));
}

#[test]
fn what_is_the_meshs_or_the_hops_own_never_goes_on() {
    let kept = ["x-mesh-peer", "connection", "te", "host", "content-length", "content-type", "grpc-timeout"];
    let headers = kept.iter().map(|name| option(name, "1", None)).collect();
    let removed = kept.iter().map(|name| (*name).to_owned()).collect();
    let verdict = ok(OkHttpResponse { headers, headers_to_remove: removed, ..OkHttpResponse::default() });
    assert_eq!(verdict, Ok(Verdict::Allow(Allowed::default())));
    let answered = |pairs: &[(&'static str, &'static str)], auth: HttpAuth| {
        let answer =
            Answer { status: StatusCode::OK, headers: map(pairs), body: Bytes::new(), trailers: None };
        match answer.verdict(&AuthProtocol::Http(auth)) {
            Ok(Verdict::Allow(Allowed { request, response })) if response == HeaderOperations::default() => {
                request
            }
            other => panic!("{other:?}"),
        }
    };
    let came = [
        ("x-user", "a"),
        ("x-user", "b"),
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("authority", "else"),
        ("content-type", "text/html"),
        ("x-mesh-peer", "me"),
    ];
    let all = HttpAuth { answer_headers: vec![everything()], ..HttpAuth::default() };
    let both = HeaderOperations {
        set: vec![pair("x-user", "a")],
        add: vec![pair("x-user", "b")],
        remove: Vec::new(),
    };
    assert_eq!(answered(&came, all), both);
    let listed = HttpAuth { answer_headers: vec![exactly("x-other")], ..HttpAuth::default() };
    assert_eq!(answered(&came, listed), HeaderOperations::default());
}

#[test]
fn of_http_200_alone_is_a_yes() {
    let check = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        let (headers, body) = (map(&[("location", "/login"), ("date", "now")]), Bytes::from_static(b"no"));
        let answer = Answer { status, headers: headers.clone(), body: body.clone(), trailers: None };
        (answer.verdict(&AuthProtocol::Http(HttpAuth::default())), Denial { status, headers, body })
    };
    assert_eq!(check(200).0, Ok(Verdict::Allow(Allowed::default())));
    for status in [204, 302, 401, 403, 404, 429] {
        let (verdict, denial) = check(status);
        assert_eq!(verdict, Ok(Verdict::Deny(denial)));
    }
    none(check(101).0, "the status 101 Switching Protocols");
    none(check(503).0, "the status 503 Service Unavailable");
}

#[test]
fn an_answer_that_says_nothing_that_counts_is_no_verdict() {
    let no = |spoil: &dyn Fn(&mut Answer), why: &str| {
        let yes = CheckResponse { status: Some(Status::default()), ..CheckResponse::default() };
        let mut answer = answer(framed(&yes));
        assert!(matches!(answer.clone().verdict(&grpc()), Ok(Verdict::Allow(_))));
        spoil(&mut answer);
        none(answer.verdict(&grpc()), why);
    };
    no(&|answer| answer.status = StatusCode::NOT_FOUND, "the HTTP status 404 Not Found");
    no(&|answer| answer.headers.clear(), "no content type of gRPC");
    no(&|answer| answer.trailers = None, "no gRPC status");
    no(&|answer| answer.trailers = Some(map(&[("grpc-status", "14")])), "the gRPC status 14");
    no(&|answer| answer.body.clear(), "no message");
    no(&|answer| answer.body = answer.body.slice(..6), "not exactly one whole message");
    let compressed = |answer: &mut Answer| answer.body = Bytes::from_static(b"\x01\0\0\0\0");
    no(&compressed, "a compressed message, which was not asked for");
    no(&|answer| answer.body = Bytes::from_static(b"\0\0\0\0\0"), "no status");

    none(
        checked(Some(0), Some(HttpResponse::DeniedResponse(DeniedHttpResponse::default()))),
        "no status of a denial, and yet a denial",
    );
    none(
        checked(Some(0), Some(HttpResponse::ErrorResponse(DeniedHttpResponse::default()))),
        "an error of the service",
    );
    let path = OkHttpResponse { headers: vec![option(":path", "/admin", None)], ..OkHttpResponse::default() };
    none(ok(path), "`:path`, which is no header");
    let gone = OkHttpResponse { headers_to_remove: vec![":method".into()], ..OkHttpResponse::default() };
    none(ok(gone), "`:method`, which is no header");
    let split = OkHttpResponse { headers: vec![option("a", "b\r\nc: d", None)], ..OkHttpResponse::default() };
    none(ok(split), "a value of a that no header can have");
    let query = OkHttpResponse {
        query_parameters_to_set: vec![QueryParameter { key: "a".into(), value: "b".into() }],
        ..OkHttpResponse::default()
    };
    none(ok(query), "changes of query parameters, which this mesh does not make");
    let many = (0..65).map(|at| option(&format!("x-{at}"), "1", None)).collect();
    let limit = "more than 64 headers or 16384 bytes of them";
    none(ok(OkHttpResponse { headers: many, ..OkHttpResponse::default() }), limit);
    let large = vec![option("x", &"1".repeat(16 * 1024), None)];
    none(ok(OkHttpResponse { headers: large, ..OkHttpResponse::default() }), limit);
    let status = Some(HttpStatus { code: 99 });
    let odd = denied(DeniedHttpResponse { status, ..DeniedHttpResponse::default() });
    none(odd, "the status 99, which is none from 200 to 599");
}

proptest! {
    #[test]
    fn no_bytes_that_are_cut_or_made_up_let_a_request_pass(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let verdict = answer(bytes.clone().into()).verdict(&grpc());
        if let Ok(Verdict::Allow(_)) = verdict {
            let response = CheckResponse::decode(&bytes[5..]).expect("a yes is a CheckResponse");
            prop_assert!(response.status.is_none_or(|status| status.code == 0));
            prop_assert!(!matches!(response.http_response, Some(HttpResponse::DeniedResponse(_))));
        }
        let spoiled = Answer { status: StatusCode::FORBIDDEN, ..answer(bytes.into()) };
        prop_assert!(!matches!(spoiled.verdict(&AuthProtocol::Http(HttpAuth::default())), Ok(Verdict::Allow(_))));
    }
}

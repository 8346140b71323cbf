//! Who answers in the flip test: applications that do as a request's headers ask, and note all that reached them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use envoy_types::pb::google::rpc::Status;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_core::ext_authz::GRPC_PATH;
use mesh_server::Peer;
use prost::Message;
use tower::ServiceExt;

/// By this header of a request the test finds what became of it.
pub(super) const CALL: &str = "x-call";
/// Who answered, in the answer.
pub(super) const WHO: &str = "x-who";
/// Answers with this status.
pub(super) const FAIL: &str = "x-fail";
/// Answers after so many milliseconds.
pub(super) const WAIT: &str = "x-wait";
/// Answers with what is answered there, asked through the mesh.
pub(super) const RELAY: &str = "x-relay";

/// What reached whom, by call.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<BTreeMap<String, Vec<Got>>>>);

/// A request as an application got it.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) who: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) facts: Facts,
}

/// What is known of the connection of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Who the caller is, as its certificate proved it.
    pub(super) principal: Option<String>,
    /// Its other end.
    pub(super) connection: Option<SocketAddr>,
    /// The server name of its handshake.
    pub(super) server_name: Option<String>,
}

impl Log {
    /// What came of a call, in the order of its coming.
    pub(super) fn of(&self, call: &str) -> Vec<Got> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(call).cloned().unwrap_or_default()
    }

    fn note(&self, call: String, got: Got) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(call).or_default().push(got);
    }
}

/// An application.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    pub(super) name: String,
    pub(super) log: Log,
    /// As whom it asks others.
    pub(super) mesh: Mesh,
}

impl Teller {
    /// As an application for `mesh-server`.
    pub(super) fn router(self) -> axum::Router {
        axum::Router::new().fallback(move |request: Request<Body>| {
            let peer = request.extensions().get::<Peer>();
            let connection = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
            let principal = peer.and_then(Peer::principal).map(str::to_owned);
            let facts = Facts { principal, connection, server_name: None };
            let teller = self.clone();
            async move {
                match request.uri().path() == GRPC_PATH {
                    true => teller.authorize(request, facts).await,
                    false => teller.answer(request, facts).await,
                }
            }
        })
    }

    /// Answers a request that came on a connection of these facts.
    pub(super) async fn answer<B>(&self, request: Request<B>, facts: Facts) -> Response<Body> {
        let asked = request.headers().clone();
        let wish = |name: &str| asked.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let host = request.uri().authority().map(ToString::to_string);
        let got = Got {
            who: self.name.clone(),
            host: host.or_else(|| wish(HOST.as_str())).unwrap_or_default(),
            path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            version: request.version(),
            headers: asked.clone(),
            facts,
        };
        let call = wish(CALL).unwrap_or_default();
        self.log.note(call.clone(), got);
        if let Some(wait) = wish(WAIT).and_then(|wait| wait.parse().ok()) {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        if let Some(url) = wish(RELAY) {
            return self.relay(&url, &call).await;
        }
        let mut response = Response::new(Body::from(self.name.clone()));
        let who = HeaderValue::try_from(&self.name).expect("names are ASCII");
        response.headers_mut().insert(HeaderName::from_static(WHO), who);
        let fail = wish(FAIL).and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok());
        if mesh_core::status::is_grpc(&asked) {
            // An answer that has no message says its status with its head.
            *response.body_mut() = Body::empty();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
        } else if let Some(status) = fail {
            *response.status_mut() = status;
        }
        response
    }

    /// Says as a service of gRPC whether a request may go on, and notes what it was told of it as if that were its own. It may
    /// unless that wishes for a failure.
    async fn authorize(&self, question: Request<Body>, facts: Facts) -> Response<Body> {
        let version = question.version();
        let framed = question.into_body().collect().await.expect("a whole question").to_bytes();
        let asked = CheckRequest::decode(&framed[5..]).expect("a question");
        let http = asked.attributes.and_then(|attributes| attributes.request?.http).unwrap_or_default();
        // Pseudo headers are none.
        let header = |(name, value): (&String, &String)| Some((name.parse().ok()?, value.parse().ok()?));
        let headers: HeaderMap = http.headers.iter().filter_map(header).collect();
        let call = headers.get(CALL).and_then(|call| call.to_str().ok()).unwrap_or_default().to_owned();
        let code = if headers.contains_key(FAIL) { 7 } else { 0 };
        let got = Got { who: self.name.clone(), host: http.host, path: http.path, version, headers, facts };
        self.log.note(call, got);
        let status = Some(Status { code, ..Status::default() });
        let answer = CheckResponse { status, ..CheckResponse::default() }.encode_to_vec();
        let length = u32::try_from(answer.len()).expect("a short answer").to_be_bytes();
        let framed = [&[0][..], &length, &answer].concat();
        let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from(0))]);
        let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
        let response = Response::builder().header(CONTENT_TYPE, "application/grpc");
        response.body(Body::new(body)).expect("a response")
    }

    async fn relay(&self, url: &str, call: &str) -> Response<Body> {
        let request = Request::get(url).header(CALL, call).body(String::new()).expect("a request");
        let answer: Result<_, Infallible> = MeshClient::new(&self.mesh).oneshot(request).await;
        answer.expect("failures are responses").map(Body::new)
    }
}

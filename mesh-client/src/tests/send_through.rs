//! Requests written with reqwest: what they say holds, and what their client would do is the mesh's, or not done.

use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONNECTION, UPGRADE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::peer::{Manner, Peer};
use super::upgrade::Server;
use super::*;
use crate::{MeshClient, SendThrough};

const URL: &str = "http://reviews:9080/a?b=c";

fn through(outbound: &Outbound) -> MeshClient {
    MeshClient::new(&outbound.mesh)
}

async fn mesh(manner: Manner) -> MeshClient {
    through(&Setup::http2([Peer::start(manner).await.address]).outbound())
}

#[tokio::test]
async fn the_request_is_what_its_builder_says_and_the_client_adds_nothing() {
    let mesh = mesh(Manner::TellHeaders).await;
    let client = reqwest::Client::builder().user_agent("browser").build().unwrap();
    let request = client.get("http://user:secret@reviews:9080/a?b=c#part");
    let response = request.timeout(Duration::from_secs(60)).send_through(&mesh).await.unwrap();
    assert_eq!(response.url().as_str(), "http://reviews:9080/a?b=c#part");
    let told = response.error_for_status().unwrap().text().await.unwrap();
    assert!(told.contains(":authority: reviews:9080\n:path: /a?b=c\n"), "{told}");
    assert!(told.contains(&format!("{AUTHORIZATION}: Basic ")), "{told}");
    assert!(told.contains("x-envoy-expected-rq-timeout-ms: "), "{told}");
    assert!(!told.contains("user-agent") && !told.contains("accept"), "{told}");
}

#[tokio::test]
async fn bodies_pass_whole_and_in_pieces() {
    let mesh = mesh(Manner::Echo).await;
    let client = reqwest::Client::new();
    let stars = vec![5, 4];
    let response = client.post(URL).json(&stars).send_through(&mesh).await.unwrap();
    assert_eq!(response.json::<Vec<i32>>().await.unwrap(), stars);
    let pieces = futures_util::stream::iter(["ab", "cd"]).then(|piece| async move {
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>(piece)
    });
    let body = reqwest::Body::wrap_stream(pieces);
    let request = client.put(URL).body(body).build().unwrap();
    assert_eq!(request.send_through(&mesh).await.unwrap().text().await.unwrap(), "abcd");
}

#[tokio::test]
async fn a_response_is_read_while_it_comes_until_the_requests_own_timeout() {
    let mesh = mesh(Manner::Stall).await;
    let request = reqwest::Client::new().get(URL).timeout(Duration::from_millis(200));
    let mut response = request.send_through(&mesh).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    let error = response.chunk().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn failures_are_responses_that_say_why() {
    let mesh = mesh(Manner::Silent(Arc::new(Notify::new()))).await;
    let client = reqwest::Client::new();
    let response = client.get(URL).timeout(Duration::from_millis(20)).send_through(&mesh).await.unwrap();
    assert_eq!(response.status(), 504);
    assert!(matches!(response.extensions().get(), Some(ClientError::Deadline)));
    let nobody = through(&Setup::http2([deserted()]).outbound());
    let error = client.get(URL).send_through(&nobody).await.unwrap().error_for_status().unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    let https = client.get("https://reviews:9080/").send_through(&mesh).await.unwrap();
    assert!(matches!(https.extensions().get(), Some(ClientError::Https { .. })));
    assert!(client.get("no url").send_through(&mesh).await.unwrap_err().is_builder());
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let mesh = mesh(Manner::Fail { first: 1, status: 302, grpc_status: None }).await;
    assert_eq!(reqwest::Client::new().get(URL).send_through(&mesh).await.unwrap().status(), 302);
}

#[tokio::test]
async fn a_websocket_is_upgraded_as_reqwest_does_it() {
    let server = Server::start(None).await;
    let mut setup = Setup::http2([server.address]);
    setup.protocol = UpstreamProtocol::Http1;
    let request = reqwest::Client::new().get(URL).header(CONNECTION, "upgrade").header(UPGRADE, "websocket");
    let response = request.send_through(&through(&setup.outbound())).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut stream = response.upgrade().await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}

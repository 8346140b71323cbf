//! Who may not call a server that demands mutual TLS: each is turned away without a useful word, and the operator told why.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_server::Event;
use mesh_tests::{ControlPlane, Served, Stranger, log, wait};
use tower::ServiceExt;

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec:
  mtls: {mode: STRICT}
";
const CALLER: &str = "spiffe://cluster.local/ns/default/sa/caller";
const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n";
/// The most that a stranger gets to read: an alert, in the clear.
const ALERT_BYTES: usize = 7;
/// Preface, SETTINGS, and HEADERS of stream 1: `GET http://echo/`, whole.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x09\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x04echo";

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_turned_away_and_members_go_on() {
    log::listen();
    let control_plane = ControlPlane::start();
    control_plane.apply("strict.yaml", STRICT);
    let served = control_plane.serve("echo:9080", "v1", "echo").await;
    let site = Site { served, member: control_plane.join(&["--service-account", "caller"]).await };
    site.member_is_served().await;

    site.refuses(Stranger::Plaintext, HTTP1, "spoke plaintext").await;
    site.refuses(Stranger::Plaintext, HTTP2, "spoke plaintext").await;
    site.refuses(Stranger::Plaintext, b"\r\n\r\n", "spoke plaintext").await;
    assert_eq!(site.served.counters.count(Event::RefusedPlaintext), 3);

    site.refuses(Stranger::Nameless, HTTP1, "no certificates").await;
    site.refuses(Stranger::self_made(CALLER), HTTP1, &format!("{CALLER} is not vouched for")).await;
    // A member of another mesh, whose every name is ours; then one of a mesh of another name.
    for (trust_domain, reason) in [
        ("cluster.local", format!("{CALLER} is not vouched for")),
        (
            "other.example",
            "trust domain cluster.local, got spiffe://other.example/ns/default/sa/caller".to_owned(),
        ),
    ] {
        let elsewhere = ControlPlane::of_trust_domain(trust_domain);
        let member = elsewhere.join(&["--service-account", "caller"]).await;
        let stranger = Stranger::of(member.identity().expect("a member has an identity"));
        site.refuses(stranger, HTTP1, &reason).await;
    }
    assert_eq!(site.served.counters.count(Event::FailedHandshake), 4);

    // The same manner of calling with a certificate of this mesh: it was the certificate that was refused.
    let member = Stranger::of(site.member.identity().expect("a member has an identity"));
    let told = member.call(site.served.address, HTTP1).await;
    assert!(told.answer.starts_with(b"HTTP/1.1 200 "), "{told:?}");
}

/// The mode is that of the moment: who came in before it gets one denial on its open connection, and then its end.
#[tokio::test(flavor = "multi_thread")]
async fn who_came_in_before_strict_is_shut_out() {
    log::listen();
    let control_plane = ControlPlane::start();
    let served = control_plane.serve("echo:9080", "v1", "echo").await;
    let mut stream = wait::until("the server listens", Duration::from_secs(20), || {
        std::net::TcpStream::connect(served.address).ok()
    });
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    let mut ask = move || {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: echo\r\n\r\n")?;
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer)?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    assert!(ask().expect("an answer").starts_with("HTTP/1.1 200 "));

    control_plane.apply("strict.yaml", STRICT);
    let denied = wait::until("a denial", Duration::from_secs(5), || {
        Some(ask().expect("an answer")).filter(|answer| !answer.starts_with("HTTP/1.1 200 "))
    });
    assert!(denied.starts_with("HTTP/1.1 403 ") && denied.contains("connection: close"), "{denied}");
    assert!(!denied.contains("TLS") && !denied.contains("STRICT"), "{denied}");
    assert!(ask().map_or(true, |answer| answer.is_empty()), "the connection is closed");
    assert_eq!(served.counters.count(Event::DeniedRequest), 1);
    log::line_with(&["WARN", &served.address.to_string(), "open plaintext connection", "request denied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_turns_strangers_away_too() {
    let control_plane = ControlPlane::start();
    let elsewhere = ControlPlane::of_trust_domain("other.example");
    let member = elsewhere.join(&["--service-account", "caller"]).await;
    let member = Stranger::of(member.identity().expect("a member has an identity"));
    let server = control_plane.address().parse().expect("an address");
    for (stranger, request, reason) in [
        (Stranger::Plaintext, HTTP1, "spoke plaintext"),
        (Stranger::Plaintext, HTTP2, "spoke plaintext"),
        (Stranger::self_made(CALLER), HTTP2, "not vouched for"),
        (Stranger::self_made("spiffe://cluster.local/control-plane"), HTTP2, "not vouched for"),
        (member, HTTP2, "trust domain cluster.local, got spiffe://other.example/ns/default/sa/caller"),
    ] {
        let told = stranger.call(server, request).await;
        assert!(told.answer.len() <= ALERT_BYTES, "{reason}: {told:?}");
        let from = told.address.to_string();
        wait::until(&format!("a line about {from}: {reason}"), Duration::from_secs(5), || {
            let output = control_plane.output();
            output.lines().any(|line| line.contains(&from) && line.contains(reason)).then_some(())
        });
    }
    control_plane.join(&["--service-account", "caller"]).await;
}

/// A server, and a member that may call it.
struct Site {
    served: Served,
    member: Mesh,
}

impl Site {
    async fn refuses(&self, stranger: Stranger, request: &[u8], reason: &str) {
        let handled = self.served.echo.requests();
        let told = stranger.call(self.served.address, request).await;
        assert_eq!(told.answer, b"", "{reason}");
        assert_eq!(self.served.echo.requests(), handled, "{reason}: the application was asked");
        // At most that it was refused: an alert without a text, or a connection that closes.
        let said = told.error.map(|error| error.to_string()).unwrap_or_default();
        for word in ["spiffe", "trust", "cluster.local", "plaintext", "STRICT"] {
            assert!(!said.contains(word), "{reason}: the stranger was told `{said}`");
        }
        let listener = format!("inbound/{}", self.served.address);
        log::line_with(&["WARN", &listener, &told.address.to_string(), reason]);
        self.member_is_served().await;
    }

    async fn member_is_served(&self) {
        let request = Request::get("http://echo:9080/").body(Empty::<Bytes>::new()).expect("a URI");
        let answer = MeshClient::new(&self.member).oneshot(request).await.expect("never fails");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "echo");
    }
}

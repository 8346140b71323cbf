//! What an endpoint may do wrong: one named error each, counted, tried elsewhere only where that is safe, and never waited for
//! beyond the deadline.

use std::time::Instant;

use futures_util::future::join_all;
use mesh_core::identity::{ALPN_OPAQUE, ClientCertificate, IdentitySource, server_config};
use mesh_core::status::ResponseFlag::{self, UC, UF, UPE, UT};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::identity::{Authority, RATINGS, REVIEWS};
use super::peer::{Manner, Peer};
use super::*;

const TIMEOUT: Duration = Duration::from_secs(1);
/// What the issue allows beyond the deadline.
const LATE_MAX: Duration = Duration::from_millis(100);

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Nothing is ever said.
    Silence,
    /// At once, what is no HTTP of either version.
    Garbage,
    /// The same once the request has come.
    GarbageForAnAnswer,
    /// The answer's head begins and goes on no further.
    HalfHead,
    /// One header that has no end.
    EndlessHeader,
    /// A head of more and more headers.
    EndlessHead,
    /// One interim answer (1xx) after the other.
    EndlessInterim,
    /// The connection is reset once the request has come.
    Reset,
    /// It is closed then.
    Close,
    /// No TLS is spoken where it should be.
    NoTls,
    /// TLS begins and goes on no further.
    HalfTls,
    /// Bytes are served here, not requests.
    Alpn,
    /// Somebody else's certificate is shown.
    AnotherService,
}

/// On what a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    http2: bool,
    tls: bool,
}

/// What a case must come to: the error's flag and words of its text, and whether another endpoint answers instead.
type Expected = (ResponseFlag, &'static str, bool);

use Wrong::*;

/// Over HTTP/1.1 and over HTTP/2.
const OVER_BOTH: [(Wrong, Expected, Expected); 8] = [
    (Silence, (UT, "timeout", false), (UT, "timeout", false)),
    (GarbageForAnAnswer, (UPE, "invalid HTTP", false), (UPE, "frame with invalid size", false)),
    (HalfHead, (UT, "timeout", false), (UT, "timeout", false)),
    (EndlessHeader, (UPE, "too large", false), (UPE, "too_many_continuations", false)),
    (EndlessHead, (UPE, "too large", false), (UPE, "too_many_continuations", false)),
    (EndlessInterim, (UT, "timeout", false), (UT, "timeout", false)),
    (Reset, (UC, "broke off", false), (UC, "broke off", false)),
    (Close, (UC, "broke off", false), (UC, "broke off", false)),
];

/// Over HTTP/1.1 chance decides whether the request has been written by then.
const OVER_HTTP2: [(Wrong, Expected); 1] = [(Garbage, (UF, "HTTP/2 handshake", true))];

const OVER_TLS: [(Wrong, Expected); 4] = [
    (NoTls, (UF, "TLS handshake", true)),
    (HalfTls, (UT, "timeout", false)),
    (Alpn, (UF, "takes bytes and no requests", true)),
    (AnotherService, (UF, RATINGS, true)),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_answer_is_one_named_error_and_tried_elsewhere_only_where_that_is_safe() {
    let authority = Authority::new();
    let mesh = Identities {
        caller: authority.source(RATINGS),
        meant: authority.source(REVIEWS),
        other: authority.source(RATINGS),
    };
    let mut complaints = Vec::new();
    for way in [(false, false), (false, true), (true, false), (true, true)] {
        let way = Way { tls: way.0, http2: way.1 };
        let of_way = |(wrong, http1, http2)| (wrong, if way.http2 { http2 } else { http1 });
        let over_http2 = OVER_HTTP2.into_iter().filter(|_| way.http2);
        let over_tls = OVER_TLS.into_iter().filter(|_| way.tls);
        let cases = OVER_BOTH.into_iter().map(of_way).chain(over_http2).chain(over_tls);
        let checked = cases.map(|(wrong, expected)| check(way, wrong, expected, &mesh));
        complaints.extend(join_all(checked).await.into_iter().flatten());
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

struct Identities {
    caller: Arc<IdentitySource>,
    meant: Arc<IdentitySource>,
    other: Arc<IdentitySource>,
}

/// What is not as it must be.
async fn check(way: Way, wrong: Wrong, (flag, words, elsewhere): Expected, mesh: &Identities) -> Vec<String> {
    let (bad, good) = (start(way, wrong, mesh).await, start_good(way, mesh).await);
    let (alone, elapsed) = told(way, &[bad], mesh).await;
    println!("{wrong:?} by {way:?}: {alone:?} after {elapsed:.1?}");
    let mut complaints = Vec::new();
    let mut demand = |holds: bool, told: &dyn std::fmt::Debug| {
        if !holds {
            complaints.push(format!("{wrong:?} by {way:?}: {told:?}"));
        }
    };
    demand(elapsed <= TIMEOUT + LATE_MAX, &elapsed);
    demand(alone.as_ref().is_err_and(|told| told.0 == Some(flag) && told.1.contains(words)), &alone);

    let (with_another, elapsed) = told(way, &[bad, good], mesh).await;
    demand(elapsed <= TIMEOUT + LATE_MAX, &elapsed);
    let expected = if elsewhere { Ok(()) } else { alone };
    // The words name a place in what was read, which differs.
    let same = |told: &Told| told.as_ref().map_err(|told| told.0) == expected.as_ref().map_err(|told| told.0);
    demand(same(&with_another), &with_another);
    complaints
}

type Told = Result<(), (Option<ResponseFlag>, String)>;

/// What a request to these endpoints comes to, and after how long. What fails is counted, once.
async fn told(way: Way, endpoints: &[SocketAddr], mesh: &Identities) -> (Told, Duration) {
    let outbound = outbound(parts(way, endpoints, mesh));
    let start = Instant::now();
    let response = send(&outbound, get("/")).await;
    let elapsed = start.elapsed();
    let Some(error) = response.extensions().get::<ClientError>() else { return (Ok(()), elapsed) };
    let flag = error.flag().expect("each of these has one");
    let [requests, _, failures] = outbound.state.records.of(&CLUSTER.into()).counts(flag);
    assert_eq!([requests, failures], [1, 1], "{error}");
    (Err((Some(flag), error.to_string())), elapsed)
}

/// The endpoints are asked in their order, by the mesh's own retries.
fn parts(way: Way, endpoints: &[SocketAddr], mesh: &Identities) -> Parts {
    let sni = "outbound_.9080_._.reviews.default.svc.cluster.local".into();
    let tls = match way.tls {
        true => UpstreamTls::MeshMtls { identities: [REVIEWS.into()].into(), sni },
        false => UpstreamTls::Plaintext,
    };
    let protocol = if way.http2 { UpstreamProtocol::Http2 } else { UpstreamProtocol::Http1 };
    let setup = Setup { tls, protocol, timeout: Some(TIMEOUT), ..Setup::http2(endpoints.iter().copied()) };
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    let snapshot = snapshot(routes, Some(setup.cluster()));
    Parts { snapshot, identity: Some(mesh.caller.clone()), ..Parts::default() }
}

async fn start_good(way: Way, mesh: &Identities) -> SocketAddr {
    match way {
        Way { http2: true, tls: false } => Peer::start(Manner::Echo).await.address,
        Way { tls: true, .. } => super::identity::serve(mesh.meant.clone()).await,
        Way { .. } => super::outside::http1(100).await.0,
    }
}

async fn start(way: Way, wrong: Wrong, mesh: &Identities) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let source = if wrong == AnotherService { &mesh.other } else { &mesh.meant };
    let mut config = server_config(source, ClientCertificate::Required);
    if wrong == Alpn {
        Arc::make_mut(&mut config).alpn_protocols = vec![ALPN_OPAQUE.to_vec()];
    }
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if wrong == Reset {
                    // What is dropped unsaid is reset then.
                    io.set_zero_linger().unwrap();
                }
                match wrong {
                    NoTls => io.write_all(GARBAGE).await.unwrap(),
                    // A record that announces 512 bytes.
                    HalfTls => io.write_all(&[22, 3, 3, 2, 0, 2]).await.unwrap(),
                    _ if way.tls => {
                        let Ok(mut tls) = acceptor.accept(io).await else { return };
                        let _ = misbehave(&mut tls, way, wrong).await;
                        return;
                    }
                    _ => {
                        let _ = misbehave(&mut io, way, wrong).await;
                        return;
                    }
                }
                std::future::pending::<()>().await;
            });
        }
    });
    address
}

/// Ends where the connection is to end; whatever fails, the caller has gone.
async fn misbehave<I: AsyncRead + AsyncWrite + Unpin>(
    io: &mut I,
    way: Way,
    wrong: Wrong,
) -> std::io::Result<()> {
    if wrong == Garbage {
        io.write_all(GARBAGE).await?;
    } else if wrong != Silence {
        if way.http2 {
            // No settings but the usual.
            io.write_all(&frame(4, 0, 0, &[])).await?;
        }
        until_request(io, way).await?;
    }
    match (wrong, way.http2) {
        (Reset | Close, _) => return Ok(()),
        (GarbageForAnAnswer, _) => io.write_all(GARBAGE).await?,
        (HalfHead, false) => io.write_all(b"HTTP/1.1 200 OK\r\nx-half: a").await?,
        (HalfHead, true) => io.write_all(&frame(1, 4, 1, &[0x88; 100])[..20]).await?,
        (EndlessHeader, false) => {
            io.write_all(b"HTTP/1.1 200 OK\r\nx-endless: ").await?;
            repeat(io, &[b'a'; 16_384]).await?;
        }
        (EndlessHead, false) => {
            io.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            repeat(io, &b"x-more: a\r\n".repeat(1_000)).await?;
        }
        (EndlessInterim, false) => repeat(io, b"HTTP/1.1 103 Early Hints\r\n\r\n").await?,
        (EndlessHeader, true) => {
            // A literal header `x` whose value is announced with 2^24 bytes.
            io.write_all(&frame(1, 0, 1, &[0x88, 0, 1, b'x', 0x7F, 0x81, 0xFF, 0xFF, 0x07])).await?;
            repeat(io, &frame(9, 0, 1, &[b'a'; 1024])).await?;
        }
        (EndlessHead, true) => {
            io.write_all(&frame(1, 0, 1, &[0x88])).await?;
            repeat(io, &frame(9, 0, 1, &[0, 1, b'x', 5, b'h', b'e', b'l', b'l', b'o'].repeat(100))).await?;
        }
        // A literal `:status: 103`, whose name is the eighth of the static table.
        (EndlessInterim, true) => repeat(io, &frame(1, 4, 1, &[8, 3, b'1', b'0', b'3'])).await?,
        _ => {}
    }
    std::future::pending().await
}

async fn repeat<I: AsyncWrite + Unpin>(io: &mut I, piece: &[u8]) -> std::io::Result<()> {
    loop {
        io.write_all(piece).await?;
        // What has no end must leave the others of the table their turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads to the end of a request's head.
async fn until_request<I: AsyncRead + Unpin>(io: &mut I, way: Way) -> std::io::Result<()> {
    if !way.http2 {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(io.read_u8().await?);
        }
        return Ok(());
    }
    io.read_exact(&mut [0; PREFACE_BYTES]).await?;
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        io.read_exact(&mut vec![0; length]).await?;
        if head[3] == 1 {
            return Ok(());
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0, length[0], length[1], kind, flags, 0, 0, 0, stream][..], payload].concat()
}

const GARBAGE: &[u8] = b"\xF0\x9F\x92\xA9 this is neither of them, whatever one takes it for\r\n\r\n";
const PREFACE_BYTES: usize = 24;

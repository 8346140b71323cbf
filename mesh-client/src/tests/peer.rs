//! Servers whose manners a test decides, request by request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

/// What a peer does with a request.
#[derive(Debug, Clone)]
pub(super) enum Manner {
    /// Answers with the request's body, after it has been read.
    Echo,
    /// Echoes, and tells the test host and body.
    Report(tokio::sync::mpsc::Sender<(String, Bytes)>),
    /// Answers with a header per line.
    TellHeaders,
    /// Resets the stream.
    Reset(Reason),
    /// Answers once the semaphore grants it.
    Wait(Arc<Semaphore>),
    /// Answers after so many microseconds.
    After(Arc<AtomicU64>),
    /// Answers after some time up to that.
    UpTo(Duration),
    /// Never answers; tells when the caller gives up.
    Silent(Arc<Notify>),
    /// Sends a head and one piece of body, and no more.
    Stall,
    /// Sends body and trailers.
    Trailers,
    /// Answers, then says GOAWAY.
    Leave,
    /// Reads the body and answers so many requests with a status, and a gRPC one beside it; then echoes.
    Fail { first: u32, status: u16, grpc_status: Option<u16> },
    /// Answers alike, and tells the test what it was asked.
    Judge(Arc<Judge>),
}

/// An answer, and who is told of the requests that got it.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) answer: Response<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) asked: tokio::sync::mpsc::Sender<Request<Bytes>>,
}

/// An HTTP/2 server on a free port.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU32,
    open: AtomicU32,
    requests: AtomicU32,
}

impl Peer {
    pub(super) async fn start(manner: Manner) -> Self {
        Self::with_streams(manner, 200).await
    }

    /// A peer that allows so many streams on a connection at a time.
    pub(super) async fn with_streams(manner: Manner, streams_max: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self { address: listener.local_addr().unwrap(), counts: Arc::default() };
        let counts = peer.counts.clone();
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                tokio::spawn(serve(io, manner.clone(), streams_max, counts.clone()));
            }
        });
        peer
    }

    pub(super) fn connections(&self) -> u32 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> u32 {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Waits until no more than `count` connections are open.
    pub(super) async fn until_open(&self, count: u32) {
        while self.counts.open.load(Ordering::SeqCst) > count {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many requests have come.
    pub(super) async fn until_requests(&self, count: u32) {
        while self.requests() < count {
            tokio::task::yield_now().await;
        }
    }
}

async fn serve<I>(io: I, manner: Manner, streams_max: u32, counts: Arc<Counts>)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection) = builder.max_concurrent_streams(streams_max).handshake::<_, Bytes>(io).await
    else {
        return;
    };
    counts.connections.fetch_add(1, Ordering::SeqCst);
    counts.open.fetch_add(1, Ordering::SeqCst);
    while let Some(Ok((request, respond))) = connection.accept().await {
        let number = counts.requests.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(answer(manner.clone(), number, request, respond));
        if matches!(manner, Manner::Leave) {
            connection.graceful_shutdown();
        }
    }
    counts.open.fetch_sub(1, Ordering::SeqCst);
}

async fn answer(manner: Manner, number: u32, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let head = Response::new(());
    let whole = |respond: &mut SendResponse<Bytes>, body: Bytes| {
        // The caller may be gone.
        let _ =
            respond.send_response(Response::new(()), false).map(|mut stream| stream.send_data(body, true));
    };
    match manner {
        Manner::Fail { first, status, grpc_status } if number < first => {
            let Some(_) = read(request.into_body()).await else { return };
            let mut response = Response::new(());
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            if let Some(status) = grpc_status {
                response.headers_mut().insert("grpc-status", HeaderValue::from(status));
            }
            let mut stream = respond.send_response(response, false).unwrap();
            // The caller may be gone, for it has not asked for more than the head.
            let _ = stream.send_data(Bytes::from_static(b"failed"), true);
        }
        Manner::Echo | Manner::Fail { .. } => {
            let Some(body) = read(request.into_body()).await else { return };
            whole(&mut respond, body);
        }
        Manner::Report(told) => {
            let host = request.uri().authority().unwrap().to_string();
            let Some(body) = read(request.into_body()).await else { return };
            told.send((host, body.clone())).await.unwrap();
            whole(&mut respond, body);
        }
        Manner::TellHeaders => {
            let (head, _) = request.into_parts();
            let mut lines = vec![format!(":authority: {}", head.uri.authority().unwrap())];
            lines.push(format!(":path: {}", head.uri.path_and_query().unwrap()));
            lines.extend(
                head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())),
            );
            whole(&mut respond, lines.join("\n").into());
        }
        Manner::Judge(judge) => {
            let (asked, body) = request.into_parts();
            let Some(body) = read(body).await else { return };
            // A test that asks about nothing has no ear.
            let _ = judge.asked.try_send(Request::from_parts(asked, body));
            let (head, body) = judge.answer.clone().into_parts();
            let mut stream = respond.send_response(Response::from_parts(head, ()), false).unwrap();
            // The caller may be gone.
            let _ = stream.send_data(body, judge.trailers.is_none());
            if let Some(trailers) = &judge.trailers {
                let _ = stream.send_trailers(trailers.clone());
            }
        }
        Manner::Reset(reason) => respond.send_reset(reason),
        Manner::Wait(gate) => {
            gate.acquire().await.unwrap().forget();
            whole(&mut respond, Bytes::from_static(b"waited"));
        }
        Manner::After(micros) => {
            tokio::time::sleep(Duration::from_micros(micros.load(Ordering::Relaxed))).await;
            whole(&mut respond, Bytes::from_static(b"waited"));
        }
        Manner::UpTo(longest) => {
            tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
            whole(&mut respond, Bytes::from_static(b"waited"));
        }
        Manner::Silent(given_up) => {
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            assert_eq!(reset.unwrap(), Reason::CANCEL);
            given_up.notify_one();
        }
        Manner::Stall => {
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"first"), false).unwrap();
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        }
        Manner::Trailers => {
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"body"), false).unwrap();
            let sum = ("x-sum", HeaderValue::from_static("4"));
            stream.send_trailers(HeaderMap::from_iter([(sum.0.parse().unwrap(), sum.1)])).unwrap();
        }
        Manner::Leave => whole(&mut respond, Bytes::from_static(b"bye")),
    }
}

async fn read(mut body: RecvStream) -> Option<Bytes> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
        all.extend_from_slice(&data);
    }
    Some(all.into())
}

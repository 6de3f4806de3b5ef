//! Where webhooks arrive: a server on loopback that notes every request, and answers as a test wants, or badly.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{Interval, sleep},
};
use tokio_rustls::TlsAcceptor;

use crate::poll;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it had been read.
    pub at: Instant,
    /// How many arrived before it at the same path.
    pub before: usize,
}

impl Arrived {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether a receiver that knows this secret accepts the request as ours, by the specification's own library.
    pub fn verifies(&self, secret: &str) -> bool {
        let verifier = standardwebhooks::Webhook::new(secret).expect("a secret in the specification's form");
        verifier.verify(&self.body, &self.headers).is_ok()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With a status, headers and a body.
    Whole(u16, Vec<(&'static str, String)>, Bytes),
    /// Like that, but late.
    Late(Duration, Box<Reply>),
    /// Not at all; the connection stays open.
    Never,
    /// With 200 and a body that does not end.
    Endless,
    /// With 200 and a body that comes a byte at a time, and does not end.
    Dripping,
}

impl Reply {
    /// A bare status.
    pub fn status(status: u16) -> Self {
        Self::Whole(status, Vec::new(), Bytes::new())
    }
}

/// What is wrong with a receiver that does not even speak HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers in another language.
    NotHttp,
    /// It closes the connection without an answer.
    HangsUp,
    /// It resets the connection.
    Resets,
    /// It begins an answer, and closes the connection.
    BreaksOff,
    /// It says nothing at all, not even in a TLS handshake.
    Silent,
}

type Rule = dyn Fn(&Arrived) -> Reply + Send + Sync;

/// A server that ends with the test.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: AbortHandle,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Arrived>>,
    by_path: Mutex<HashMap<String, usize>>,
    connections: AtomicU64,
    bytes_sent: AtomicU64,
    endless_ended: AtomicBool,
}

impl Receiver {
    /// Answers 200 to everything.
    pub async fn ok() -> Self {
        Self::start(|_| Reply::status(200)).await
    }

    /// Answers by a rule.
    pub async fn start(rule: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        let rule: Arc<Rule> = Arc::new(rule);
        Self::listen(move |stream, seen| http(stream, seen, rule.clone())).await
    }

    /// The same behind TLS, with a certificate of the test's.
    pub async fn secure(tls: ServerConfig, rule: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        let (tls, rule) = (TlsAcceptor::from(Arc::new(tls)), Arc::new(rule) as Arc<Rule>);
        let serve = move |stream, seen| {
            let (tls, rule) = (tls.clone(), rule.clone());
            async move {
                // A client that does not trust us goes away.
                if let Ok(stream) = tls.accept(stream).await {
                    http(stream, seen, rule).await;
                }
            }
        };
        Self::listen(serve).await
    }

    /// Accepts connections, and mistreats them.
    pub async fn broken(fault: Fault) -> Self {
        Self::listen(move |stream, seen| mistreat(stream, seen, fault)).await
    }

    async fn listen<F>(serve: impl Fn(TcpStream, Arc<Seen>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port for the receiver");
        let address = listener.local_addr().expect("the receiver's address");
        let seen = Arc::new(Seen::default());
        let notes = seen.clone();
        let serving = tokio::spawn(async move {
            // Connections end with the receiver.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                notes.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(stream, notes.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, seen, serving: serving.abort_handle() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that arrived so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What arrived, once it is so many.
    pub async fn wait(&self, count: usize) -> Vec<Arrived> {
        let what = format!("{count} requests arrive");
        poll::until(poll::SOON, &what, async || Some(self.arrived()).filter(|seen| seen.len() >= count)).await
    }

    /// The first that arrives.
    pub async fn first(&self) -> Arrived {
        self.wait(1).await.swap_remove(0)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Bytes of endless bodies that were taken off its hands.
    pub fn bytes_sent(&self) -> u64 {
        self.seen.bytes_sent.load(Ordering::Relaxed)
    }

    /// Whether its client has put an end to an endless body.
    pub fn endless_ended(&self) -> bool {
        self.seen.endless_ended.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Seen>, rule: Arc<Rule>) {
    let service = service_fn(move |request| {
        let (seen, rule) = (seen.clone(), rule.clone());
        async move { respond(request, &seen, &*rule).await }
    });
    // A client that breaks off is for the test to notice, by what arrived.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn respond(
    request: Request<Incoming>,
    seen: &Arc<Seen>,
    rule: &Rule,
) -> Result<Response<Content>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let arrived = {
        let mut requests = seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_path = seen.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_path.entry(path.clone()).or_default();
        let before = *count;
        *count += 1;
        let (method, headers) = (parts.method, parts.headers);
        let arrived = Arrived { method, path, headers, body, at: Instant::now(), before };
        requests.push(arrived.clone());
        arrived
    };
    let mut reply = rule(&arrived);
    loop {
        let (status, headers, content) = match reply {
            Reply::Late(delay, then) => {
                sleep(delay).await;
                reply = *then;
                continue;
            }
            Reply::Never => std::future::pending().await,
            Reply::Whole(status, headers, body) => (status, headers, Content::Whole(Some(body))),
            Reply::Endless => (200, Vec::new(), Content::Endless(seen.clone())),
            Reply::Dripping => {
                let drops = tokio::time::interval(Duration::from_millis(50));
                (200, Vec::new(), Content::Dripping(Box::pin(drops)))
            }
        };
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        return Ok(response.body(content).expect("a response that can be sent"));
    }
}

enum Content {
    Whole(Option<Bytes>),
    Endless(Arc<Seen>),
    Dripping(Pin<Box<Interval>>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 8192] = [b'x'; 8192];
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Endless(seen) => {
                seen.bytes_sent.fetch_add(CHUNK.len() as u64, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK)))))
            }
            Self::Dripping(drops) => {
                drops.as_mut().poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b".")))))
            }
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Self::Endless(seen) = self {
            seen.endless_ended.store(true, Ordering::Relaxed);
        }
    }
}

async fn mistreat(mut stream: TcpStream, _: Arc<Seen>, fault: Fault) {
    // What the client says is read first, or closing would reset the connection.
    let mut buffer = [0; 16 * 1024];
    if stream.read(&mut buffer).await.is_err() {
        return;
    }
    let said: &[u8] = match fault {
        Fault::NotHttp => b"220 mail.example.com ESMTP\r\n",
        Fault::BreaksOff => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        Fault::HangsUp => b"",
        Fault::Silent => std::future::pending().await,
        Fault::Resets => {
            stream.set_zero_linger().ok();
            return;
        }
    };
    stream.write_all(said).await.ok();
    stream.shutdown().await.ok();
}

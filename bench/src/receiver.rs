//! The webhook receiver: one listener on loopback that notes, for each (message, endpoint) pair,
//! when it first arrived and how often.
//!
//! A message is known by the marker `"bench_seq":"0000000123"` in its payload, found by a byte
//! search so that a target may re-serialise or wrap the payload. An endpoint is known by its URL
//! path, `/hook/<app>/<endpoint>`.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};

use crate::{signature, stats::nanos};

const MARKER: &[u8] = b"bench_seq\"";

/// What arrives, and how much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    pub(crate) apps: usize,
    /// Endpoints per application.
    pub(crate) endpoints: usize,
}

/// How the receiver misbehaves, on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Wait before each reply.
    pub(crate) delay: Duration,
    /// The endpoints of the first `slow_apps` applications wait this long instead.
    pub(crate) slow_apps: usize,
    pub(crate) slow_delay: Duration,
    /// The first endpoints of each application never answer.
    pub(crate) dead_endpoints: usize,
    /// The next ones answer a byte at a time, without end.
    pub(crate) drip_endpoints: usize,
    /// Per cent of deliveries answered 500 on their first attempt.
    pub(crate) fail_first_pct: u64,
}

/// What was seen, in all.
#[derive(Default)]
pub(crate) struct Counts {
    /// Arrivals beyond the first of a pair.
    pub(crate) duplicates: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Requests whose path or marker could not be read.
    pub(crate) unparsable: AtomicU64,
    pub(crate) misrouted: AtomicU64,
    pub(crate) signatures_good: AtomicU64,
    pub(crate) signatures_bad: AtomicU64,
}

pub(crate) struct Receiver {
    epoch: Instant,
    load: Load,
    behaviour: Behaviour,
    /// First arrival, nanoseconds since `epoch`; 0 is "not yet". Index: [`Receiver::slot`].
    first: Vec<AtomicI64>,
    /// Attempts seen, kept only to fail the first one.
    attempts: Vec<AtomicU32>,
    /// Signing keys by app * endpoints + endpoint.
    keys: OnceLock<Vec<Option<Vec<u8>>>>,
    verify_every: usize,
    pub(crate) counts: Counts,
}

impl Receiver {
    pub(crate) fn new(epoch: Instant, load: Load, behaviour: Behaviour, verify_every: usize) -> Arc<Self> {
        let slots = load.messages * load.endpoints;
        let attempts = if behaviour.fail_first_pct > 0 { slots } else { 0 };
        Arc::new(Self {
            epoch,
            load,
            behaviour,
            first: (0..slots).map(|_| AtomicI64::new(0)).collect(),
            attempts: (0..attempts).map(|_| AtomicU32::new(0)).collect(),
            keys: OnceLock::new(),
            verify_every,
            counts: Counts::default(),
        })
    }

    /// Signing secrets by app * endpoints + endpoint; the first call counts.
    pub(crate) fn set_secrets(&self, secrets: Vec<Option<String>>) {
        self.keys.get_or_init(|| secrets.into_iter().map(|s| signature::key(&s?)).collect());
    }

    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            self.counts.connections.fetch_add(1, Relaxed);
            let this = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |req| {
                    let this = this.clone();
                    async move { Ok::<_, Infallible>(this.answer(req).await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Either<Full<Bytes>, Drip>> {
        let Behaviour { dead_endpoints: dead, drip_endpoints: drip, .. } = self.behaviour;
        match parse_path(request.uri().path()) {
            Some((_, endpoint)) if endpoint < dead => std::future::pending().await,
            Some((_, endpoint)) if endpoint < dead + drip => Response::new(Either::Right(Drip::default())),
            _ => self.handle(request).await.map(Either::Left),
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return status(StatusCode::BAD_REQUEST);
        };
        let now = nanos(self.epoch.elapsed());
        self.counts.requests.fetch_add(1, Relaxed);
        let place = parse_path(parts.uri.path())
            .filter(|(app, endpoint)| *app < self.load.apps && *endpoint < self.load.endpoints);
        let seq = parse_marker(&body).filter(|seq| *seq < self.load.messages);
        let (Some((app, endpoint)), Some(seq)) = (place, seq) else {
            self.counts.unparsable.fetch_add(1, Relaxed);
            return status(StatusCode::OK);
        };
        if seq % self.load.apps != app {
            self.counts.misrouted.fetch_add(1, Relaxed);
            return status(StatusCode::OK);
        }
        if self.verify_every > 0 && seq.is_multiple_of(self.verify_every) {
            self.verify(app * self.load.endpoints + endpoint, &parts.headers, &body);
        }
        // Counted on receipt, not on reply: a receiver has acted on what it read even if the
        // sender dies while it waits.
        let slot = self.slot(seq, endpoint);
        let fail = self.fails(slot);
        if !fail && self.first[slot].compare_exchange(0, now.max(1), Relaxed, Relaxed).is_err() {
            self.counts.duplicates.fetch_add(1, Relaxed);
        }
        let Behaviour { delay, slow_apps, slow_delay, .. } = self.behaviour;
        let delay = if app < slow_apps { slow_delay } else { delay };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        status(if fail { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK })
    }

    /// Whether this attempt is one to answer 500.
    fn fails(&self, slot: usize) -> bool {
        self.attempts.get(slot).is_some_and(|attempts| {
            attempts.fetch_add(1, Relaxed) == 0 && per_cent(slot as u64) < self.behaviour.fail_first_pct
        })
    }

    fn verify(&self, key: usize, headers: &HeaderMap, body: &[u8]) {
        let Some(Some(key)) = self.keys.get().and_then(|keys| keys.get(key)) else { return };
        let counts = &self.counts;
        let count = if signature::good(key, headers, body) {
            &counts.signatures_good
        } else {
            &counts.signatures_bad
        };
        count.fetch_add(1, Relaxed);
    }

    fn slot(&self, seq: usize, endpoint: usize) -> usize {
        seq * self.load.endpoints + endpoint
    }

    /// When a message first came to an endpoint, in nanoseconds since `epoch`.
    pub(crate) fn first_arrival(&self, seq: usize, endpoint: usize) -> Option<i64> {
        Some(self.first[self.slot(seq, endpoint)].load(Relaxed)).filter(|at| *at != 0)
    }
}

/// A body of a byte every half a second.
#[derive(Default)]
struct Drip(Option<Pin<Box<Sleep>>>);

impl Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let pause = self.0.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(500))));
        ready!(pause.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
    }
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = code;
    reply
}

/// A fixed, even spread of slots over 0..100.
fn per_cent(slot: u64) -> u64 {
    (slot.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 100
}

fn parse_path(path: &str) -> Option<(usize, usize)> {
    let (app, endpoint) = path.strip_prefix("/hook/")?.split_once('/')?;
    Some((app.parse().ok()?, endpoint.parse().ok()?))
}

fn parse_marker(body: &[u8]) -> Option<usize> {
    let after = &body[memchr::memmem::find(body, MARKER)? + MARKER.len()..];
    let begin = after.iter().position(u8::is_ascii_digit)?;
    let digits = after[begin..].iter().take_while(|b| b.is_ascii_digit());
    digits.map(|b| usize::from(b - b'0')).try_fold(0usize, |seq, d| seq.checked_mul(10)?.checked_add(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_survives_reformatting() {
        assert_eq!(parse_marker(br#"{"bench_seq":"0000000123","x":1}"#), Some(123));
        assert_eq!(parse_marker(br#"{"data": {"bench_seq" : "0000000007"}}"#), Some(7));
        assert_eq!(parse_marker(b"{}"), None);
        assert_eq!(parse_marker(br#"{"bench_seq":"99999999999999999999999"}"#), None);
    }

    #[test]
    fn paths() {
        assert_eq!(parse_path("/hook/12/3"), Some((12, 3)));
        assert_eq!(parse_path("/hook/12"), None);
        assert_eq!(parse_path("/other"), None);
    }
}

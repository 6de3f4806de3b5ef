//! Publishes messages, closed-loop (a fixed number in flight) or open-loop (a fixed rate).

use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};

use crate::{
    client::HttpClient,
    stats::nanos,
    target::{self, Message, Reply, Target},
};

/// Where the publish of one message stands, once it was tried.
const ACCEPTED: u8 = 1;
/// The target said on a retry that it already had the message.
const KNOWN: u8 = 2;
/// The call failed or broke off: the target may or may not have the message.
const UNKNOWN: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnError {
    /// Leave the message as unknown, wait until the target serves again, go on with the next.
    Skip,
    /// Publish the same message again, with the same key, until the target answers for it.
    Retry,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    Closed { concurrency: usize },
    Open { per_second: f64 },
}

/// What to publish and where.
pub(crate) struct Plan {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) http: HttpClient,
    /// The beginning of every message's key.
    pub(crate) run: String,
    /// Message n goes to application n modulo their number.
    pub(crate) apps: Vec<String>,
    pub(crate) messages: usize,
    /// Bytes of JSON.
    pub(crate) payload: usize,
    pub(crate) on_error: OnError,
    /// How long to try one message, or to wait for a target that went away.
    pub(crate) give_up: Duration,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) retried: AtomicU64,
    /// How late an open-loop publish started, at worst; nanoseconds.
    pub(crate) max_late: AtomicI64,
}

/// One message's times, in nanoseconds since `epoch`; 0 is "not yet".
#[derive(Default)]
struct Track {
    submit: AtomicI64,
    accept: AtomicI64,
    state: AtomicU8,
}

pub(crate) struct Publisher {
    pub(crate) epoch: Instant,
    plan: Plan,
    filler: String,
    tracks: Vec<Track>,
    pub(crate) counts: Counts,
    /// The first reply that was counted as a failure.
    pub(crate) first_failure: OnceLock<String>,
    stop: AtomicBool,
}

impl Publisher {
    pub(crate) fn new(epoch: Instant, plan: Plan) -> Arc<Self> {
        let overhead = body(0, "").len();
        Arc::new(Self {
            epoch,
            filler: noise(plan.payload.saturating_sub(overhead)),
            tracks: (0..plan.messages).map(|_| Track::default()).collect(),
            plan,
            counts: Counts::default(),
            first_failure: OnceLock::new(),
            stop: AtomicBool::new(false),
        })
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub(crate) fn now(&self) -> i64 {
        nanos(self.epoch.elapsed())
    }

    /// When a message was first submitted, if it was.
    pub(crate) fn submitted(&self, seq: usize) -> Option<i64> {
        Some(self.tracks[seq].submit.load(Relaxed)).filter(|at| *at != 0)
    }

    /// When the target answered for a message, if it did.
    pub(crate) fn answered(&self, seq: usize) -> Option<i64> {
        let track = &self.tracks[seq];
        matches!(track.state.load(Relaxed), ACCEPTED | KNOWN).then(|| track.accept.load(Relaxed))
    }

    pub(crate) fn already_known(&self, seq: usize) -> bool {
        self.tracks[seq].state.load(Relaxed) == KNOWN
    }

    pub(crate) async fn publish(self: &Arc<Self>, range: Range<usize>, pace: Pace) -> Result<()> {
        let mut calls = JoinSet::new();
        match pace {
            Pace::Closed { concurrency } => {
                let next = Arc::new(AtomicUsize::new(range.start));
                for _ in 0..concurrency {
                    calls.spawn(self.clone().worker(next.clone(), range.end));
                }
            }
            Pace::Open { per_second } => {
                let start = tokio::time::Instant::now();
                for (i, seq) in range.enumerate() {
                    let due = start + Duration::from_secs_f64(i as f64 / per_second);
                    sleep_until(due).await;
                    self.counts.max_late.fetch_max(nanos(due.elapsed()), Relaxed);
                    if self.stop.load(Relaxed) {
                        break;
                    }
                    let this = self.clone();
                    calls.spawn(async move { this.one(seq).await });
                }
            }
        }
        while let Some(call) = calls.join_next().await {
            call??;
        }
        Ok(())
    }

    async fn worker(self: Arc<Self>, next: Arc<AtomicUsize>, end: usize) -> Result<()> {
        loop {
            let seq = next.fetch_add(1, Relaxed);
            if seq >= end || self.stop.load(Relaxed) {
                return Ok(());
            }
            self.one(seq).await?;
        }
    }

    /// Publishes one message to its end: accepted, already known, or left unknown.
    async fn one(&self, seq: usize) -> Result<()> {
        let key = format!("{}-{seq}", self.plan.run);
        let payload = Bytes::from(body(seq, &self.filler));
        let track = &self.tracks[seq];
        let began = Instant::now();
        loop {
            match self.call(seq, &key, &payload).await? {
                reply @ (Reply::Accepted | Reply::AlreadyKnown) => {
                    track.accept.store(self.now(), Relaxed);
                    let state = if reply == Reply::Accepted { ACCEPTED } else { KNOWN };
                    track.state.store(state, Relaxed);
                    self.counts.accepted.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Reply::Busy => {
                    self.counts.busy.fetch_add(1, Relaxed);
                    sleep(Duration::from_millis(10)).await;
                }
                Reply::Failed => {
                    self.counts.errors.fetch_add(1, Relaxed);
                    track.state.store(UNKNOWN, Relaxed);
                    sleep(Duration::from_millis(20)).await;
                    target::wait_ready(&*self.plan.target, &self.plan.http, self.plan.give_up).await?;
                    if self.plan.on_error == OnError::Skip {
                        return Ok(());
                    }
                }
            }
            if began.elapsed() > self.plan.give_up {
                track.state.store(UNKNOWN, Relaxed);
                return Ok(());
            }
            self.counts.retried.fetch_add(1, Relaxed);
        }
    }

    /// One publish request and what its reply means.
    async fn call(&self, seq: usize, key: &str, payload: &Bytes) -> Result<Reply> {
        let Plan { target, http, apps, .. } = &self.plan;
        let request = target.publish(Message { app: &apps[seq % apps.len()], key, payload })?;
        // The first try counts: a retried message's latency includes the wait.
        let _ = self.tracks[seq].submit.compare_exchange(0, self.now(), Relaxed, Relaxed);
        Ok(match http.send(request).await {
            Ok((status, body)) => {
                let reply = target.reply(status);
                if reply == Reply::Failed {
                    self.first_failure
                        .get_or_init(|| format!("{status}: {}", String::from_utf8_lossy(&body)));
                }
                reply
            }
            Err(e) => {
                self.first_failure.get_or_init(|| format!("{e:#}"));
                Reply::Failed
            }
        })
    }
}

/// A small event with the marker that the receiver looks for.
fn body(seq: usize, filler: &str) -> String {
    let amount = 1000 + seq % 9000;
    format!(
        r#"{{"bench_seq":"{seq:010}","type":"bench.event","data":{{"amount":{amount},"currency":"EUR","note":"{filler}"}}}}"#,
    )
}

/// Letters that do not compress to nothing, the same each run.
fn noise(len: usize) -> String {
    let mut x = 0x2545_F491_4F6C_DD1Du64;
    let mut letter = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char::from(b"abcdefghijklmnopqrstuvwxyz"[(x >> 32) as usize % 26])
    };
    (0..len).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_has_the_asked_size_and_parses() {
        let filler = noise(1024 - body(0, "").len());
        for seq in [0, 7, 19_999] {
            let b = body(seq, &filler);
            assert_eq!(b.len(), 1024);
            serde_json::from_str::<serde_json::Value>(&b).unwrap();
        }
    }
}

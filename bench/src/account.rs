//! What a run came to: each accepted pair of message and endpoint is accounted for by itself.

use std::{collections::BTreeMap, ops::Range, sync::atomic::Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::{
    proc::{HARNESS, Machine, Usage},
    publisher::Publisher,
    receiver::Receiver,
    run::RunArgs,
    stats::{Summary, ms, summarize},
};

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) target: String,
    pub(crate) label: String,
    pub(crate) unix_time: u64,
    pub(crate) apps: usize,
    pub(crate) endpoints: usize,
    pub(crate) messages: usize,
    pub(crate) concurrency: Option<usize>,
    pub(crate) rate: Option<f64>,
    pub(crate) payload_bytes: usize,

    /// Publishes that the target answered for.
    pub(crate) accepted: u64,
    /// Of these, answered "already known" on a retry.
    pub(crate) already_known: u64,
    pub(crate) publish_errors: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) publish_busy: u64,
    pub(crate) publish_retries: u64,
    /// Accepted (message, endpoint) pairs that never arrived.
    pub(crate) lost: u64,
    /// Arrivals beyond the first of a pair.
    pub(crate) duplicates: u64,
    /// Pairs of messages whose publish failed: arrived all the same / did not.
    pub(crate) unknown_arrived: u64,
    pub(crate) unknown_missing: u64,
    pub(crate) misrouted: u64,
    pub(crate) unparsable: u64,
    pub(crate) signatures_good: u64,
    pub(crate) signatures_bad: u64,
    pub(crate) receiver_connections: u64,
    pub(crate) receiver_requests: u64,
    pub(crate) gave_up: bool,

    pub(crate) accept_per_s: f64,
    /// Deliveries per second from the first submit to the last arrival.
    pub(crate) delivered_per_s: f64,
    /// The same between the 10th and the 90th per cent of arrivals.
    pub(crate) delivered_mid_per_s: f64,
    /// Last arrival after the last accept.
    pub(crate) drain_ms: f64,
    pub(crate) publish: Option<Summary>,
    /// Arrival less accept; negative where it arrived before the publisher had read the reply.
    pub(crate) e2e_from_accept: Option<Summary>,
    pub(crate) e2e_from_submit: Option<Summary>,
    /// From submit, the slow applications' and the others' (only with --slow-apps).
    pub(crate) e2e_slow_apps: Option<Summary>,
    pub(crate) e2e_other_apps: Option<Summary>,
    /// How late an open-loop publish started, at worst.
    pub(crate) schedule_late_ms: f64,

    pub(crate) wall_s: f64,
    pub(crate) deliveries: u64,
    pub(crate) usage: BTreeMap<String, Usage>,
    pub(crate) machine: Machine,
    /// CPU seconds per 1000 deliveries: each group but the harness, and their sum.
    pub(crate) cpu_s_per_1k: BTreeMap<String, f64>,
    pub(crate) fault: Option<Fault>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at_accepted: u64,
    pub(crate) began_ms: f64,
    pub(crate) took_ms: f64,
    pub(crate) longest_silence_ms: f64,
}

impl Outcome {
    /// What the two ends saw of the messages in `range`.
    pub(crate) fn new(args: &RunArgs, p: &Publisher, r: &Receiver, range: Range<usize>) -> Self {
        let times = Times::of(args, p, r, range);
        let (sent, got) = (&p.counts, &r.counts);
        Self {
            target: args.target.clone(),
            label: args.label.clone(),
            apps: args.apps,
            endpoints: args.endpoints,
            messages: args.messages,
            concurrency: args.rate.is_none().then_some(args.concurrency),
            rate: args.rate,
            payload_bytes: args.payload,
            publish_errors: sent.errors.load(Relaxed),
            first_failure: p.first_failure.get().cloned(),
            publish_busy: sent.busy.load(Relaxed),
            publish_retries: sent.retried.load(Relaxed),
            schedule_late_ms: ms(sent.max_late.load(Relaxed)),
            duplicates: got.duplicates.load(Relaxed),
            misrouted: got.misrouted.load(Relaxed),
            unparsable: got.unparsable.load(Relaxed),
            signatures_good: got.signatures_good.load(Relaxed),
            signatures_bad: got.signatures_bad.load(Relaxed),
            receiver_connections: got.connections.load(Relaxed),
            receiver_requests: got.requests.load(Relaxed),
            ..times.into_outcome()
        }
    }

    /// Adds what the processes used.
    pub(crate) fn charge(&mut self, usage: BTreeMap<String, Usage>, machine: Machine) {
        let per_1k = |cpu_s: f64| cpu_s * 1000.0 / self.deliveries.max(1) as f64;
        self.cpu_s_per_1k = usage.iter().map(|(name, u)| (name.clone(), per_1k(u.cpu_s))).collect();
        let watched = usage.iter().filter(|(name, _)| *name != HARNESS);
        self.cpu_s_per_1k.insert("total".into(), per_1k(watched.map(|(_, u)| u.cpu_s).sum()));
        self.usage = usage;
        self.machine = machine;
    }
}

/// Every sample of a run, in nanoseconds.
#[derive(Default)]
struct Times {
    accepted: u64,
    already_known: u64,
    lost: u64,
    unknown_arrived: u64,
    unknown_missing: u64,
    first_submit: Option<i64>,
    last_accept: i64,
    publish: Vec<i64>,
    from_accept: Vec<i64>,
    from_submit: Vec<i64>,
    slow_apps: Vec<i64>,
    other_apps: Vec<i64>,
    arrivals: Vec<i64>,
}

impl Times {
    fn of(args: &RunArgs, p: &Publisher, r: &Receiver, range: Range<usize>) -> Self {
        let mut times =
            Self { arrivals: arrivals(r, range.clone(), &args.sound_endpoints()), ..Self::default() };
        for seq in range {
            let Some(submit) = p.submitted(seq) else { continue };
            let accept = p.answered(seq);
            times.first_submit = Some(times.first_submit.map_or(submit, |first| first.min(submit)));
            if let Some(accept) = accept {
                times.accepted += 1;
                times.already_known += u64::from(p.already_known(seq));
                times.last_accept = times.last_accept.max(accept);
                times.publish.push(accept - submit);
            }
            let slow = args.slow_apps > 0 && seq % args.apps < args.slow_apps;
            for endpoint in args.sound_endpoints() {
                times.pair(submit, accept, r.first_arrival(seq, endpoint), slow);
            }
        }
        times
    }

    fn pair(&mut self, submit: i64, accept: Option<i64>, arrival: Option<i64>, slow: bool) {
        match (accept, arrival) {
            (Some(accept), Some(arrival)) => {
                self.from_accept.push(arrival - accept);
                self.from_submit.push(arrival - submit);
                let apps = if slow { &mut self.slow_apps } else { &mut self.other_apps };
                apps.push(arrival - submit);
            }
            (Some(_), None) => self.lost += 1,
            (None, Some(_)) => self.unknown_arrived += 1,
            (None, None) => self.unknown_missing += 1,
        }
    }

    fn into_outcome(self) -> Outcome {
        let n = self.arrivals.len();
        let first_submit = self.first_submit.unwrap_or(0);
        let last_arrival = self.arrivals.last().copied().unwrap_or(first_submit);
        let (low, high) = (n / 10, (n * 9 / 10).saturating_sub(1));
        let mid = if low < high {
            per_s((high - low) as u64, self.arrivals[high] - self.arrivals[low])
        } else {
            0.0
        };
        // Without slow applications all are alike, and `e2e_from_submit` says it.
        let apart = !self.slow_apps.is_empty();
        Outcome {
            accepted: self.accepted,
            already_known: self.already_known,
            lost: self.lost,
            unknown_arrived: self.unknown_arrived,
            unknown_missing: self.unknown_missing,
            accept_per_s: per_s(self.accepted, self.last_accept - first_submit),
            delivered_per_s: per_s(n as u64, last_arrival - first_submit),
            delivered_mid_per_s: mid,
            drain_ms: ms(last_arrival - self.last_accept),
            publish: summarize(self.publish),
            e2e_from_accept: summarize(self.from_accept),
            e2e_from_submit: summarize(self.from_submit),
            e2e_slow_apps: summarize(self.slow_apps),
            e2e_other_apps: if apart { summarize(self.other_apps) } else { None },
            deliveries: n as u64,
            ..Outcome::default()
        }
    }
}

/// The first arrivals of the pairs in `range`, in order of time.
fn arrivals(r: &Receiver, range: Range<usize>, endpoints: &Range<usize>) -> Vec<i64> {
    let mut all: Vec<i64> =
        range.flat_map(|seq| endpoints.clone().filter_map(move |e| r.first_arrival(seq, e))).collect();
    all.sort_unstable();
    all
}

/// The longest gap between two arrivals, in milliseconds.
pub(crate) fn longest_silence_ms(r: &Receiver, range: Range<usize>, endpoints: &Range<usize>) -> f64 {
    let gaps = arrivals(r, range, endpoints);
    ms(gaps.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0))
}

fn per_s(count: u64, nanos: i64) -> f64 {
    if nanos > 0 { count as f64 * 1e9 / nanos as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn each_pair_is_counted_once_and_for_what_it_is() {
        let mut times =
            Times { first_submit: Some(MS), last_accept: 3 * MS, accepted: 2, ..Times::default() };
        times.pair(MS, Some(3 * MS), Some(2 * MS), false);
        times.pair(MS, Some(3 * MS), None, false);
        times.pair(MS, None, Some(5 * MS), false);
        times.pair(MS, None, None, false);
        times.arrivals = vec![2 * MS, 5 * MS];
        let o = times.into_outcome();
        assert_eq!([o.lost, o.unknown_arrived, o.unknown_missing, o.deliveries], [1, 1, 1, 2]);
        assert_eq!(o.e2e_from_accept.map(|s| s.p50_ms), Some(-1.0), "arrived before the reply was read");
        assert_eq!(o.drain_ms.to_bits(), 2.0f64.to_bits());
        assert!((o.delivered_per_s - 500.0).abs() < 1e-6, "two in 4 ms: {}", o.delivered_per_s);
        assert!(o.e2e_other_apps.is_none());
    }
}

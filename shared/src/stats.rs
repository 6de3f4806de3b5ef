//! How a webhook's deliveries went, hour by hour: counted when it is asked for, of the records that are there, so that no
//! delivery costs a write more.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    access::Principal,
    error::Error,
    model::{Delivery, DeliveryState, WebhookId},
    operation::{Asked, Outcome, PageRequest, Selector, Sought},
    ports::Ports,
    webhooks,
};

/// Hours that can be asked for at most: a week.
pub const MAX_HOURS: u16 = 7 * 24;
/// Hours where nothing is said.
pub const HOURS: u16 = 24;
/// Deliveries that are looked at, at most: newest first.
pub const LOOKED_AT: usize = 10_000;
/// How long it may take: API Gateway waits 30 s for an answer, the function has 29.
const TIME: Duration = Duration::from_secs(15);
/// Deliveries of one step: each is up to some 300 KB.
const STEP: usize = 100;

const HOUR: i64 = 3600;

/// What became of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// How many there are.
    pub deliveries: u64,
    /// Those that arrived.
    pub delivered: u64,
    /// Those whose schedule is used up, or whose receiver is gone.
    pub failed: u64,
    /// Those of which another attempt is to come.
    pub pending: u64,
    /// Those that wait for their webhook or its receiver.
    pub parked: u64,
    /// Those that were given up while they waited.
    pub discarded: u64,
    /// How many attempts were made of them all.
    pub attempts: u64,
    /// How long an attempt took, if any came to a receiver.
    pub latency: Option<Latency>,
}

/// How long attempts took in all, in microseconds. Those that came to a receiver count, also where he did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 95 of 100 took no longer.
    pub p95_us: u64,
}

impl Counts {
    /// Which share of those that are settled arrived; none: none is settled.
    pub fn success_rate(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "there are at most ten thousand")]
        let share = |part: u64, of: u64| part as f64 / of as f64;
        let settled = self.delivered + self.failed;
        (settled > 0).then(|| share(self.delivered, settled))
    }
}

/// How a webhook's deliveries went. A delivery is counted in the hour in which its event was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Whose.
    pub webhook: WebhookId,
    /// Events from then on are counted.
    pub since: Timestamp,
    /// When they were counted.
    pub until: Timestamp,
    /// Whether that is all that was asked for; else there are too many, and the oldest are left out.
    pub is_complete: bool,
    /// All of them.
    pub total: Counts,
    /// By the beginning of the hour, oldest first, without a gap.
    pub by_hour: Vec<(Timestamp, Counts)>,
}

/// Counts a webhook's deliveries of the last `hours` full hours, and of the one that is under way.
pub async fn of(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
    hours: u16,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let webhook = webhooks::find(ports, &tenant, asked, which).await?.id;
    let until = ports.clock.now();
    let since = hour_of(until) - SignedDuration::from_hours(hours.into());
    let sought = Sought { since: Some(since), ..Sought::default() };
    let mut counting = Counting::default();
    let mut page = PageRequest::first(STEP);
    let is_complete = loop {
        let found = ports.store.deliveries(&tenant, webhook, &sought, &page).await?;
        found.items.iter().for_each(|delivery| counting.count(delivery));
        let Some(after) = found.next else { break true };
        let took = ports.clock.now().duration_since(until).unsigned_abs();
        if counting.looked_at >= LOOKED_AT || took > TIME {
            break false;
        }
        page.after = Some(after);
    };
    Ok(Outcome::Stats(Box::new(counting.stats(webhook, since, until, is_complete))))
}

fn hour_of(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(HOUR)).unwrap_or(at)
}

#[derive(Default)]
struct Counting {
    looked_at: usize,
    oldest: Option<Timestamp>,
    by_hour: BTreeMap<Timestamp, (Counts, Vec<u64>)>,
}

impl Counting {
    fn count(&mut self, delivery: &Delivery) {
        self.looked_at += 1;
        self.oldest = Some(delivery.created_at);
        let (counts, latencies) = self.by_hour.entry(hour_of(delivery.created_at)).or_default();
        counts.deliveries += 1;
        counts.attempts += u64::from(delivery.attempt_count);
        *match delivery.state {
            DeliveryState::Delivered => &mut counts.delivered,
            DeliveryState::Failed => &mut counts.failed,
            DeliveryState::Pending | DeliveryState::Waiting => &mut counts.pending,
            DeliveryState::Parked => &mut counts.parked,
            DeliveryState::Discarded => &mut counts.discarded,
        } += 1;
        let dialled = delivery.attempts.iter().filter(|attempt| attempt.address.is_some());
        latencies.extend(dialled.map(|attempt| attempt.phases.total_us));
    }

    fn stats(mut self, webhook: WebhookId, since: Timestamp, until: Timestamp, is_complete: bool) -> Stats {
        let since = if is_complete { since } else { self.oldest.unwrap_or(since) };
        let (mut total, mut all, mut by_hour) = (Counts::default(), Vec::new(), Vec::new());
        let mut hour = hour_of(since);
        while hour <= until {
            let (mut counts, mut latencies) = self.by_hour.remove(&hour).unwrap_or_default();
            counts.latency = latency(&mut latencies);
            total.deliveries += counts.deliveries;
            total.delivered += counts.delivered;
            total.failed += counts.failed;
            total.pending += counts.pending;
            total.parked += counts.parked;
            total.discarded += counts.discarded;
            total.attempts += counts.attempts;
            all.append(&mut latencies);
            by_hour.push((hour, counts));
            hour += SignedDuration::from_secs(HOUR);
        }
        total.latency = latency(&mut all);
        Stats { webhook, since, until, is_complete, total, by_hour }
    }
}

/// Percentiles by the nearest rank: each is a time that was measured.
fn latency(took: &mut [u64]) -> Option<Latency> {
    took.sort_unstable();
    let rank = |percent: usize| took.get((took.len() * percent).div_ceil(100).checked_sub(1)?).copied();
    Some(Latency { p50_us: rank(50)?, p95_us: rank(95)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of = |mut took: Vec<u64>| latency(&mut took).map(|found| (found.p50_us, found.p95_us));
        assert_eq!(of(vec![]), None);
        assert_eq!(of(vec![7]), Some((7, 7)));
        assert_eq!(of(vec![2, 1]), Some((1, 2)));
        assert_eq!(of((1..=100).rev().collect()), Some((50, 95)));
    }

    #[test]
    fn an_hour_begins_when_it_does() {
        let hour = |text: &str| hour_of(text.parse().unwrap()).to_string();
        assert_eq!(hour("2026-03-01T09:59:59.999999Z"), "2026-03-01T09:00:00Z");
        assert_eq!(hour("2026-03-01T10:00:00Z"), "2026-03-01T10:00:00Z");
        assert_eq!(hour("1969-12-31T23:30:00Z"), "1969-12-31T23:00:00Z");
    }

    #[test]
    fn what_was_not_looked_at_is_not_told() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (since, until) = (at("2026-03-01T07:00:00Z"), at("2026-03-01T09:30:00Z"));
        let webhook = WebhookId(uuid::Uuid::nil());
        let whole = Counting::default().stats(webhook, since, until, true);
        assert_eq!((whole.since, whole.by_hour.len(), whole.total), (since, 3, Counts::default()));
        let oldest = Some(at("2026-03-01T08:15:00Z"));
        let cut = Counting { oldest, ..Counting::default() }.stats(webhook, since, until, false);
        assert_eq!((Some(cut.since), cut.by_hour.len()), (oldest, 2));
    }
}

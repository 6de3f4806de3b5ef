//! What was promised and what became of it, kept beside the store, and what must hold at every moment.

use std::collections::{BTreeMap, BTreeSet};

use postrider::{
    dialect,
    model::{
        Delivery, DeliveryId, DeliveryState, Event, EventId, OrderingKey, State, TargetUrl, TenantId,
        Webhook, WebhookId,
    },
};

use uuid::Uuid;

use crate::{
    executor::Who,
    faults::{MINUTE, SECOND},
    receivers::{self, Receiver},
    trace::About,
    world::Core,
};

/// How often a delivery may come due in vain when nothing goes wrong any more.
const IDLE: usize = 20;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What must hold.
    pub invariant: &'static str,
    /// Of which delivery it does not.
    pub delivery: Option<DeliveryId>,
    /// In what way.
    pub detail: String,
}

/// What came to a receiver.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When.
    pub at: i64,
    /// What he answered, if he did.
    pub status: Option<u16>,
}

/// How a webhook stood from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It got deliveries.
    Active,
    /// It was paused or disabled.
    Stopped,
    /// It was deleted.
    Gone,
}

/// What is known beside the store.
#[derive(Default)]
pub struct Ledger {
    /// Events that a publisher was told are accepted, and when he was.
    pub promised: BTreeMap<(TenantId, EventId), i64>,
    /// What came to receivers.
    pub arrivals: BTreeMap<DeliveryId, Vec<Arrival>>,
    /// How webhooks stood, and since when.
    pub standings: BTreeMap<WebhookId, Vec<(i64, Standing)>>,
    /// POSTs that began while another of the same delivery was under way.
    pub overlaps: usize,
    /// How often a process crashed.
    pub crashes: usize,
    /// When the faults stop.
    pub calm_at: i64,
    /// The first thing that went wrong.
    pub violation: Option<Violation>,
    /// How often deliveries came due since their last record.
    idle: BTreeMap<DeliveryId, usize>,
    under_way: BTreeMap<DeliveryId, usize>,
    under_way_to: BTreeMap<WebhookId, usize>,
    settled: BTreeMap<DeliveryId, i64>,
    /// Deliveries that were parked and released, or taken up again.
    pub released: BTreeSet<DeliveryId>,
    /// Deliveries that somebody gave up, or tried to, or asked for again when they had left their line: nobody waits for them.
    pub given_up: BTreeSet<DeliveryId>,
    /// Deliveries that waited for their turn.
    pub waited: BTreeSet<DeliveryId>,
    /// The lines: the events that were put into each, and in what sequence that came to pass.
    lines: BTreeMap<(WebhookId, OrderingKey), Vec<Uuid>>,
    /// Until when webhooks were held back, for their receivers failed or asked for a rest.
    held_back: BTreeMap<WebhookId, i64>,
    /// Slots that were given, of webhooks that take only so many a second; and how many POSTs began.
    pub slots: BTreeMap<WebhookId, Vec<i64>>,
    posts: BTreeMap<WebhookId, usize>,
    numbers: BTreeMap<(WebhookId, u64), DeliveryId>,
    places: BTreeMap<DeliveryId, u64>,
}

impl Ledger {
    /// A POST is over.
    pub fn ends(&mut self, delivery: DeliveryId) {
        self.under_way.entry(delivery).and_modify(|count| *count -= 1);
        self.under_way_to.entry(delivery.webhook).and_modify(|count| *count -= 1);
    }

    /// A message is at its receiver.
    pub fn arrives(&mut self, delivery: DeliveryId, arrival: Arrival) {
        self.arrivals.entry(delivery).or_default().push(arrival);
    }

    /// A delivery is taken up again: it comes neither by its schedule, nor late; and in no order, if it had left its line.
    pub fn is_reopened(&mut self, delivery: DeliveryId, had_left: bool) {
        self.released.insert(delivery);
        if had_left {
            self.given_up.insert(delivery);
        }
        self.settled.remove(&delivery);
    }

    /// Whether a webhook stood so at some time from `from` to `until`.
    pub fn stood(&self, webhook: WebhookId, from: i64, until: i64, how: impl Fn(Standing) -> bool) -> bool {
        let standings = self.standings.get(&webhook).map_or(&[][..], Vec::as_slice);
        let ends = standings.iter().skip(1).map(|(at, _)| *at).chain([i64::MAX]);
        standings
            .iter()
            .zip(ends)
            .any(|((begin, standing), end)| how(*standing) && *begin <= until && from < end)
    }
}

impl Core {
    /// Ends the run: something is not as it must be.
    pub fn violated(&mut self, invariant: &'static str, delivery: Option<DeliveryId>, detail: String) {
        if self.ledger.violation.is_none() {
            self.ledger.violation = Some(Violation { invariant, delivery, detail });
        }
        self.orders.stop();
    }

    /// A webhook was added or changed.
    pub fn now_is(&mut self, webhook: &Webhook) {
        let now = self.now;
        let standing = if webhook.state == State::Active { Standing::Active } else { Standing::Stopped };
        self.ledger.standings.entry(webhook.id).or_default().push((now, standing));
        let Some(url) = webhook.url.as_ref().map(TargetUrl::shared) else { return };
        if !self.receivers.is_open(url.path()) {
            let ways = match self.receivers.always {
                Some(manner) => vec![(i64::MAX, manner)],
                None => receivers::ways(&mut self.chance, now, self.ledger.calm_at),
            };
            let counted = dialect::named(&webhook.dialect).is_ok_and(dialect::Dialect::is_counted);
            self.receivers.open(url.path(), Receiver::new(webhook, counted, ways));
        }
        if let State::Disabled { reason } = &webhook.state
            && reason.contains("410")
            && !self.receivers.was_gone(url.as_str())
        {
            let detail = format!("{} is disabled, but {url} never answered 410", webhook.id);
            let said = |all: &[Arrival]| all.iter().any(|arrival| arrival.status == Some(410));
            let gone = self.ledger.arrivals.iter().filter(|(id, all)| id.webhook == webhook.id && said(all));
            let last = gone.map(|(id, _)| *id).next_back();
            self.violated("a webhook is disabled for what its own URL said", last, detail);
        }
    }

    /// A webhook's deliveries wait until then.
    pub fn held_back(&mut self, webhook: WebhookId, until: i64) {
        let kept = self.ledger.held_back.entry(webhook).or_default();
        *kept = until.max(*kept);
    }

    /// A webhook was deleted.
    pub fn is_gone(&mut self, webhook: WebhookId) {
        let now = self.now;
        self.ledger.standings.entry(webhook).or_default().push((now, Standing::Gone));
    }

    /// An event was accepted: it stands in its lines from now on.
    pub fn lines_up(&mut self, event: &Event) {
        for webhook in &event.ordered {
            if let Some(key) = event.line_key(*webhook) {
                self.ledger.lines.entry((*webhook, key)).or_default().push(event.uid);
            }
        }
    }

    /// A POST begins: whoever came into the line before, and is older, has been delivered or given up.
    fn see_to_order(&mut self, delivery: DeliveryId) {
        let Some(event) = self.tables.events.values().find(|event| event.uid == delivery.event) else {
            return;
        };
        let Some(key) = event.line_key(delivery.webhook) else { return };
        // It had left its line when somebody asked for it again.
        if self.ledger.given_up.contains(&delivery) {
            return;
        }
        let owner = (event.tenant.clone(), delivery.webhook);
        // The lines of a webhook go with it.
        let Some(policy) = self.tables.webhooks.get(&owner).and_then(|webhook| webhook.ordered) else {
            return;
        };
        let line = self.ledger.lines.get(&(delivery.webhook, key)).map_or(&[][..], Vec::as_slice);
        let before = line.iter().take_while(|event| **event != delivery.event);
        let older = before.filter(|event| **event < delivery.event);
        let stands = |event: &&Uuid| {
            let id = DeliveryId { event: **event, webhook: delivery.webhook };
            let kept = self.tables.deliveries.get(&id);
            let is_gone = kept.is_some_and(|kept| policy.lets_go(kept.delivery.state));
            !is_gone && !self.ledger.given_up.contains(&id)
        };
        if let Some(first) = older.copied().find(|event| stands(&event)) {
            let detail = format!("event {} comes before it", first.simple());
            self.violated("deliveries of a line go out one after the other", Some(delivery), detail);
        }
    }

    /// An event was accepted: it goes to all that subscribed to its topic before it was published.
    pub fn see_to_matching(&mut self, event: &Event) {
        let Some(matching) = self.tables.matching(&event.tenant, &event.topic) else { return };
        let since = event.accepted_at.as_microsecond() - self.faults.stale - self.faults.skew - SECOND;
        let of_old = |id: &&WebhookId| {
            self.ledger.standings.get(id).and_then(|all| all.first()).is_some_and(|(at, _)| *at < since)
        };
        let missed = matching.all.iter().filter(of_old).find(|id| !event.webhooks.contains(id)).copied();
        if let Some(webhook) = missed {
            let delivery = DeliveryId { event: event.uid, webhook };
            self.violated("an event goes to all who subscribed", Some(delivery), webhook.to_string());
        }
    }

    /// A POST begins.
    pub fn begins(&mut self, who: Who, delivery: DeliveryId, number: Option<u64>) {
        self.note(who, &delivery.into(), || "posts".into());
        self.see_to_order(delivery);
        *self.ledger.under_way_to.entry(delivery.webhook).or_default() += 1;
        let count = self.ledger.under_way.entry(delivery).or_default();
        *count += 1;
        if *count > 1 {
            self.ledger.overlaps += 1;
            if !self.faults.may_overlap() {
                let detail = format!("{count} at once");
                self.violated("attempts of one delivery never overlap", Some(delivery), detail);
            }
        }
        if let Some(at) = self.ledger.settled.get(&delivery)
            && !self.faults.may_overlap()
        {
            let detail = format!("settled {} ms ago", (self.now - at) / 1000);
            self.violated("nothing is sent of a settled delivery", Some(delivery), detail);
        }
        self.see_to_slots(delivery);
        self.see_to_places(delivery);
        // The numbers of a webhook go with it; who had looked at it before it was deleted may be given one anew.
        let now = self.now;
        let is_there = !self.ledger.stood(delivery.webhook, now, now, |standing| standing == Standing::Gone);
        if let Some(number) = number.filter(|_| is_there) {
            let named = *self.ledger.numbers.entry((delivery.webhook, number)).or_insert(delivery);
            let place = *self.ledger.places.entry(delivery).or_insert(number);
            if named != delivery || place != number {
                let detail = format!("number {number} is {named}'s, and {delivery} was number {place}");
                self.violated("a delivery has a number of its own, always the same", Some(delivery), detail);
            }
        }
    }

    /// Of a webhook that takes only so many a second, each POST has a slot of its own.
    fn see_to_slots(&mut self, delivery: DeliveryId) {
        let posts = self.ledger.posts.entry(delivery.webhook).or_default();
        *posts += 1;
        let posts = *posts;
        let is_limited = |(name, webhook): (&(TenantId, WebhookId), &Webhook)| {
            name.1 == delivery.webhook && webhook.limits.max_per_second.is_some()
        };
        if !self.tables.webhooks.iter().any(is_limited) {
            return;
        }
        let until = self.now + self.faults.skew;
        let slots = self.ledger.slots.get(&delivery.webhook).map_or(&[][..], Vec::as_slice);
        let free = slots.iter().filter(|slot| **slot <= until).count();
        if posts > free {
            let detail = format!("{posts} POSTs for {free} slots");
            self.violated("a webhook gets no more than it takes", Some(delivery), detail);
        }
    }

    /// To a webhook that takes only so many at once, no more are under way.
    fn see_to_places(&mut self, delivery: DeliveryId) {
        let bounded = self.tables.webhooks.iter().find(|(name, _)| name.1 == delivery.webhook);
        let Some(most) = bounded.and_then(|(_, webhook)| webhook.limits.max_in_flight) else { return };
        let count = self.ledger.under_way_to.get(&delivery.webhook).copied().unwrap_or_default();
        if count > most.into() && !self.faults.may_overlap() {
            let detail = format!("{count} at once");
            self.violated("a webhook gets no more at once than it takes", Some(delivery), detail);
        }
    }

    /// A sweep found that a delivery is due: something comes of it, sooner or later.
    pub fn comes_due(&mut self, delivery: DeliveryId) {
        let times = self.ledger.idle.entry(delivery).or_default();
        *times += usize::from(self.faults.is_calm);
        if *times > IDLE {
            let detail = format!("it came due {IDLE} times since anything was recorded of it");
            self.violated("something comes of what is due", Some(delivery), detail);
        }
    }

    /// A record was written.
    pub fn was_recorded(&mut self, delivery: &Delivery) {
        let id = delivery.id;
        self.ledger.idle.remove(&id);
        let numbers: Vec<u32> = delivery.attempts.iter().map(|attempt| attempt.number).collect();
        let consecutive = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        if !consecutive || numbers.last().copied().unwrap_or_default() != delivery.attempt_count {
            let detail = format!("{numbers:?} of {}", delivery.attempt_count);
            self.violated("attempts are numbered one after the other", Some(id), detail);
        }
        if matches!(delivery.state, DeliveryState::Delivered | DeliveryState::Failed) {
            self.ledger.settled.insert(id, self.now);
        }
        let took = |arrival: &Arrival| arrival.status == Some(200);
        let arrived = self.ledger.arrivals.get(&id).is_some_and(|all| all.iter().any(took));
        if delivery.state == DeliveryState::Delivered && !arrived {
            self.violated("what is delivered did arrive", Some(id), "no receiver took it".into());
        }
        if delivery.state == DeliveryState::Waiting {
            self.ledger.waited.insert(id);
        }
        if delivery.state == DeliveryState::Parked {
            // Between the look at the webhook and the record there are delays; a process that stood still has minutes.
            let patience = self.faults.stale + self.faults.skew;
            let from = (self.now - 10 * MINUTE).max(delivery.created_at.as_microsecond()) - patience;
            let held_back = self.ledger.held_back.get(&id.webhook).is_some_and(|until| *until >= from);
            let stopped = |standing| standing != Standing::Active;
            if !held_back && !self.ledger.stood(id.webhook, from, self.now, stopped) {
                self.violated(
                    "only what a webhook does not want is parked",
                    Some(id),
                    "it was active".into(),
                );
            }
        }
    }

    /// What a publisher was told.
    pub fn promise(&mut self, who: Who, tenant: &TenantId, event: &EventId) {
        let now = self.now;
        self.ledger.promised.entry((tenant.clone(), event.clone())).or_insert(now);
        self.note(who, &About::Event(tenant.clone(), event.clone()), || "is told that it is accepted".into());
    }
}

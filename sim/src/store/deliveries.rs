//! Deliveries and their attempts.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use postrider::{
    error::Error,
    hint::Hint,
    model::{Attempt, Delivery, DeliveryId, DeliverySummary, Tally, TenantId, WebhookId, Window},
    operation::{Page, PageRequest, Sought},
    ports::{Claim, Deliveries},
    undelivered::Undelivered,
};

use super::{KeptDelivery, SimStore, Tables, odd_cursor, page};
use crate::{
    trace::{About, moment},
    world::{Core, START},
};

/// How long after its lease a claimed attempt comes due again, as in both engines.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

impl Tables {
    fn claim(&mut self, blank: &Delivery, number: u32, now: Timestamp, lease: Timestamp) -> Claim {
        let kept = self.deliveries.entry(blank.id).or_insert_with(|| KeptDelivery {
            delivery: blank.clone(),
            due: None,
            leased_until: None,
        });
        if kept.delivery.is_settled() || kept.delivery.attempt_count >= number {
            return Claim::Done;
        }
        if kept.leased_until.is_some_and(|end| now < end) {
            return Claim::Busy;
        }
        (kept.due, kept.leased_until) = (Some(lease + GRACE), Some(lease));
        Claim::Taken(Box::new(kept.delivery.clone()))
    }

    pub(super) fn record(&mut self, delivery: &Delivery, expected: u32, due: Option<Timestamp>) -> bool {
        let kept = self.deliveries.get(&delivery.id);
        if kept.is_some_and(|kept| kept.delivery.attempt_count != expected) {
            return false;
        }
        let new = KeptDelivery { delivery: delivery.clone(), due, leased_until: None };
        self.deliveries.insert(delivery.id, new);
        true
    }

    fn sequence(&mut self, id: DeliveryId) -> u64 {
        if let Some(number) = self.sequences.get(&id) {
            return *number;
        }
        let number = 1 + self.sequences.keys().filter(|other| other.webhook == id.webhook).count() as u64;
        self.sequences.insert(id, number);
        number
    }

    /// Deliveries that are due, by when they are.
    fn due(&self, now: Timestamp) -> Vec<DeliveryId> {
        let due = self.deliveries.iter().filter_map(|(id, kept)| Some((kept.due?, *id)));
        let mut found: Vec<_> = due.filter(|(due, _)| *due <= now).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }
}

impl SimStore {
    async fn keep(&self, delivery: &Delivery, expected: u32, due: Option<Timestamp>) -> Result<bool, Error> {
        let record = |core: &mut Core| {
            let recorded = core.tables.record(delivery, expected, due);
            if recorded {
                core.was_recorded(delivery);
            }
            let due = due.map_or("never".to_owned(), |due| moment(due, START));
            let (state, count) = (delivery.state, delivery.attempt_count);
            let refused = if recorded { "" } else { " refused" };
            core.say(format!("{state:?} after {count} attempts, due {due}{refused}"));
            Ok(recorded)
        };
        self.call("record", delivery.id.into(), record).await
    }
}

#[async_trait]
impl Deliveries for SimStore {
    async fn claim(
        &self,
        blank: &Delivery,
        number: u32,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Claim, Error> {
        let claim = |core: &mut Core| {
            let claim = core.tables.claim(blank, number, now, lease);
            core.say(match &claim {
                Claim::Taken(_) => format!("attempt {number} is taken until {}", moment(lease, START)),
                Claim::Done => format!("attempt {number} is done"),
                Claim::Busy => format!("somebody makes attempt {number}"),
            });
            Ok(claim)
        };
        self.call("claim", blank.id.into(), claim).await
    }

    async fn record(&self, delivery: &Delivery, due: Option<Timestamp>) -> Result<bool, Error> {
        self.keep(delivery, delivery.attempt_count.saturating_sub(1), due).await
    }

    async fn park(&self, delivery: &Delivery, had: u32) -> Result<bool, Error> {
        self.keep(delivery, had, None).await
    }

    async fn reopen(
        &self,
        kept: &Delivery,
        again: &Delivery,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, Error> {
        self.put_again(kept, again, now, due).await
    }

    async fn sequence(&self, id: DeliveryId) -> Result<u64, Error> {
        self.call("sequence", id.into(), |core| Ok(core.tables.sequence(id))).await
    }

    async fn add_to_tally(&self, webhook: WebhookId, more: Tally) -> Result<(), Error> {
        let add = |core: &mut Core| {
            let kept = core.tables.tallies.entry(webhook).or_default();
            kept.sent += more.sent;
            kept.failed_at = more.failed_at.or(kept.failed_at);
            Ok(())
        };
        self.call("add_to_tally", About::Webhook(webhook), add).await
    }

    async fn tallies(&self, webhooks: &[WebhookId]) -> Result<Vec<Tally>, Error> {
        let read = |core: &mut Core| {
            let of = |id: &WebhookId| core.tables.tallies.get(id).copied().unwrap_or_default();
            Ok(webhooks.iter().map(of).collect())
        };
        self.call("tallies", About::World, read).await
    }

    async fn release(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        due: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, Error> {
        self.release_parked(tenant, webhook, due, limit).await
    }

    async fn discard(&self, tenant: &TenantId, webhook: WebhookId, limit: usize) -> Result<usize, Error> {
        self.discard_parked(tenant, webhook, limit).await
    }

    async fn waiting(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        self.read_parked(tenant, webhook, limit).await
    }

    async fn acknowledge(
        &self,
        tenant: &TenantId,
        deliveries: &[DeliveryId],
        by: &Attempt,
    ) -> Result<(), Error> {
        self.acknowledge_parked(tenant, deliveries, by).await
    }

    async fn give_up(&self, tenant: &TenantId, id: DeliveryId, now: Timestamp) -> Result<bool, Error> {
        self.give_up_one(tenant, id, now).await
    }

    async fn parked(&self, webhook: WebhookId, most: usize) -> Result<usize, Error> {
        self.count_parked(webhook, most).await
    }

    async fn look_at(&self, tenant: &TenantId, webhook: WebhookId, at: Timestamp) -> Result<(), Error> {
        self.note_look(tenant, webhook, at).await
    }

    async fn look_no_more(&self, webhook: WebhookId) -> Result<(), Error> {
        self.strike_look(webhook).await
    }

    async fn to_look_at(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, WebhookId)>, Error> {
        self.take_looks(now, lease, limit).await
    }

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<Delivery>, Error> {
        let find = |core: &mut Core| {
            let found = core.tables.deliveries.get(&id).map(|kept| kept.delivery.clone());
            Ok(found.filter(|delivery| delivery.tenant == *tenant))
        };
        self.call("delivery", id.into(), find).await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        sought: &Sought,
        request: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let list = |core: &mut Core| {
            let before = request.after.as_deref().map(str::parse::<DeliveryId>).transpose();
            let before = before.map_err(|_| odd_cursor())?;
            let Some(numbers) = sought.numbers(before.map(|id| id.event)) else {
                return Ok(Page { items: Vec::new(), next: None });
            };
            let own = |delivery: &&Delivery| {
                delivery.id.webhook == webhook
                    && delivery.tenant == *tenant
                    && (numbers.0..=numbers.1).contains(&delivery.id.event)
            };
            let is_sought = |d: &&&Delivery| sought.take(d.state, d.topic.as_str(), d.created_at);
            // Their ids begin with their event's number, which is in order of acceptance.
            let newest_first = core.tables.deliveries.values().rev().map(|kept| &kept.delivery);
            let mut all: Vec<_> = newest_first.filter(own).collect();
            let others = all.iter().enumerate().filter(|(_, delivery)| !is_sought(delivery));
            let last = others.map(|(place, _)| place).nth(Sought::PASSED_OVER - 1);
            all.truncate(last.map_or(all.len(), |last| last + 1));
            let found = all.iter().filter(is_sought).map(|delivery| (*delivery).clone());
            let mut found = page(found, request, |delivery| delivery.id.to_string());
            found.next = found.next.or_else(|| last.map(|last| all[last].id.to_string()));
            Ok(found)
        };
        self.call("deliveries", About::Webhook(webhook), list).await
    }

    async fn deliveries_within(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        window: &Window,
        request: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        self.deliveries_in(tenant, webhook, window, request).await
    }

    async fn undelivered(
        &self,
        sought: &Undelivered,
        page: &PageRequest,
    ) -> Result<Page<DeliverySummary>, Error> {
        self.list_undelivered(sought, page).await
    }

    async fn due(&self, now: Timestamp, lease: Timestamp, limit: usize) -> Result<Vec<Hint>, Error> {
        let take = |core: &mut Core| {
            let mut found = core.tables.due(now);
            // An engine may look at its shards by turns: a page that is not full is not the last.
            let most = if core.faults.two_steps { 1 + core.chance.index(limit.min(20)) } else { limit };
            found.truncate(most);
            let mut hints = Vec::with_capacity(found.len());
            for id in found {
                if let Some(kept) = core.tables.deliveries.get_mut(&id) {
                    kept.due = Some(lease);
                    hints.push(Hint::next(&kept.delivery));
                }
                core.trace.note(core.now, self.who, &id.into(), || "found due".into());
                core.comes_due(id);
            }
            Ok(hints)
        };
        self.call("due", About::Deliveries(Vec::new()), take).await
    }
}

//! Deliveries: webhook / event number, each attempt recorded by one conditional put.

use async_trait::async_trait;
use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{Attempt, Delivery, DeliveryId, DeliveryState, Tally, TenantId, WebhookId},
    operation::{Page, PageRequest},
    ports::{Claim, Deliveries},
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, expiry, key, micros, number, text},
};

/// Partitions of the index of what is due: each takes 1,000 writes a second.
pub(crate) const SHARDS: u8 = 16;

pub(crate) fn delivery_key(id: DeliveryId) -> Item {
    key(id.webhook.to_string(), id.event.simple().to_string())
}

/// Where in the index of what is due a delivery stands.
pub(crate) fn due_shard(id: DeliveryId) -> String {
    (id.event.as_bytes()[15] % SHARDS).to_string()
}

/// Where in that index the parked deliveries of a webhook stand, in the order of their places: no sweep comes there.
pub(crate) fn parked_shard(webhook: WebhookId) -> String {
    format!("parked#{webhook}")
}

pub(crate) fn state_text(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
        DeliveryState::Parked => "parked",
        DeliveryState::Discarded => "discarded",
        DeliveryState::Waiting => "waiting",
    }
}

pub(crate) fn item(delivery: &Delivery, due: Option<Timestamp>) -> Result<Item, Error> {
    let attempts = serde_json::to_string(&delivery.attempts).map_err(|_| odd("attempts"))?;
    let mut item = delivery_key(delivery.id);
    item.extend([
        ("tenant".to_owned(), text(delivery.tenant.as_str())),
        ("event_id".to_owned(), text(delivery.event.as_str())),
        ("topic".to_owned(), text(delivery.topic.as_str())),
        ("state".to_owned(), text(state_text(delivery.state))),
        ("attempt_count".to_owned(), number(delivery.attempt_count)),
        ("attempts".to_owned(), text(attempts)),
        ("created_at".to_owned(), micros(delivery.created_at)),
        ("expires_at".to_owned(), expiry(delivery.created_at)),
    ]);
    if delivery.probes > 0 {
        item.insert("probes".into(), number(delivery.probes));
    }
    if let Some(at) = delivery.parked_at {
        item.insert("parked_at".into(), micros(at));
    }
    if let Some(next) = delivery.next_attempt_at {
        item.insert("next_attempt_at".into(), micros(next));
    }
    if let Some(key) = &delivery.ordering_key {
        item.insert("ordering_key".into(), text(key.as_str()));
    }
    // Without these two it is not in the index at all.
    if delivery.state == DeliveryState::Parked {
        item.insert("due_shard".into(), text(parked_shard(delivery.id.webhook)));
        let place = delivery.parked_at.unwrap_or(delivery.created_at);
        item.insert("due_at".into(), number(place.as_millisecond()));
    } else if let Some(due) = due {
        item.insert("due_shard".into(), text(due_shard(delivery.id)));
        item.insert("due_at".into(), number(due.as_millisecond()));
    }
    Ok(item)
}

pub(crate) fn delivery(item: &Item) -> Result<Delivery, Error> {
    let state = match item.text("state")? {
        "pending" => DeliveryState::Pending,
        "delivered" => DeliveryState::Delivered,
        "failed" => DeliveryState::Failed,
        "parked" => DeliveryState::Parked,
        "discarded" => DeliveryState::Discarded,
        "waiting" => DeliveryState::Waiting,
        _ => return Err(odd("state")),
    };
    Ok(Delivery {
        id: DeliveryId { webhook: item.parsed("pk")?, event: item.parsed("sk")? },
        tenant: item.parsed("tenant")?,
        event: item.parsed("event_id")?,
        topic: item.parsed("topic")?,
        state,
        attempt_count: u32::try_from(item.number("attempt_count")?).map_err(|_| odd("attempt_count"))?,
        attempts: serde_json::from_str(item.text("attempts")?).map_err(|_| odd("attempts"))?,
        created_at: item.time("created_at")?,
        probes: match item.get("probes") {
            None => 0,
            Some(_) => u32::try_from(item.number("probes")?).map_err(|_| odd("probes"))?,
        },
        parked_at: item.maybe_time("parked_at")?,
        next_attempt_at: item.maybe_time("next_attempt_at")?,
        ordering_key: item.maybe_parsed("ordering_key")?,
    })
}

impl Engine {
    /// Puts a record in the place of one with `expected` attempts, or of none; false: it is another.
    async fn put_delivery(
        &self,
        record: &Delivery,
        expected: u32,
        due: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let put = self
            .0
            .db
            .put_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_item(Some(item(record, due)?))
            .condition_expression("attribute_not_exists(pk) OR attempt_count = :expected")
            .expression_attribute_values(":expected", number(expected))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(true) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(fault("recording an attempt")(error));
        };
        // The SDK tries again when an answer gets lost: then what is there is what we put ourselves.
        let kept = failed.item().map(delivery).transpose()?;
        Ok(kept.is_some_and(|kept| kept == *record))
    }
}

#[async_trait]
impl Deliveries for Engine {
    async fn claim(
        &self,
        blank: &Delivery,
        number: u32,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Claim, Error> {
        self.claim_attempt(blank, number, now, lease).await
    }

    async fn record(&self, record: &Delivery, due: Option<Timestamp>) -> Result<bool, Error> {
        self.put_delivery(record, record.attempt_count.saturating_sub(1), due).await
    }

    async fn park(&self, delivery: &Delivery, had: u32) -> Result<bool, Error> {
        self.put_delivery(delivery, had, None).await
    }

    async fn sequence(&self, id: DeliveryId) -> Result<u64, Error> {
        self.place(id).await
    }

    async fn add_to_tally(&self, webhook: WebhookId, more: Tally) -> Result<(), Error> {
        self.count_in(webhook, more).await
    }

    async fn tallies(&self, webhooks: &[WebhookId]) -> Result<Vec<Tally>, Error> {
        self.read_tallies(webhooks).await
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
        let table = &self.0.settings.deliveries_table;
        let get =
            self.0.db.get_item().table_name(table).set_key(Some(delivery_key(id))).consistent_read(true);
        let found = get.send().await.map_err(fault("reading a delivery"))?.item;
        let found = found.filter(|item| !item.is_expired()).as_ref().map(delivery).transpose()?;
        Ok(found.filter(|delivery| delivery.tenant == *tenant))
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let wrong = |_| Error::invalid("cursor", "is not one that we gave");
        let after = page.after.as_deref().map(str::parse::<DeliveryId>).transpose().map_err(wrong)?;
        let mut start = after.map(|id| delivery_key(DeliveryId { webhook, event: id.event }));
        let mut items: Vec<Delivery> = Vec::new();
        loop {
            let query = self
                .0
                .db
                .query()
                .table_name(&self.0.settings.deliveries_table)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(webhook.to_string()))
                .scan_index_forward(false)
                .set_exclusive_start_key(start.take())
                .set_limit(i32::try_from(page.limit).ok().map(|limit| limit.saturating_add(1)));
            let found = query.send().await.map_err(fault("listing deliveries"))?;
            for item in found.items.unwrap_or_default().iter().filter(|item| !item.is_expired()) {
                let delivery = delivery(item)?;
                if delivery.tenant != *tenant {
                    continue;
                }
                if items.len() == page.limit {
                    let next = items.last().map(|delivery| delivery.id.to_string());
                    return Ok(Page { items, next });
                }
                items.push(delivery);
            }
            start = found.last_evaluated_key;
            if start.is_none() {
                return Ok(Page { items, next: None });
            }
        }
    }

    async fn due(&self, now: Timestamp, lease: Timestamp, limit: usize) -> Result<Vec<Hint>, Error> {
        self.take_due(now, lease, limit).await
    }
}

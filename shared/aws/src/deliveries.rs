//! Deliveries: webhook / event number, each attempt recorded by one conditional put.

use async_trait::async_trait;
use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{
        Attempt, Delivery, DeliveryId, DeliveryState, DeliverySummary, Tally, TenantId, WebhookId, Window,
    },
    operation::{Page, PageRequest, Sought},
    ports::{Claim, Deliveries},
    undelivered::Undelivered,
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, expiry, key, micros, number, text},
    undelivered,
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
    if let Some(replay) = delivery.replay {
        item.insert("replay".into(), text(replay.to_string()));
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
    if delivery.state.is_open() {
        item.extend(undelivered::attributes(delivery));
    }
    Ok(item)
}

pub(crate) fn state(item: &Item) -> Result<DeliveryState, Error> {
    Ok(match item.text("state")? {
        "pending" => DeliveryState::Pending,
        "delivered" => DeliveryState::Delivered,
        "failed" => DeliveryState::Failed,
        "parked" => DeliveryState::Parked,
        "discarded" => DeliveryState::Discarded,
        "waiting" => DeliveryState::Waiting,
        _ => return Err(odd("state")),
    })
}

pub(crate) fn delivery(item: &Item) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: DeliveryId { webhook: item.parsed("pk")?, event: item.parsed("sk")? },
        tenant: item.parsed("tenant")?,
        event: item.parsed("event_id")?,
        topic: item.parsed("topic")?,
        state: state(item)?,
        attempt_count: u32::try_from(item.number("attempt_count")?).map_err(|_| odd("attempt_count"))?,
        attempts: serde_json::from_str(item.text("attempts")?).map_err(|_| odd("attempts"))?,
        created_at: item.time("created_at")?,
        probes: match item.get("probes") {
            None => 0,
            Some(_) => u32::try_from(item.number("probes")?).map_err(|_| odd("probes"))?,
        },
        parked_at: item.maybe_time("parked_at")?,
        replay: item.get("replay").map(|_| item.parsed("replay")).transpose()?,
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
        let item = item(record, due)?;
        let put = self
            .0
            .db
            .put_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(pk) OR attempt_count = :expected")
            .expression_attribute_values(":expected", number(expected))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(true) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(fault("recording an attempt")(error));
        };
        // The SDK tries again when an answer gets lost: then what is there is what we put ourselves.
        Ok(failed.item() == Some(&item))
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

    async fn reopen(
        &self,
        kept: &Delivery,
        again: &Delivery,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, Error> {
        self.reopen_delivery(kept, again, now, due).await
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
        sought: &Sought,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        self.list_deliveries(tenant, webhook, sought, page).await
    }

    async fn deliveries_within(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        self.deliveries_in(tenant, webhook, window, page).await
    }

    async fn undelivered(
        &self,
        sought: &Undelivered,
        page: &PageRequest,
    ) -> Result<Page<DeliverySummary>, Error> {
        self.list_undelivered(sought, page).await
    }

    async fn due(&self, now: Timestamp, lease: Timestamp, limit: usize) -> Result<Vec<Hint>, Error> {
        self.take_due(now, lease, limit).await
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use postrider::model::{Attempt, KeptHeaders, Phases, Reply};
    use uuid::Uuid;

    use super::*;

    /// Bytes of an item as `DynamoDB` counts them: names and texts in UTF-8, two digits of a number a byte and one more.
    fn size(item: &Item) -> usize {
        let value = |value: &AttributeValue| match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
            other => panic!("{other:?}"),
        };
        item.iter().map(|(name, kept)| name.len() + value(kept)).sum()
    }

    #[test]
    fn the_record_of_an_ordinary_success_is_half_a_write_unit() {
        let at: Timestamp = "2026-03-01T09:30:00.123456Z".parse().unwrap();
        let id = DeliveryId { event: Uuid::from_u128(1), webhook: WebhookId(Uuid::from_u128(2)) };
        let mut delivery = Delivery {
            id,
            tenant: "a-seller-of-ours".parse().unwrap(),
            event: format!("evt_{}", id.event.simple()).parse().unwrap(),
            topic: "product_request.rejected".parse().unwrap(),
            state: DeliveryState::Delivered,
            attempt_count: 0,
            attempts: Vec::new(),
            created_at: at,
            probes: 0,
            parked_at: None,
            replay: None,
            ordering_key: None,
            next_attempt_at: None,
        };
        let phases = Phases {
            dns_us: Some(1_234),
            connect_us: Some(12_345),
            tls_us: Some(23_456),
            first_byte_us: Some(123_456),
            total_us: 160_491,
        };
        delivery.add(Attempt {
            number: 1,
            at,
            phases,
            address: Some("[2606:2800:220:1:248:1893:25c8:1946]:443".into()),
            sent_headers: KeptHeaders::default(),
            failure: None,
            detail: None,
            reply: Some(Reply {
                status: 200,
                body: r#"{"status":"ok"}"#.into(),
                truncated: false,
                headers: KeptHeaders::default(),
            }),
        });
        let bytes = size(&item(&delivery, None).unwrap());
        assert!((400..=640).contains(&bytes), "{bytes}: a write unit is 1,024");
    }
}

//! Parked deliveries that their receiver fetches.

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::{StreamExt, TryStreamExt, stream};
use postrider::{
    error::Error,
    model::{Attempt, Delivery, DeliveryId, DeliveryState, TenantId, WebhookId},
};

use crate::{
    Engine,
    claims::AT_ONCE,
    deliveries::{delivery, delivery_key, parked_shard, state_text},
    fault::{fault, odd},
    item::{Item, Read, number, text},
};

/// Entries of the index that are read at once.
const BATCH: usize = 100;

impl Engine {
    /// The index tells which, a moment late: as the table has them, some may no longer be parked. Those are passed over,
    /// or who has just acknowledged some would be handed them again.
    pub(crate) async fn read_parked(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let mut waiting = Vec::new();
        let mut start = None;
        loop {
            let query = self
                .0
                .db
                .query()
                .table_name(&self.0.settings.deliveries_table)
                .index_name("due")
                .key_condition_expression("due_shard = :shard")
                .expression_attribute_values(":shard", text(parked_shard(webhook)))
                .set_exclusive_start_key(start)
                .limit(i32::try_from(limit.min(BATCH)).unwrap_or(i32::MAX));
            let found = query.send().await.map_err(fault("reading what is parked"))?;
            waiting.extend(self.still_parked(tenant, found.items.unwrap_or_default()).await?);
            start = found.last_evaluated_key;
            if waiting.len() >= limit || start.is_none() {
                waiting.truncate(limit);
                return Ok(waiting);
            }
        }
    }

    /// Those of a page of the index that are parked, in its order.
    async fn still_parked(&self, tenant: &TenantId, page: Vec<Item>) -> Result<Vec<Delivery>, Error> {
        let key = |item: &Item| {
            Ok(delivery_key(DeliveryId { webhook: item.parsed("pk")?, event: item.parsed("sk")? }))
        };
        let keys = page.iter().map(key).collect::<Result<Vec<_>, Error>>()?;
        let table = &self.0.settings.deliveries_table;
        let consistently = KeysAndAttributes::builder().consistent_read(true);
        let read = self.read_all(table, keys, consistently, "reading what is parked").await?;
        let kept = read.iter().filter(|item| !item.is_expired());
        let mut found = kept.map(delivery).collect::<Result<Vec<_>, _>>()?;
        found.retain(|one| one.state == DeliveryState::Parked && one.tenant == *tenant);
        found.sort_by_key(|one| (one.parked_at, one.id.event));
        Ok(found)
    }

    pub(crate) async fn acknowledge_parked(
        &self,
        tenant: &TenantId,
        deliveries: &[DeliveryId],
        by: &Attempt,
    ) -> Result<(), Error> {
        let attempts = serde_json::to_string(&[by]).map_err(|_| odd("attempts"))?;
        let acknowledge = async |id: DeliveryId| {
            let values: [(&str, AttributeValue); 3] = [
                (":delivered", text(state_text(DeliveryState::Delivered))),
                (":attempts", text(&attempts)),
                (":number", number(by.number)),
            ];
            let change = "#state = :delivered, attempts = :attempts, attempt_count = :number \
                          REMOVE due_shard, due_at, open_shard, open_at";
            self.unpark(tenant, id, change, values).await.map(drop)
        };
        let ids: Vec<_> = deliveries.to_vec();
        stream::iter(ids).map(acknowledge).buffer_unordered(AT_ONCE).try_collect().await
    }
}

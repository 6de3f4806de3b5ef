//! Parked deliveries, and the webhooks whose backlog is on its way (`look#W` / `look` in the deliveries table).
//!
//! Both stand in the sparse index of what is due: parked deliveries in a shard for each webhook, by the age of their
//! events; the looks in a shard of their own.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, Select},
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{DeliveryId, DeliveryState, TenantId, WebhookId},
};

use crate::{
    Engine,
    claims::{AT_ONCE, taken},
    deliveries::{delivery, delivery_key, due_shard, parked_shard, state_text},
    fault::{fault, odd},
    item::{Item, Read, key, number, text},
    mark::Mark,
};

const LOOKS: &str = "look";

fn look_key(webhook: WebhookId) -> Item {
    key(format!("look#{webhook}"), LOOKS)
}

impl Engine {
    pub(crate) async fn release_parked(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        due: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, Error> {
        let ids = self.oldest_parked(webhook, limit).await?;
        let release = async |(id, _)| {
            let values = [
                (":due", number(due.as_millisecond())),
                (":shard", text(due_shard(id))),
                (":pending", text(state_text(DeliveryState::Pending))),
            ];
            let change = "#state = :pending, due_shard = :shard, due_at = :due";
            self.unpark(tenant, id, change, values).await
        };
        let released = taken(stream::iter(ids).map(release).buffered(AT_ONCE).collect().await)?;
        released.iter().map(|item| Ok(Hint::next(&delivery(item)?))).collect()
    }

    pub(crate) async fn discard_parked(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<usize, Error> {
        let ids = self.oldest_parked(webhook, limit).await?;
        let discard = async |(id, in_line)| {
            let discarded = (":discarded", text(state_text(DeliveryState::Discarded)));
            if in_line {
                let values = [discarded, (":shard", text(due_shard(id))), (":now", number(0))];
                let change =
                    "#state = :discarded, due_shard = :shard, due_at = :now REMOVE open_shard, open_at";
                return self.unpark(tenant, id, change, values).await;
            }
            let change = "#state = :discarded REMOVE due_shard, due_at, open_shard, open_at";
            self.unpark(tenant, id, change, [discarded]).await
        };
        Ok(taken(stream::iter(ids).map(discard).buffered(AT_ONCE).collect().await)?.len())
    }

    /// Changes a delivery that is still parked, which the index may not know; none: it is not.
    pub(crate) async fn unpark<const N: usize>(
        &self,
        tenant: &TenantId,
        id: DeliveryId,
        change: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<Option<Item>, Error> {
        let mark = Mark::new();
        let mut update = self
            .0
            .db
            .update_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_key(Some(delivery_key(id)))
            .update_expression(format!("SET mark = :mark, {change}"))
            .condition_expression("#state = :parked AND #tenant = :tenant")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#tenant", "tenant")
            .expression_attribute_values(":mark", mark.value())
            .expression_attribute_values(":parked", text(state_text(DeliveryState::Parked)))
            .expression_attribute_values(":tenant", text(tenant.as_str()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (name, value) in values {
            update = update.expression_attribute_values(name, value);
        }
        match update.send().await {
            Ok(done) => Ok(Some(done.attributes.ok_or_else(|| odd("answer"))?)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(failed.item().filter(|kept| mark.is_on(kept)).cloned())
                }
                _ => Err(fault("taking what is parked")(error)),
            },
        }
    }

    /// The first parked deliveries, and whether they are of a line.
    async fn oldest_parked(
        &self,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<Vec<(DeliveryId, bool)>, Error> {
        let query = self
            .0
            .db
            .query()
            .table_name(&self.0.settings.deliveries_table)
            .index_name("due")
            .key_condition_expression("due_shard = :shard")
            .expression_attribute_values(":shard", text(parked_shard(webhook)))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let found = query.send().await.map_err(fault("reading what is parked"))?.items.unwrap_or_default();
        let parked =
            |item: &Item| Ok((DeliveryId { webhook, event: item.parsed("sk")? }, item.has("ordering_key")));
        found.iter().map(parked).collect()
    }

    pub(crate) async fn count_parked(&self, webhook: WebhookId, most: usize) -> Result<usize, Error> {
        let (mut count, mut start) = (0, None);
        loop {
            let query = self
                .0
                .db
                .query()
                .table_name(&self.0.settings.deliveries_table)
                .index_name("due")
                .select(Select::Count)
                .key_condition_expression("due_shard = :shard")
                .expression_attribute_values(":shard", text(parked_shard(webhook)))
                .limit(i32::try_from(most - count).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start.take());
            let found = query.send().await.map_err(fault("counting what is parked"))?;
            count += usize::try_from(found.count).map_err(|_| odd("count"))?;
            start = found.last_evaluated_key;
            if start.is_none() || count >= most {
                return Ok(count.min(most));
            }
        }
    }

    pub(crate) async fn note_look(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut item = look_key(webhook);
        item.insert("tenant".into(), text(tenant.as_str()));
        item.insert("webhook".into(), text(webhook.to_string()));
        item.insert("due_shard".into(), text(LOOKS));
        item.insert("due_at".into(), number(at.as_millisecond()));
        let put = self.0.db.put_item().table_name(&self.0.settings.deliveries_table).set_item(Some(item));
        put.send().await.map(drop).map_err(fault("noting a backlog"))
    }

    pub(crate) async fn strike_look(&self, webhook: WebhookId) -> Result<(), Error> {
        let delete = self.0.db.delete_item().table_name(&self.0.settings.deliveries_table);
        let delete = delete.set_key(Some(look_key(webhook)));
        delete.send().await.map(drop).map_err(fault("striking off a backlog"))
    }

    pub(crate) async fn take_looks(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, WebhookId)>, Error> {
        let take = async |item: Item| {
            let webhook = item.text("pk")?.strip_prefix("look#").and_then(|id| id.parse::<WebhookId>().ok());
            let webhook = webhook.ok_or_else(|| odd("pk"))?;
            let is_ours = self.put_off_due(&item, look_key(webhook), lease).await?;
            Ok(if is_ours { Some((item.parsed("tenant")?, webhook)) } else { None })
        };
        let found = self.due_of(LOOKS, now, limit).await?;
        taken(stream::iter(found).map(take).buffered(AT_ONCE).collect().await)
    }
}

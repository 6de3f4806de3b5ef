//! Lines: what goes out one after the other (`line#W#KEY` / event number in the deliveries table, read consistently).

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{ConditionCheck, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{Delivery, DeliveryId, DeliveryState, Event, Line, TenantId, WebhookId},
    ports::{Accepted, Events, Lines, Turn},
};
use uuid::Uuid;

use crate::{
    Engine,
    deliveries::{self, delivery, delivery_key, due_shard, state_text},
    events,
    fault::{fault, odd},
    item::{Item, KEPT, Read, expiry, key, micros, number, text},
    mark::Mark,
    subscriptions::Unmet,
};

fn partition(webhook: WebhookId, ordering_key: &str) -> String {
    format!("line#{webhook}#{ordering_key}")
}

fn entry(line: &Line, event: Uuid) -> Item {
    key(partition(line.webhook, line.key.as_str()), event.simple().to_string())
}

/// Nothing older is in any line: what TTL has yet to delete there is not to be met.
fn oldest() -> String {
    let kept_since = Timestamp::now() - KEPT;
    let millis = u64::try_from(kept_since.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().simple().to_string()
}

impl Engine {
    /// The event and its places in one transaction: another event must not see a line in which it is missing.
    pub(crate) async fn accept_in_line(&self, event: &Event) -> Result<Accepted, Error> {
        let put = Put::builder()
            .table_name(&self.0.settings.events_table)
            .set_item(Some(events::item(event)?))
            .condition_expression("attribute_not_exists(pk)");
        let mut writes = vec![TransactWriteItem::builder().put(put.build().map_err(|_| odd("put"))?).build()];
        for (webhook, key_) in event.ordered.iter().zip(event.ordering_key.iter().cycle()) {
            let mut item = key(partition(*webhook, key_.as_str()), event.uid.simple().to_string());
            item.insert("expires_at".into(), expiry(event.accepted_at));
            let put = Put::builder().table_name(&self.0.settings.deliveries_table).set_item(Some(item));
            writes.push(TransactWriteItem::builder().put(put.build().map_err(|_| odd("put"))?).build());
        }
        if self.transact(writes, "accepting an event in its line").await?.is_ok() {
            return Ok(Accepted::New);
        }
        let kept = self.event(&event.tenant, &event.id).await?;
        let kept = kept.ok_or_else(|| Error::Unavailable("an event that has just expired".into()))?;
        // The SDK tries again when an answer gets lost: then what is there is what we put ourselves.
        if kept.uid == event.uid {
            Ok(Accepted::New)
        } else {
            Ok(Accepted::Already(Box::new((*kept).clone())))
        }
    }

    /// Makes a delivery that waits pending; none: it does not wait.
    async fn wake(&self, line: &Line, event: Uuid, due: Timestamp) -> Result<Option<Hint>, Error> {
        let id = DeliveryId { webhook: line.webhook, event };
        let mark = Mark::new();
        let update = self
            .0
            .db
            .update_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_key(Some(delivery_key(id)))
            .update_expression(
                "SET mark = :mark, #state = :pending, due_shard = :shard, due_at = :due REMOVE leased_until",
            )
            .condition_expression("#state = :waiting AND #tenant = :tenant")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#tenant", "tenant")
            .expression_attribute_values(":pending", text(state_text(DeliveryState::Pending)))
            .expression_attribute_values(":waiting", text(state_text(DeliveryState::Waiting)))
            .expression_attribute_values(":tenant", text(line.tenant.as_str()))
            .expression_attribute_values(":shard", text(due_shard(id)))
            .expression_attribute_values(":due", number(due.as_millisecond()))
            .expression_attribute_values(":mark", mark.value())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let woken = match update.send().await {
            Ok(done) => Some(done.attributes.ok_or_else(|| odd("answer"))?),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    failed.item().filter(|kept| mark.is_on(kept)).cloned()
                }
                _ => return Err(fault("waking who waits")(error)),
            },
        };
        woken.map(|item| Ok(Hint::next(&delivery(&item)?))).transpose()
    }

    /// Takes a settled delivery out of the index of what is due.
    async fn due_no_more(&self, id: DeliveryId) -> Result<(), Error> {
        let mut update = self
            .0
            .db
            .update_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_key(Some(delivery_key(id)))
            .update_expression("REMOVE due_shard, due_at")
            .condition_expression("#state IN (:delivered, :failed, :discarded)")
            .expression_attribute_names("#state", "state");
        for state in [DeliveryState::Delivered, DeliveryState::Failed, DeliveryState::Discarded] {
            let name = state_text(state);
            update = update.expression_attribute_values(format!(":{name}"), text(name));
        }
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(fault("noting that a line goes on")(error)),
            },
        }
    }

    /// As [`postrider::ports::Deliveries::give_up`] has it.
    pub(crate) async fn give_up_one(
        &self,
        tenant: &TenantId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let table = &self.0.settings.deliveries_table;
        let get =
            self.0.db.get_item().table_name(table).set_key(Some(delivery_key(id))).consistent_read(true);
        let Some(kept) = get.send().await.map_err(fault("reading a delivery"))?.item else {
            return Ok(false);
        };
        let (set, gone) = if kept.has("ordering_key") {
            (", due_shard = :shard, due_at = :at_once", "")
        } else {
            ("", ", due_shard, due_at")
        };
        let mark = Mark::new();
        let mut update = self
            .0
            .db
            .update_item()
            .table_name(table)
            .set_key(Some(delivery_key(id)))
            .expression_attribute_values(":mark", mark.value())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .update_expression(format!(
                "SET mark = :mark, #state = :discarded{set} \
                 REMOVE next_attempt_at, leased_until, open_shard, open_at{gone}"
            ))
            .condition_expression(
                "#tenant = :tenant AND (#state IN (:parked, :waiting, :failed) OR (#state = :pending \
                 AND (attribute_not_exists(leased_until) OR leased_until <= :now)))",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#tenant", "tenant")
            .expression_attribute_values(":tenant", text(tenant.as_str()))
            .expression_attribute_values(":now", micros(now));
        if !set.is_empty() {
            update = update
                .expression_attribute_values(":shard", text(due_shard(id)))
                .expression_attribute_values(":at_once", number(0));
        }
        let states = [
            DeliveryState::Discarded,
            DeliveryState::Parked,
            DeliveryState::Waiting,
            DeliveryState::Failed,
            DeliveryState::Pending,
        ];
        for name in states.map(state_text) {
            update = update.expression_attribute_values(format!(":{name}"), text(name));
        }
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(failed.item().is_some_and(|kept| mark.is_on(kept)))
                }
                _ => Err(fault("giving a delivery up")(error)),
            },
        }
    }
}

#[async_trait]
impl Lines for Engine {
    async fn first(&self, line: &Line) -> Result<Option<Uuid>, Error> {
        let query = self
            .0
            .db
            .query()
            .table_name(&self.0.settings.deliveries_table)
            .key_condition_expression("pk = :pk AND sk >= :oldest")
            .expression_attribute_values(":pk", text(partition(line.webhook, line.key.as_str())))
            .expression_attribute_values(":oldest", text(oldest()))
            .consistent_read(true)
            .limit(1);
        let found = query.send().await.map_err(fault("reading a line"))?.items.unwrap_or_default();
        found.first().map(|item| item.parsed("sk")).transpose()
    }

    async fn wait_behind(
        &self,
        delivery: &Delivery,
        had: u32,
        line: &Line,
        before: Uuid,
    ) -> Result<Turn, Error> {
        let table = &self.0.settings.deliveries_table;
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(deliveries::item(delivery, None)?))
            .condition_expression("attribute_not_exists(pk) OR attempt_count = :had")
            .expression_attribute_values(":had", number(had));
        let stands = |event| {
            let check = ConditionCheck::builder().table_name(table).set_key(Some(entry(line, event)));
            let check = check.condition_expression("attribute_exists(pk)").build();
            check.map(|check| TransactWriteItem::builder().condition_check(check).build())
        };
        let writes = vec![
            TransactWriteItem::builder().put(put.build().map_err(|_| odd("put"))?).build(),
            stands(before).map_err(|_| odd("check"))?,
            stands(delivery.id.event).map_err(|_| odd("check"))?,
        ];
        Ok(match self.transact(writes, "waiting in a line").await? {
            Ok(()) => Turn::Waits,
            Err(Unmet(at)) if at.contains(&0) => Turn::Lost,
            Err(Unmet(at)) if at.contains(&2) => Turn::Apart,
            Err(_) => Turn::Moved,
        })
    }

    async fn advance(&self, line: &Line, gone: Option<Uuid>, due: Timestamp) -> Result<Option<Hint>, Error> {
        if let Some(gone) = gone {
            let delete = self.0.db.delete_item().table_name(&self.0.settings.deliveries_table);
            let delete = delete.set_key(Some(entry(line, gone)));
            delete.send().await.map_err(fault("leaving a line"))?;
        }
        let woken = match self.first(line).await? {
            Some(first) => self.wake(line, first, due).await?,
            None => None,
        };
        if let Some(event) = gone {
            self.due_no_more(DeliveryId { webhook: line.webhook, event }).await?;
        }
        Ok(woken)
    }
}

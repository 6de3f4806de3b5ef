//! Who makes an attempt: conditional updates, so that one of many wins.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use futures::{StreamExt, future::try_join_all, stream};
use jiff::{SignedDuration, Timestamp};
use postrider::{
    error::Error,
    hint::Hint,
    model::{Delivery, DeliveryId, DeliveryState},
    ports::Claim,
    undelivered::Position,
};

use crate::{
    Engine,
    deliveries::{SHARDS, delivery, delivery_key, due_shard, state_text},
    fault::{fault, odd},
    item::{Item, Read, expiry, micros, number, text},
    mark::Mark,
};

/// How long after its lease a claimed attempt comes due again, if its claimer died.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Updates under way at once.
pub(crate) const AT_ONCE: usize = 32;

/// What was taken of many, if anything was. What could not be taken is found again, and its fault shown, when nothing else
/// can be; but whoever hears of the fault alone forgets what he has taken.
pub(crate) fn taken<T>(tries: Vec<Result<Option<T>, Error>>) -> Result<Vec<T>, Error> {
    let (mut taken, mut fault) = (Vec::with_capacity(tries.len()), None);
    for tried in tries {
        match tried {
            Ok(one) => taken.extend(one),
            Err(error) => fault = Some(error),
        }
    }
    match fault {
        Some(error) if taken.is_empty() => Err(error),
        Some(error) => {
            tracing::warn!(%error, fault = error.fault(), taken = taken.len(), "not all could be taken");
            Ok(taken)
        }
        None => Ok(taken),
    }
}

impl Engine {
    pub(crate) async fn claim_attempt(
        &self,
        blank: &Delivery,
        attempt: u32,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Claim, Error> {
        let mark = Mark::new();
        let (in_line, key) = match &blank.ordering_key {
            Some(key) => (", ordering_key = if_not_exists(ordering_key, :key)", Some(text(key.as_str()))),
            None => ("", None),
        };
        let mut update = self
            .0
            .db
            .update_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_key(Some(delivery_key(blank.id)))
            .update_expression(format!(
                "SET mark = :mark, leased_until = :lease, due_shard = :shard, due_at = :due, \
                 open_shard = :shard, open_at = :open, \
                 tenant = if_not_exists(tenant, :tenant), event_id = if_not_exists(event_id, :event), \
                 topic = if_not_exists(topic, :topic), #state = :pending, \
                 attempt_count = if_not_exists(attempt_count, :none), attempts = if_not_exists(attempts, :empty), \
                 created_at = if_not_exists(created_at, :created), expires_at = if_not_exists(expires_at, :expires){in_line}",
            ))
            .condition_expression(
                "attribute_not_exists(pk) OR (#state = :pending AND attempt_count < :attempt \
                 AND (attribute_not_exists(leased_until) OR leased_until <= :now))",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":mark", mark.value())
            .expression_attribute_values(":lease", micros(lease))
            .expression_attribute_values(":shard", text(due_shard(blank.id)))
            .expression_attribute_values(":due", number((lease + GRACE).as_millisecond()))
            .expression_attribute_values(":open", text(Position::of(&blank.tenant, blank.id).to_string()))
            .expression_attribute_values(":tenant", text(blank.tenant.as_str()))
            .expression_attribute_values(":event", text(blank.event.as_str()))
            .expression_attribute_values(":topic", text(blank.topic.as_str()))
            .expression_attribute_values(":pending", text(state_text(DeliveryState::Pending)))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":empty", text("[]"))
            .expression_attribute_values(":created", micros(blank.created_at))
            .expression_attribute_values(":expires", expiry(blank.created_at))
            .expression_attribute_values(":attempt", number(attempt))
            .expression_attribute_values(":now", micros(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(key) = key {
            update = update.expression_attribute_values(":key", key);
        }
        let error = match update.send().await {
            Ok(done) => {
                let item = done.attributes.ok_or_else(|| odd("answer"))?;
                return Ok(Claim::Taken(Box::new(delivery(&item)?)));
            }
            Err(error) => error,
        };
        let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(fault("claiming an attempt")(error));
        };
        let item = failed.item().ok_or_else(|| odd("answer"))?;
        let kept = delivery(item)?;
        if mark.is_on(item) {
            return Ok(Claim::Taken(Box::new(kept)));
        }
        Ok(if kept.is_settled() || kept.attempt_count >= attempt { Claim::Done } else { Claim::Busy })
    }

    pub(crate) async fn take_due(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, Error> {
        let share = limit.div_ceil(usize::from(SHARDS)).max(1);
        let mut found: Vec<Item> =
            try_join_all((0..SHARDS).map(async |shard| self.due_of(&shard.to_string(), now, share).await))
                .await?
                .concat();
        found.truncate(limit);
        let tries = stream::iter(found).map(|item| self.take(item, lease)).buffer_unordered(AT_ONCE);
        taken(tries.collect().await)
    }

    /// What is due in a shard of the index.
    pub(crate) async fn due_of(&self, shard: &str, now: Timestamp, limit: usize) -> Result<Vec<Item>, Error> {
        let query = self
            .0
            .db
            .query()
            .table_name(&self.0.settings.deliveries_table)
            .index_name("due")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        Ok(query.send().await.map_err(fault("reading what is due"))?.items.unwrap_or_default())
    }

    /// Puts off what the index says is due, until a lease ends; false: somebody else did.
    pub(crate) async fn put_off_due(&self, item: &Item, key: Item, lease: Timestamp) -> Result<bool, Error> {
        let mark = Mark::new();
        let update = self
            .0
            .db
            .update_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_key(Some(key))
            .update_expression("SET mark = :mark, due_at = :lease")
            .condition_expression("due_at = :due")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_values(":mark", mark.value())
            .expression_attribute_values(":lease", number(lease.as_millisecond()))
            .expression_attribute_values(":due", number(item.number("due_at")?));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(failed.item().is_some_and(|kept| mark.is_on(kept)))
                }
                _ => Err(fault("taking what is due")(error)),
            },
        }
    }

    /// Takes one delivery that is due; none: somebody else did.
    async fn take(&self, item: Item, lease: Timestamp) -> Result<Option<Hint>, Error> {
        let id = DeliveryId { webhook: item.parsed("pk")?, event: item.parsed("sk")? };
        if !self.put_off_due(&item, delivery_key(id), lease).await? {
            return Ok(None);
        }
        let made = u32::try_from(item.number("attempt_count")?).map_err(|_| odd("attempt_count"))?;
        Ok(Some(Hint {
            tenant: item.parsed("tenant")?,
            event: item.parsed("event_id")?,
            delivery: id,
            attempt: made + 1,
            fresh_at: None,
            released: None,
            slot: None,
        }))
    }
}

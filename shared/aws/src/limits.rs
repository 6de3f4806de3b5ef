//! How much goes to webhooks whose owners bound it: when the next slot is free stands beside the receiver's health.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Rate, TenantId, WebhookId},
    ports::Limiting,
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Read, micros, number},
    mark::Mark,
};

/// How often a slot that somebody else took is tried for again.
const TRIES: usize = 5;

#[async_trait]
impl Limiting for Engine {
    async fn reserve(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        rate: Rate,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let (first, interval) = (rate.first(now), rate.interval());
        for _ in 0..TRIES {
            // Of a webhook that is busy, the slot after the last.
            let mark = Mark::new();
            let next = self
                .health_update(tenant, webhook)
                .update_expression("SET mark = :mark, free_at = free_at + :interval")
                .condition_expression(
                    "free_at BETWEEN :first AND :last AND (attribute_not_exists(mark) OR mark <> :mark)",
                )
                .expression_attribute_values(":mark", mark.value())
                .expression_attribute_values(":interval", number(interval.as_micros()))
                .expression_attribute_values(":first", micros(first))
                .expression_attribute_values(":last", micros(rate.last(now)))
                .return_values(ReturnValue::UpdatedNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let refused = match next.send().await {
                Ok(done) => {
                    let item = done.attributes.ok_or_else(|| odd("answer"))?;
                    return Ok(Some(item.time("free_at")? - interval));
                }
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => refused.item.clone(),
                    _ => return Err(fault("reserving a slot")(error)),
                },
            };
            let refused = refused.unwrap_or_default();
            if mark.is_on(&refused) {
                return Ok(Some(refused.time("free_at")? - interval));
            }
            if refused.maybe_time("free_at")?.is_some_and(|free_at| free_at > first) {
                return Ok(None);
            }
            // Of one that was idle, the first.
            let begin = self
                .health_update(tenant, webhook)
                .update_expression("SET mark = :mark, free_at = :next")
                .condition_expression("attribute_not_exists(free_at) OR free_at < :first")
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .expression_attribute_values(":mark", mark.value())
                .expression_attribute_values(":first", micros(first))
                .expression_attribute_values(":next", micros(first + interval));
            match begin.send().await {
                Ok(_) => return Ok(Some(first)),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused))
                        if refused.item().is_some_and(|kept| mark.is_on(kept)) =>
                    {
                        return Ok(Some(first));
                    }
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => {}
                    _ => return Err(fault("reserving a slot")(error)),
                },
            }
        }
        Err(Error::Unavailable("reserving a slot: too many did at once".into()))
    }
}

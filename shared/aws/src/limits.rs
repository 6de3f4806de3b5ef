//! How much goes to webhooks whose owners bound it: when the next slot is free, and which places are taken, stands beside the
//! receiver's health.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{InFlight, Rate, TenantId, WebhookId},
    ports::{Limiting, Place},
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

    async fn enter(&self, place: &Place, most: InFlight, now: Timestamp) -> Result<bool, Error> {
        let own = seat(place);
        for _ in 0..TRIES {
            let enter = self
                .health_update(&place.tenant, place.delivery.webhook)
                .update_expression("ADD seats :own")
                .condition_expression("attribute_not_exists(seats) OR size(seats) < :most")
                .expression_attribute_values(":own", set([own.clone()]))
                .expression_attribute_values(":most", number(u64::from(most)))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let Err(error) = enter.send().await else { return Ok(true) };
            let Some(UpdateItemError::ConditionalCheckFailedException(full)) = error.as_service_error()
            else {
                return Err(fault("taking a place")(error));
            };
            let taken = full.item().and_then(|item| item.get("seats")).and_then(|seats| seats.as_ss().ok());
            let taken = taken.map_or(&[][..], Vec::as_slice);
            // The SDK tries again when an answer gets lost.
            if taken.contains(&own) {
                return Ok(true);
            }
            let forgotten: Vec<_> = taken.iter().filter(|seat| is_forgotten(seat, now)).cloned().collect();
            if forgotten.is_empty() {
                return Ok(false);
            }
            self.free(place, forgotten).await?;
        }
        // As many come at once as places are freed.
        Ok(false)
    }

    async fn leave(&self, place: &Place) -> Result<(), Error> {
        self.free(place, vec![seat(place)]).await
    }
}

/// A place as it stands in the set of those that are taken: the random part of its event's number, and until when it is taken.
fn seat(place: &Place) -> String {
    let (event, until) = (place.delivery.event.simple().to_string(), place.until.as_microsecond());
    format!("{}:{until}", event.get(20..).unwrap_or(&event))
}

fn is_forgotten(seat: &str, now: Timestamp) -> bool {
    let until = seat.split_once(':').and_then(|(_, until)| until.parse().ok());
    until.is_none_or(|until: i64| until <= now.as_microsecond())
}

fn set(seats: impl Into<Vec<String>>) -> AttributeValue {
    AttributeValue::Ss(seats.into())
}

impl Engine {
    async fn free(&self, place: &Place, seats: Vec<String>) -> Result<(), Error> {
        let free = self
            .health_update(&place.tenant, place.delivery.webhook)
            .update_expression("DELETE seats :seats")
            .expression_attribute_values(":seats", set(seats));
        free.send().await.map(drop).map_err(fault("leaving a place"))
    }
}

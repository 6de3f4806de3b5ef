//! Taking a delivery up again: a conditional put of its whole record.

use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use postrider::{error::Error, model::Delivery};

use crate::{
    Engine,
    deliveries::{delivery, item, state_text},
    fault::fault,
    item::{micros, number, text},
};

impl Engine {
    pub(crate) async fn reopen_delivery(
        &self,
        kept: &Delivery,
        again: &Delivery,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, Error> {
        let is_due = match kept.next_attempt_at {
            Some(_) => "next_attempt_at = :next",
            None => "attribute_not_exists(next_attempt_at)",
        };
        let condition = format!(
            "attribute_not_exists(pk) OR (#state = :state AND attempt_count = :had AND tenant = :tenant AND {is_due} \
             AND (attribute_not_exists(leased_until) OR leased_until <= :now))"
        );
        let mut put = self
            .0
            .db
            .put_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_item(Some(item(again, Some(due))?))
            .condition_expression(condition)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", text(state_text(kept.state)))
            .expression_attribute_values(":had", number(kept.attempt_count))
            .expression_attribute_values(":tenant", text(kept.tenant.as_str()))
            .expression_attribute_values(":now", micros(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(next) = kept.next_attempt_at {
            put = put.expression_attribute_values(":next", micros(next));
        }
        let Err(error) = put.send().await else { return Ok(true) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(fault("taking a delivery up again")(error));
        };
        // The SDK tries again when an answer gets lost: then what is there is what we put ourselves.
        let there = failed.item().map(delivery).transpose()?;
        Ok(there.is_some_and(|there| there == *again))
    }
}

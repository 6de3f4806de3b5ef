//! What came of a webhook's deliveries: `tally#W` / `tally` in the deliveries table.

use std::collections::HashMap;

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::KeysAndAttributes};
use postrider::{
    error::Error,
    model::{Tally, WebhookId},
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, key, micros, number},
    mark::Mark,
};

fn tally_key(webhook: WebhookId) -> Item {
    key(format!("tally#{webhook}"), "tally")
}

impl Engine {
    pub(crate) async fn count_in(&self, webhook: WebhookId, more: Tally) -> Result<(), Error> {
        let table = &self.0.settings.deliveries_table;
        let update = self
            .0
            .db
            .update_item()
            .table_name(table)
            .set_key(Some(tally_key(webhook)))
            .condition_expression("attribute_not_exists(mark) OR mark <> :mark")
            .expression_attribute_values(":mark", Mark::new().value())
            .expression_attribute_values(":sent", number(more.sent));
        let update = match more.failed_at {
            None => update.update_expression("SET mark = :mark ADD sent :sent"),
            Some(at) => update
                .update_expression("SET mark = :mark, failed_at = :at ADD sent :sent")
                .expression_attribute_values(":at", micros(at)),
        };
        let Err(error) = update.send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            _ => Err(fault("counting an event")(error)),
        }
    }

    pub(crate) async fn read_tallies(&self, webhooks: &[WebhookId]) -> Result<Vec<Tally>, Error> {
        let table = &self.0.settings.deliveries_table;
        let mut found = HashMap::new();
        let keys = webhooks.iter().map(|id| tally_key(*id)).collect();
        let how = KeysAndAttributes::builder().consistent_read(true);
        for item in self.read_all(table, keys, how, "reading tallies").await? {
            let sent = u64::try_from(item.number("sent")?).map_err(|_| odd("sent"))?;
            let tally = Tally { sent, failed_at: item.maybe_time("failed_at")? };
            found.insert(item.text("pk")?.to_owned(), tally);
        }
        let of = |id: &WebhookId| found.get(&format!("tally#{id}")).copied().unwrap_or_default();
        Ok(webhooks.iter().map(of).collect())
    }
}

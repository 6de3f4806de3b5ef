//! What came of a webhook's deliveries: `tally#W` / `tally` in the deliveries table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use postrider::{
    error::Error,
    model::{Tally, WebhookId},
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, key, micros, number},
};

/// Keys of one `BatchGetItem` at most.
const READ_AT_ONCE: usize = 100;

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
            .expression_attribute_values(":sent", number(more.sent));
        let update = match more.failed_at {
            None => update.update_expression("ADD sent :sent"),
            Some(at) => update
                .update_expression("SET failed_at = :at ADD sent :sent")
                .expression_attribute_values(":at", micros(at)),
        };
        update.send().await.map(drop).map_err(fault("counting an event"))
    }

    pub(crate) async fn read_tallies(&self, webhooks: &[WebhookId]) -> Result<Vec<Tally>, Error> {
        let table = &self.0.settings.deliveries_table;
        let mut found = HashMap::new();
        for some in webhooks.chunks(READ_AT_ONCE) {
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(some.iter().map(|id| tally_key(*id)).collect()))
                .consistent_read(true)
                .build()
                .map_err(|_| odd("keys"))?;
            let read = self.0.db.batch_get_item().request_items(table, keys).send().await;
            let read = read.map_err(fault("reading tallies"))?;
            if read.unprocessed_keys.is_some_and(|keys| !keys.is_empty()) {
                return Err(Error::Unavailable("reading tallies: throttled".into()));
            }
            for item in read.responses.unwrap_or_default().remove(table).unwrap_or_default() {
                let sent = u64::try_from(item.number("sent")?).map_err(|_| odd("sent"))?;
                let tally = Tally { sent, failed_at: item.maybe_time("failed_at")? };
                found.insert(item.text("pk")?.to_owned(), tally);
            }
        }
        let of = |id: &WebhookId| found.get(&format!("tally#{id}")).copied().unwrap_or_default();
        Ok(webhooks.iter().map(of).collect())
    }
}

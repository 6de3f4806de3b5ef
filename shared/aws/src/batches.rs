//! Reading many items by their keys.

use std::time::Duration;

use aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder;
use postrider::error::Error;

use crate::{
    Engine,
    fault::{fault, odd},
    item::Item,
};

/// Keys of one `BatchGetItem` at most.
const BATCH: usize = 100;
/// How often what `DynamoDB` leaves over is asked for.
const TRIES: u32 = 8;

impl Engine {
    /// The items that there are, in no order; `how` says what of them, and how consistently.
    pub(crate) async fn read_all(
        &self,
        table: &str,
        keys: Vec<Item>,
        how: KeysAndAttributesBuilder,
        doing: &'static str,
    ) -> Result<Vec<Item>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let mut left = Some(how.clone().set_keys(Some(batch.to_vec())).build().map_err(|_| odd("keys"))?);
            for tried in 0..TRIES {
                let Some(keys) = left.take() else { break };
                let read = self.0.db.batch_get_item().request_items(table, keys).send().await;
                let read = read.map_err(fault(doing))?;
                found.extend(read.responses.unwrap_or_default().remove(table).unwrap_or_default());
                left = read.unprocessed_keys.unwrap_or_default().remove(table);
                if left.is_some() {
                    tokio::time::sleep(Duration::from_millis(10 << tried)).await;
                }
            }
            if left.is_some() {
                return Err(Error::Unavailable(format!("{doing}: throttled")));
            }
        }
        Ok(found)
    }
}

//! Finding first attempts that no record shows: events by the minute, then their deliveries by key.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures::future::try_join_all;
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::DeliveryId,
    operation::{Page, PageRequest},
};
use uuid::Uuid;

use crate::{
    Engine,
    deliveries::delivery_key,
    events::webhooks,
    fault::fault,
    item::{Read, text},
};

/// Partitions of a minute: each takes 1,000 writes a second.
pub(crate) const SHARDS: u8 = 8;

/// The index partition of an event.
pub(crate) fn bucket(uid: Uuid, accepted_at: Timestamp) -> String {
    let shard = uid.as_bytes()[15] % SHARDS;
    format!("{}#{shard}", accepted_at.as_second().div_euclid(60))
}

impl Engine {
    /// A page is one minute, whatever its limit and whatever is in it: the cursor is the next one.
    pub(crate) async fn stranded_in(
        &self,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Hint>, Error> {
        let last = until.as_second().div_euclid(60);
        let first = from.as_second().div_euclid(60);
        let minute = match &page.after {
            None => first,
            // Those before have been swept since.
            Some(after) => {
                let minute: i64 =
                    after.parse().map_err(|_| Error::invalid("cursor", "is not one that we gave"))?;
                minute.max(first)
            }
        };
        if last < minute {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let shards = (0..SHARDS).map(|shard| self.hints_of(format!("{minute}#{shard}")));
        let hints = try_join_all(shards).await?.into_iter().flatten();
        // An event's number begins with the milliseconds of its acceptance.
        let window = from.as_millisecond()..until.as_millisecond();
        let inside = |hint: &Hint| {
            let millis = i64::try_from(hint.delivery.event.as_u128() >> 80).unwrap_or_default();
            window.contains(&millis)
        };
        let items = self.unrecorded(hints.filter(inside).collect()).await?;
        let next = (minute < last).then(|| (minute + 1).to_string());
        Ok(Page { items, next })
    }

    async fn hints_of(&self, bucket: String) -> Result<Vec<Hint>, Error> {
        let mut hints = Vec::new();
        let mut start = None;
        loop {
            let query = self
                .0
                .db
                .query()
                .table_name(&self.0.settings.events_table)
                .index_name("by_minute")
                .key_condition_expression("#bucket = :bucket")
                .expression_attribute_names("#bucket", "bucket")
                .expression_attribute_values(":bucket", text(&bucket))
                .set_exclusive_start_key(start);
            let found = query.send().await.map_err(fault("reading events by the minute"))?;
            for item in found.items.unwrap_or_default() {
                let uid = item.parsed("uid")?;
                for webhook in webhooks(&item)? {
                    hints.push(Hint {
                        tenant: item.parsed("tenant")?,
                        event: item.parsed("event_id")?,
                        delivery: DeliveryId { event: uid, webhook },
                        attempt: 1,
                        fresh_at: None,
                        released: None,
                        slot: None,
                    });
                }
            }
            start = found.last_evaluated_key;
            if start.is_none() {
                return Ok(hints);
            }
        }
    }

    async fn unrecorded(&self, hints: Vec<Hint>) -> Result<Vec<Hint>, Error> {
        let table = &self.0.settings.deliveries_table;
        let mut recorded: HashSet<(String, String)> = HashSet::new();
        let keys = hints.iter().map(|hint| delivery_key(hint.delivery)).collect();
        let how = KeysAndAttributes::builder().projection_expression("pk, sk");
        for item in self.read_all(table, keys, how, "looking for records").await? {
            recorded.insert((item.text("pk")?.to_owned(), item.text("sk")?.to_owned()));
        }
        let missing = |hint: &Hint| {
            let id = hint.delivery;
            !recorded.contains(&(id.webhook.to_string(), id.event.simple().to_string()))
        };
        Ok(hints.into_iter().filter(missing).collect())
    }
}

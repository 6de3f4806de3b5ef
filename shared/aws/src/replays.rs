//! Replays: `replay#T` / id in the deliveries table, newest last; while one runs, it stands in a shard of its own in the
//! index of what is due.

use async_trait::async_trait;
use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Replay, ReplayId, TenantId},
    operation::{Page, PageRequest},
    ports::Replays,
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, expiry, key, number, text},
};

const SHARD: &str = "replay";
const PREFIX: &str = "replay#";

fn replay_key(tenant: &TenantId, id: ReplayId) -> Item {
    key(format!("{PREFIX}{tenant}"), id.0.simple().to_string())
}

fn item(replay: &Replay, due: Option<Timestamp>) -> Result<Item, Error> {
    let mut item = replay_key(&replay.tenant, replay.id);
    item.insert("body".into(), text(serde_json::to_string(replay).map_err(|_| odd("body"))?));
    item.insert("step".into(), number(replay.step));
    item.insert("expires_at".into(), expiry(replay.created_at));
    if let Some(due) = due {
        item.insert("due_shard".into(), text(SHARD));
        item.insert("due_at".into(), number(due.as_millisecond()));
    }
    Ok(item)
}

fn replay(item: &Item) -> Result<Replay, Error> {
    serde_json::from_str(item.text("body")?).map_err(|_| odd("body"))
}

#[async_trait]
impl Replays for Engine {
    async fn add_replay(&self, replay: &Replay, due: Timestamp) -> Result<(), Error> {
        let table = &self.0.settings.deliveries_table;
        let put = self.0.db.put_item().table_name(table).set_item(Some(item(replay, Some(due))?));
        put.send().await.map(drop).map_err(fault("adding a replay"))
    }

    async fn replay(&self, tenant: &TenantId, id: ReplayId) -> Result<Option<Replay>, Error> {
        let get = self.0.db.get_item().table_name(&self.0.settings.deliveries_table);
        let get = get.set_key(Some(replay_key(tenant, id))).consistent_read(true);
        let found = get.send().await.map_err(fault("reading a replay"))?.item;
        found.filter(|item| !item.is_expired()).as_ref().map(replay).transpose()
    }

    async fn replays(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Replay>, Error> {
        let wrong = |_| Error::invalid("cursor", "is not one that we gave");
        let after = page.after.as_deref().map(str::parse::<ReplayId>).transpose().map_err(wrong)?;
        let mut start = after.map(|id| replay_key(tenant, id));
        let mut items: Vec<Replay> = Vec::new();
        loop {
            let query = self
                .0
                .db
                .query()
                .table_name(&self.0.settings.deliveries_table)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(format!("{PREFIX}{tenant}")))
                .scan_index_forward(false)
                .consistent_read(true)
                .set_exclusive_start_key(start.take())
                .set_limit(i32::try_from(page.limit).ok().map(|limit| limit.saturating_add(1)));
            let found = query.send().await.map_err(fault("listing replays"))?;
            for item in found.items.unwrap_or_default().iter().filter(|item| !item.is_expired()) {
                if items.len() == page.limit {
                    let next = items.last().map(|replay| replay.id.to_string());
                    return Ok(Page { items, next });
                }
                items.push(replay(item)?);
            }
            start = found.last_evaluated_key;
            if start.is_none() {
                return Ok(Page { items, next: None });
            }
        }
    }

    async fn advance_replay(&self, new: &Replay, due: Option<Timestamp>) -> Result<bool, Error> {
        let put = self
            .0
            .db
            .put_item()
            .table_name(&self.0.settings.deliveries_table)
            .set_item(Some(item(new, due)?))
            .condition_expression("step = :before")
            .expression_attribute_values(":before", number(i64::from(new.step) - 1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(true) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(fault("moving a replay on")(error));
        };
        // The SDK tries again when an answer gets lost: then what is there is what we put ourselves.
        let there = failed.item().map(replay).transpose()?;
        Ok(there.is_some_and(|there| there == *new))
    }

    async fn due_replays(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, ReplayId)>, Error> {
        let mut taken = Vec::new();
        for item in self.due_of(SHARD, now, limit).await? {
            let tenant = item.text("pk")?.strip_prefix(PREFIX).and_then(|id| id.parse::<TenantId>().ok());
            let tenant = tenant.ok_or_else(|| odd("pk"))?;
            let id = ReplayId(item.parsed("sk")?);
            if self.put_off_due(&item, replay_key(&tenant, id), lease).await? {
                taken.push((tenant, id));
            }
        }
        Ok(taken)
    }
}

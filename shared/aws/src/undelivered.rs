//! What is not delivered yet: in a sparse index, in which a delivery stands only as long as it is pending, parked or waiting.
//!
//! It is sharded by event, so that no tenant's backlog is one partition's; a page merges what the shards have.

use aws_sdk_dynamodb::{operation::query::QueryOutput, types::AttributeValue};
use futures::future::try_join_all;
use postrider::{
    error::Error,
    model::{Delivery, DeliveryId, DeliverySummary, Failure},
    operation::{Page, PageRequest},
    undelivered::{Position, Undelivered, Whose},
};

use crate::{
    Engine,
    deliveries::{SHARDS, due_shard, state},
    fault::{fault, odd},
    item::{Item, Read, number, text},
};

/// What the index has beside its keys and the table's: all that the list shows, and when TTL may delete it.
pub(crate) const SHOWN: &[&str] = &[
    "attempt_count",
    "created_at",
    "event_id",
    "expires_at",
    "last_failure",
    "last_status",
    "next_attempt_at",
    "ordering_key",
    "state",
    "tenant",
    "topic",
];

/// What puts a delivery into the index, and what the index is told of its newest attempt. It stands by the same number as in
/// that of what is due.
pub(crate) fn attributes(delivery: &Delivery) -> Vec<(String, AttributeValue)> {
    let summary = DeliverySummary::of(delivery);
    let mut attributes = vec![
        ("open_shard".to_owned(), text(due_shard(delivery.id))),
        ("open_at".to_owned(), text(Position::of(&delivery.tenant, delivery.id).to_string())),
    ];
    attributes.extend(summary.last_status.map(|status| ("last_status".to_owned(), number(status))));
    attributes
        .extend(summary.last_failure.map(|failure| ("last_failure".to_owned(), text(failure.as_str()))));
    attributes
}

fn summary(item: &Item) -> Result<DeliverySummary, Error> {
    let status = |number: i64| u16::try_from(number).map_err(|_| odd("last_status"));
    let failure = || -> Result<Failure, Error> {
        serde_json::from_value(item.text("last_failure")?.into()).map_err(|_| odd("last_failure"))
    };
    Ok(DeliverySummary {
        id: DeliveryId { webhook: item.parsed("pk")?, event: item.parsed("sk")? },
        tenant: item.parsed("tenant")?,
        event: item.parsed("event_id")?,
        topic: item.parsed("topic")?,
        state: state(item)?,
        attempt_count: u32::try_from(item.number("attempt_count")?).map_err(|_| odd("attempt_count"))?,
        created_at: item.time("created_at")?,
        next_attempt_at: item.maybe_time("next_attempt_at")?,
        ordering_key: item.maybe_parsed("ordering_key")?,
        last_status: item.maybe_number("last_status")?.map(status).transpose()?,
        last_failure: item.has("last_failure").then(failure).transpose()?,
    })
}

/// Between which keys those beyond a position lie, both included. `#` ends each part of a key, and `$` is what comes next.
fn range(whose: &Whose, beyond: &Position) -> (String, String) {
    let end = match whose {
        Whose::All => "~".to_owned(),
        Whose::Tenant(tenant) => format!("{tenant}$"),
        Whose::Webhook(tenant, webhook) => format!("{tenant}#{webhook}$"),
    };
    (format!("{beyond}#"), end)
}

/// What came of a shard: those sought with their keys, and up to where it was looked, if not to its end.
struct Found {
    items: Vec<(String, DeliverySummary)>,
    stopped: Option<String>,
}

impl Engine {
    pub(crate) async fn list_undelivered(
        &self,
        sought: &Undelivered,
        page: &PageRequest,
    ) -> Result<Page<DeliverySummary>, Error> {
        let Some(beyond) = sought.whose.beyond(page)? else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let range = range(&sought.whose, &beyond);
        // Where few are sought, a page takes a look at many.
        let is_narrowed = sought.topic.is_some() || sought.accepted_before.is_some();
        let least = if is_narrowed { Undelivered::PASSED_OVER / usize::from(SHARDS) } else { 0 };
        let looked_at = page.limit.saturating_add(1).max(least);
        let look = async |shard: u8| {
            let found = self.query_undelivered(shard, &range, looked_at).await?;
            read(&found, sought)
        };
        let shards = try_join_all((0..SHARDS).map(look)).await?;
        // Beyond the smallest of these, a shard may have more that comes before what another has.
        let stopped = shards.iter().filter_map(|shard| shard.stopped.clone()).min();
        let mut found: Vec<_> = shards.into_iter().flat_map(|shard| shard.items).collect();
        found.retain(|(at, _)| stopped.as_ref().is_none_or(|stopped| at <= stopped));
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let is_full = found.len() > page.limit;
        found.truncate(page.limit);
        let next = if is_full { found.last().map(|(at, _)| at.clone()) } else { stopped };
        Ok(Page { items: found.into_iter().map(|(_, summary)| summary).collect(), next })
    }

    async fn query_undelivered(
        &self,
        shard: u8,
        (first, last): &(String, String),
        looked_at: usize,
    ) -> Result<QueryOutput, Error> {
        let query = self
            .0
            .db
            .query()
            .table_name(&self.0.settings.deliveries_table)
            .index_name("undelivered")
            .key_condition_expression("open_shard = :shard AND open_at BETWEEN :first AND :last")
            .expression_attribute_values(":shard", text(shard.to_string()))
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
            .set_limit(i32::try_from(looked_at).ok());
        query.send().await.map_err(fault("listing what is not delivered"))
    }
}

fn read(found: &QueryOutput, sought: &Undelivered) -> Result<Found, Error> {
    let mut items = Vec::new();
    for item in found.items().iter().filter(|item| !item.is_expired()) {
        let summary = summary(item)?;
        if sought.take(summary.topic.as_str(), summary.created_at) {
            items.push((item.text("open_at")?.to_owned(), summary));
        }
    }
    let stopped = found.last_evaluated_key().map(|key| Ok(key.text("open_at")?.to_owned())).transpose()?;
    Ok(Found { items, stopped })
}

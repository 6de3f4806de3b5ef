//! Who gets a topic: `topic#NAME#W` beside each webhook, with its filter, and `holder#DIALECT#NAME` where one webhook
//! alone may.

use std::{collections::HashSet, sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Delete, Put, PutRequest, TransactWriteItem, WriteRequest},
};
use futures::future::{try_join, try_join_all};
use postrider::{
    error::Error,
    filter::Filter,
    model::{TenantId, Topic, TopicPattern, Webhook, WebhookId},
    operation::PageRequest,
    ports::Subscribers,
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, key, text},
    tenants::partition,
};

/// Subscriptions that are written in the transaction of their webhook. A transaction takes 100 items; the few
/// that are beyond it follow before anybody is answered. With the longest filters it is some 400 KB, of the 4 MB that it
/// may have.
const IN_TRANSACTION: usize = 90;
/// How often a transaction is tried that conflicts with another.
const TRIES: u32 = 8;

/// Why a transaction was not done: which of its items' conditions were not met.
pub(crate) struct Unmet(pub(crate) HashSet<usize>);

pub(crate) fn holder_key(tenant: &TenantId, dialect: &str, topic: &str) -> Item {
    key(partition(tenant), format!("holder#{dialect}#{topic}"))
}

fn subscription_key(webhook: &Webhook, topic: &TopicPattern) -> Item {
    key(partition(&webhook.tenant), format!("topic#{}#{}", topic.as_str(), webhook.id))
}

/// What finds a webhook by a topic, with its filter, so that nothing else need be read to know who gets an event.
fn subscription(webhook: &Webhook, topic: &TopicPattern) -> Item {
    let mut item = subscription_key(webhook, topic);
    if let Some(filter) = &webhook.filter {
        item.insert("filter".into(), text(filter.written().to_string()));
    }
    if webhook.ordered.is_some() {
        item.insert("ordered".into(), AttributeValue::Bool(true));
    }
    item
}

/// Writes of subscriptions, as far as they fit a transaction, and the rest.
pub(crate) struct Split {
    pub(crate) within: Vec<TransactWriteItem>,
    pub(crate) after: Vec<WriteRequest>,
    pub(crate) gone_after: Vec<Item>,
}

impl Engine {
    /// What turns a webhook's subscriptions into those that it is to have. A new filter is written to each of them.
    pub(crate) fn subscriptions(&self, webhook: &Webhook, old: Option<&Webhook>) -> Result<Split, Error> {
        let table = &self.0.settings.webhooks_table;
        let new: HashSet<_> = webhook.topics.iter().collect();
        let same_filter = old.is_some_and(|old| old.filter == webhook.filter);
        let old: HashSet<_> = old.iter().flat_map(|old| &old.topics).collect();
        let written: Vec<_> = new.iter().filter(|topic| !(same_filter && old.contains(*topic))).collect();
        let mut split = Split { within: Vec::new(), after: Vec::new(), gone_after: Vec::new() };
        for topic in written {
            let item = subscription(webhook, topic);
            if split.within.len() < IN_TRANSACTION {
                let put = Put::builder().table_name(table).set_item(Some(item)).build();
                split.within.push(TransactWriteItem::builder().put(put.map_err(|_| odd("put"))?).build());
            } else {
                let put = PutRequest::builder().set_item(Some(item)).build().map_err(|_| odd("put"))?;
                split.after.push(WriteRequest::builder().put_request(put).build());
            }
        }
        for topic in old.difference(&new) {
            let key = subscription_key(webhook, topic);
            if split.within.len() < IN_TRANSACTION {
                split.within.push(self.delete(key)?);
            } else {
                split.gone_after.push(key);
            }
        }
        Ok(split)
    }

    pub(crate) fn delete(&self, key: Item) -> Result<TransactWriteItem, Error> {
        let delete = Delete::builder().table_name(&self.0.settings.webhooks_table).set_key(Some(key)).build();
        Ok(TransactWriteItem::builder().delete(delete.map_err(|_| odd("delete"))?).build())
    }

    /// Deletes an item of the webhooks table; false: there was none. In a transaction, for a second try of the SDK's is
    /// known there as the first, while a plain deletion would find nothing.
    pub(crate) async fn delete_once(&self, key: Item, doing: &'static str) -> Result<bool, Error> {
        let delete = Delete::builder()
            .table_name(&self.0.settings.webhooks_table)
            .set_key(Some(key))
            .condition_expression("attribute_exists(pk)");
        let delete = delete.build().map_err(|_| odd("delete"))?;
        let writes = vec![TransactWriteItem::builder().delete(delete).build()];
        Ok(self.transact(writes, doing).await?.is_ok())
    }

    /// Writes what did not fit the transaction.
    pub(crate) async fn rest(&self, split: (Vec<WriteRequest>, Vec<Item>)) -> Result<(), Error> {
        let table = &self.0.settings.webhooks_table;
        self.write_all(table, split.0).await?;
        self.delete_all(table, split.1).await
    }

    /// Writes all or nothing. A conflict with another transaction is tried again.
    pub(crate) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
        doing: &'static str,
    ) -> Result<Result<(), Unmet>, Error> {
        for tried in 0..TRIES {
            let write = self.0.db.transact_write_items().set_transact_items(Some(writes.clone()));
            let Err(error) = write.send().await else { return Ok(Ok(())) };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(fault(doing)(error));
            };
            let reasons = cancelled.cancellation_reasons();
            let unmet =
                |(at, code): (usize, Option<&str>)| (code == Some("ConditionalCheckFailed")).then_some(at);
            let unmet: HashSet<_> = reasons
                .iter()
                .map(aws_sdk_dynamodb::types::CancellationReason::code)
                .enumerate()
                .filter_map(unmet)
                .collect();
            if !unmet.is_empty() {
                return Ok(Err(Unmet(unmet)));
            }
            tokio::time::sleep(Duration::from_millis(10 << tried)).await;
        }
        Err(Error::Unavailable(format!("{doing}: too many conflicts")))
    }

    pub(crate) async fn subscribed(
        &self,
        tenant: &TenantId,
        topic: &Topic,
    ) -> Result<Option<Arc<Subscribers>>, Error> {
        let asked = (tenant.clone(), topic.clone());
        if let Some(known) = self.0.matching.get(&asked) {
            return Ok(known);
        }
        let generation = self.0.matching.generation();
        let of = async |pattern: String| {
            let prefix = format!("topic#{pattern}#");
            let table = &self.0.settings.webhooks_table;
            let subscriber = |item: Item| {
                let id = item.text("sk")?.rsplit('#').next().and_then(|id| id.parse().ok());
                let filter = match item.get("filter") {
                    None => None,
                    Some(_) => Some(self.0.filters.filter(item.text("filter")?)?),
                };
                Ok(Some((id.ok_or_else(|| odd("sk"))?, filter, item.has("ordered"))))
            };
            let found = self.page(table, partition(tenant), &prefix, &PageRequest::all(), subscriber).await?;
            Ok::<Vec<(WebhookId, Option<Filter>, bool)>, Error>(found.items)
        };
        // A query for each pattern that takes the topic, one more than it has words; with the tenant's record all at
        // once, so it takes as long as one. What is found serves every event of the topic for a second.
        let by_pattern = try_join_all(TopicPattern::of(topic).into_iter().map(of));
        let (meta, by_pattern) = Box::pin(try_join(self.meta(tenant), by_pattern)).await?;
        let found = meta.map(|_| {
            // A webhook that several of its patterns find gets the event once.
            let mut subscribers = by_pattern.concat();
            subscribers.sort_unstable_by_key(|(id, ..)| *id);
            subscribers.dedup_by_key(|(id, ..)| *id);
            Arc::new(subscribers.into_iter().collect())
        });
        self.0.matching.put(asked, generation, found.clone());
        Ok(found)
    }

    pub(crate) async fn held_by(
        &self,
        tenant: &TenantId,
        dialect: &str,
        topic: &Topic,
    ) -> Result<Option<WebhookId>, Error> {
        let found = self.get(holder_key(tenant, dialect, topic.as_str()), "reading a holder").await?;
        found.map(|item| item.parsed("webhook")).transpose()
    }

    pub(crate) fn hold(&self, webhook: &Webhook, topic: &TopicPattern) -> Result<TransactWriteItem, Error> {
        let mut item = holder_key(&webhook.tenant, &webhook.dialect, topic.as_str());
        item.insert("webhook".into(), text(webhook.id.to_string()));
        let put = Put::builder()
            .table_name(&self.0.settings.webhooks_table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)");
        Ok(TransactWriteItem::builder().put(put.build().map_err(|_| odd("put"))?).build())
    }
}

//! API keys: `key#K` / `key` finds one, `tenant#T` / `key#K` lists a tenant's.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, builders::DeleteBuilder},
};
use jiff::Timestamp;
use postrider::{
    bucket::{Bucket, Poured},
    error::Error,
    model::{Grant, KeyHash, KeyId, KeyRecord, RedirectUri, Scope, TenantId},
    operation::{Page, PageRequest},
    ports::Keys,
};
use serde::{Deserialize, Serialize};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, key, micros, number, text},
    mark::Mark,
};

/// Longer than any end of a page: `DynamoDB` takes sort keys of up to 1,024 bytes.
const LONGEST_CURSOR: usize = 512;

/// How often a call is poured anew when others of its key come at the same time.
const POURS: usize = 5;

/// A key's record as it lies in its items.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantId>,
    scopes: Vec<Scope>,
    hash: String,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_of: Option<KeyId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    redirect_uris: Vec<RedirectUri>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<Box<Grant>>,
    /// When TTL may delete it: only sessions, tokens and grants are so many that somebody must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

fn item(record: &KeyRecord, pk: String, sk: String) -> Result<Item, Error> {
    let kept = Kept {
        id: record.id.clone(),
        tenant: record.tenant.clone(),
        scopes: record.scopes.clone(),
        hash: record.hash.to_hex(),
        created_at: record.created_at,
        expires_at: record.expires_at,
        session_of: record.session_of.clone(),
        redirect_uris: record.redirect_uris.clone(),
        grant: record.grant.clone(),
        ttl: record.session_of.as_ref().and(record.expires_at).map(Timestamp::as_second),
    };
    let mut item: Item = serde_dynamo::to_item(kept).map_err(|_| odd("key"))?;
    item.extend(key(pk, sk));
    Ok(item)
}

fn record(item: Item) -> Result<KeyRecord, Error> {
    let kept: Kept = serde_dynamo::from_item(item).map_err(|_| odd("key"))?;
    Ok(KeyRecord {
        id: kept.id,
        tenant: kept.tenant,
        scopes: kept.scopes,
        hash: KeyHash::from_hex(&kept.hash).ok_or_else(|| odd("hash"))?,
        created_at: kept.created_at,
        expires_at: kept.expires_at,
        session_of: kept.session_of,
        redirect_uris: kept.redirect_uris,
        grant: kept.grant,
    })
}

fn main_key(id: &KeyId) -> (String, String) {
    (format!("key#{id}"), "key".to_owned())
}

fn list_key(tenant: &TenantId, id: &KeyId) -> (String, String) {
    (format!("tenant#{tenant}"), format!("key#{id}"))
}

#[async_trait]
impl Keys for Engine {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error> {
        if let Some(known) = self.0.keys.get(id) {
            return Ok(known);
        }
        let generation = self.0.keys.generation();
        let mut found = self.read_key(id, false).await?;
        if found.is_none() {
            // A token is used the moment it was given, and the cheap read may be behind.
            found = self.read_key(id, true).await?;
        }
        self.0.keys.put(id.clone(), generation, found.clone());
        Ok(found)
    }

    async fn key_now(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error> {
        self.read_key(id, true).await
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<(), Error> {
        let (pk, sk) = main_key(&record.id);
        let mut writes = vec![self.put_key(item(record, pk, sk)?)?];
        // A session is in no list: it goes with its key.
        if let Some(tenant) = record.tenant.as_ref().filter(|_| record.session_of.is_none()) {
            let (pk, sk) = list_key(tenant, &record.id);
            writes.push(self.put_key(item(record, pk, sk)?)?);
        }
        let added = self.transact(writes, "adding a key").await;
        self.0.keys.void();
        added?.map_err(|_| odd("condition"))
    }

    async fn swap_key(&self, old: &KeyRecord, new: &KeyRecord) -> Result<bool, Error> {
        let (pk, sk) = main_key(&old.id);
        // What has an opener is in no list, so this is its only item.
        let put = self.0.db.put_item().table_name(&self.0.settings.keys_table);
        let mark = Mark::new();
        let mut item = item(new, pk, sk)?;
        item.insert("mark".into(), mark.value());
        let put = put
            .set_item(Some(item))
            .condition_expression("#hash = :old")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_names("#hash", "hash")
            .expression_attribute_values(":old", text(old.hash.to_hex()));
        let done = put.send().await;
        self.0.keys.void();
        match done {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(failed.item().is_some_and(|kept| mark.is_on(kept)))
                }
                _ => Err(fault("swapping a key")(error)),
            },
        }
    }

    async fn pour(&self, name: &str, bucket: Bucket, now: Timestamp) -> Result<Poured, Error> {
        let (pk, sk) = (format!("bucket#{name}"), "bucket");
        let table = &self.0.settings.keys_table;
        let mut poured = bucket.pour(None, now);
        for _ in 0..POURS {
            let get =
                self.0.db.get_item().table_name(table).set_key(Some(key(&pk, sk))).consistent_read(true);
            let kept = get.send().await.map_err(fault("reading a bucket"))?.item;
            let before = kept.map(|item| item.time("empty_at")).transpose()?;
            poured = bucket.pour(before, now);
            let Poured::In { empty_at, .. } = poured else { return Ok(poured) };
            let mark = Mark::new();
            let mut item = key(&pk, sk);
            item.insert("mark".into(), mark.value());
            item.insert("empty_at".into(), micros(empty_at));
            item.insert("ttl".into(), number(empty_at.as_second() + 60));
            let put = self.0.db.put_item().table_name(table).set_item(Some(item));
            let put =
                put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let put = match before {
                None => put.condition_expression("attribute_not_exists(pk)"),
                Some(before) => put
                    .condition_expression("empty_at = :before")
                    .expression_attribute_values(":before", micros(before)),
            };
            match put.send().await {
                Ok(_) => return Ok(poured),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                        if failed.item().is_some_and(|kept| mark.is_on(kept)) {
                            return Ok(poured);
                        }
                    }
                    _ => return Err(fault("keeping a bucket")(error)),
                },
            }
        }
        // Too many at once to count each: this one passes.
        Ok(poured)
    }

    async fn keys(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<KeyRecord>, Error> {
        let table = &self.0.settings.keys_table;
        let found = self.page(table, format!("tenant#{tenant}"), "key#", page, |item| record(item).map(Some));
        found.await
    }

    async fn remove_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, Error> {
        let delete =
            |(pk, sk)| Delete::builder().table_name(&self.0.settings.keys_table).set_key(Some(key(pk, sk)));
        // A session has an item in no list: deleting what is not there does nothing.
        let own = delete(main_key(id))
            .condition_expression("#tenant = :tenant")
            .expression_attribute_names("#tenant", "tenant")
            .expression_attribute_values(":tenant", text(tenant.as_str()));
        let built = |delete: DeleteBuilder| {
            delete
                .build()
                .map(|delete| TransactWriteItem::builder().delete(delete).build())
                .map_err(|_| odd("delete"))
        };
        let writes = vec![built(own)?, built(delete(list_key(tenant, id)))?];
        let removed = self.transact(writes, "removing a key").await;
        self.0.keys.void();
        Ok(removed?.is_ok())
    }
}

impl Engine {
    async fn read_key(&self, id: &KeyId, consistent: bool) -> Result<Option<KeyRecord>, Error> {
        let (pk, sk) = main_key(id);
        let get = self.0.db.get_item().table_name(&self.0.settings.keys_table);
        let get = get.set_key(Some(key(pk, sk))).consistent_read(consistent);
        get.send().await.map_err(fault("reading a key"))?.item.map(record).transpose()
    }

    fn put_key(&self, item: Item) -> Result<TransactWriteItem, Error> {
        let put = Put::builder().table_name(&self.0.settings.keys_table).set_item(Some(item)).build();
        put.map(|put| TransactWriteItem::builder().put(put).build()).map_err(|_| odd("put"))
    }

    /// One page of the items below a partition key whose sort keys begin alike. `read` may pass an item over.
    pub(crate) async fn page<T>(
        &self,
        table: &str,
        pk: String,
        prefix: &str,
        page: &PageRequest,
        read: impl Fn(Item) -> Result<Option<T>, Error>,
    ) -> Result<Page<T>, Error> {
        // A key that DynamoDB cannot have would be refused as a fault of ours.
        if page.after.as_ref().is_some_and(|after| after.is_empty() || after.len() > LONGEST_CURSOR) {
            return Err(Error::invalid("cursor", "is not one that we gave"));
        }
        let mut start = page.after.as_ref().map(|after| key(pk.clone(), format!("{prefix}{after}")));
        let mut items = Vec::new();
        let mut last: Option<String> = None;
        loop {
            let mut query =
                self.0.db.query().table_name(table).expression_attribute_values(":pk", text(pk.clone()));
            // A key condition takes no empty text.
            query = if prefix.is_empty() {
                query.key_condition_expression("pk = :pk")
            } else {
                query
                    .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                    .expression_attribute_values(":prefix", text(prefix))
            };
            let query = query
                .consistent_read(true)
                .set_exclusive_start_key(start.take())
                .set_limit(i32::try_from(page.limit).ok().map(|limit| limit.saturating_add(1)));
            let found = query.send().await.map_err(fault("listing"))?;
            for item in found.items.unwrap_or_default() {
                let sk = crate::item::Read::text(&item, "sk")?.trim_start_matches(prefix).to_owned();
                if let Some(value) = read(item)? {
                    if items.len() == page.limit {
                        return Ok(Page { items, next: last });
                    }
                    items.push(value);
                    last = Some(sk);
                }
            }
            start = found.last_evaluated_key;
            if start.is_none() {
                return Ok(Page { items, next: None });
            }
        }
    }
}

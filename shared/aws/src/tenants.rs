//! Tenants: `tenant#T` / `meta`, with what they count; `tenants` / T lists them all.

use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, DeleteRequest, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    WriteRequest,
};
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Credentials, Tenant, TenantId},
    operation::{Page, PageRequest},
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, key, number, text},
};

const LIST: &str = "tenants";
const SYSTEM: &str = "system";
const SWEPT_UNTIL: &str = "swept_until";
/// Items of one `BatchWriteItem` at most.
const BATCH: usize = 25;

/// The partition key of all that is a tenant's.
pub(crate) fn partition(tenant: &TenantId) -> String {
    format!("tenant#{tenant}")
}

fn item(tenant: &Tenant, pk: String, sk: &str) -> Item {
    let mut item = key(pk, sk);
    item.insert("id".into(), text(tenant.id.as_str()));
    item.insert("name".into(), text(&tenant.name));
    item.insert("created_at".into(), crate::item::micros(tenant.created_at));
    item
}

fn tenant(item: &Item) -> Result<Tenant, Error> {
    Ok(Tenant {
        id: item.parsed("id")?,
        name: item.text("name")?.to_owned(),
        created_at: item.time("created_at")?,
    })
}

impl Engine {
    pub(crate) async fn insert_tenant(&self, tenant: &Tenant) -> Result<bool, Error> {
        let table = &self.0.settings.webhooks_table;
        let mut meta = item(tenant, partition(&tenant.id), "meta");
        meta.insert("last_number".into(), number(0));
        meta.insert("webhook_count".into(), number(0));
        let put = |item: Item, condition: Option<&str>| {
            let put = Put::builder()
                .table_name(table)
                .set_item(Some(item))
                .set_condition_expression(condition.map(str::to_owned));
            put.build().map(|put| TransactWriteItem::builder().put(put).build()).map_err(|_| odd("put"))
        };
        let writes = vec![
            put(meta, Some("attribute_not_exists(pk)"))?,
            put(item(tenant, LIST.to_owned(), tenant.id.as_str()), None)?,
        ];
        let done = self.transact(writes, "adding a tenant").await?;
        self.0.matching.void();
        Ok(done.is_ok())
    }

    pub(crate) async fn find_tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error> {
        self.meta(id).await?.as_ref().map(tenant).transpose()
    }

    /// A tenant's own item.
    pub(crate) async fn meta(&self, id: &TenantId) -> Result<Option<Item>, Error> {
        self.get(key(partition(id), "meta"), "reading a tenant").await
    }

    /// One item of the webhooks table.
    pub(crate) async fn get(&self, key: Item, doing: &'static str) -> Result<Option<Item>, Error> {
        let table = &self.0.settings.webhooks_table;
        let get = self.0.db.get_item().table_name(table).set_key(Some(key)).consistent_read(true);
        Ok(get.send().await.map_err(fault(doing))?.item)
    }

    pub(crate) async fn list_tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, Error> {
        let table = &self.0.settings.webhooks_table;
        self.page(table, LIST.to_owned(), "", page, |item| tenant(&item).map(Some)).await
    }

    pub(crate) async fn delete_tenant(&self, id: &TenantId) -> Result<bool, Error> {
        let table = &self.0.settings.webhooks_table;
        let delete = |key: Item, condition: Option<&str>| {
            let delete = Delete::builder()
                .table_name(table)
                .set_key(Some(key))
                .set_condition_expression(condition.map(str::to_owned));
            delete
                .build()
                .map(|delete| TransactWriteItem::builder().delete(delete).build())
                .map_err(|_| odd("delete"))
        };
        // First what makes it a tenant: from then on nothing matches, and nothing can be added.
        let writes = vec![
            delete(key(partition(id), "meta"), Some("attribute_exists(pk)"))?,
            delete(key(LIST, id.as_str()), None)?,
        ];
        let existed = self.transact(writes, "deleting a tenant").await?.is_ok();
        self.0.matching.void();
        // The rest goes even if a deletion before this one broke off after its first step.
        self.clear(table, partition(id)).await?;
        let keys = &self.0.settings.keys_table;
        let all = PageRequest::all();
        let own = self
            .page(keys, partition(id), "key#", &all, |item| item.text("sk").map(|sk| Some(sk.to_owned())));
        let own = own.await?.items.into_iter().map(|sk| key(sk, "key")).collect();
        self.delete_all(keys, own).await?;
        self.clear(keys, partition(id)).await?;
        self.0.keys.void();
        self.0.targets.void();
        self.0.matching.void();
        Ok(existed)
    }

    /// Deletes everything below a partition key.
    async fn clear(&self, table: &str, pk: String) -> Result<(), Error> {
        let all = PageRequest::all();
        let found = self
            .page(table, pk.clone(), "", &all, |item| item.text("sk").map(|sk| Some(key(pk.clone(), sk))));
        self.delete_all(table, found.await?.items).await
    }

    /// Deletes items, in batches.
    pub(crate) async fn delete_all(&self, table: &str, keys: Vec<Item>) -> Result<(), Error> {
        let requests = keys.into_iter().map(|key| {
            let delete = DeleteRequest::builder().set_key(Some(key)).build().map_err(|_| odd("delete"))?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        });
        self.write_all(table, requests.collect::<Result<_, Error>>()?).await
    }

    /// Writes without conditions, in batches; what `DynamoDB` leaves over is written again.
    pub(crate) async fn write_all(&self, table: &str, requests: Vec<WriteRequest>) -> Result<(), Error> {
        for batch in requests.chunks(BATCH) {
            let mut left = batch.to_vec();
            for _ in 0..10 {
                let write = self.0.db.batch_write_item().request_items(table, left);
                let done = write.send().await.map_err(fault("writing a batch"))?;
                left = done.unprocessed_items.unwrap_or_default().remove(table).unwrap_or_default();
                if left.is_empty() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            if !left.is_empty() {
                return Err(Error::Unavailable("writing a batch: throttled".into()));
            }
        }
        Ok(())
    }

    pub(crate) async fn keep_credentials(
        &self,
        tenant: &TenantId,
        granted: &Credentials,
    ) -> Result<bool, Error> {
        let table = &self.0.settings.webhooks_table;
        let sealing = self.0.sealer.key().await?;
        let mut item = key(partition(tenant), "credentials");
        item.insert("sealed".into(), text(sealing.seal_credentials(tenant.as_str(), granted)?));
        let put = Put::builder().table_name(table).set_item(Some(item)).build().map_err(|_| odd("put"))?;
        let exists = self.tenant_exists(tenant)?;
        let writes = vec![exists, TransactWriteItem::builder().put(put).build()];
        let done = self.transact(writes, "keeping credentials").await?;
        self.0.targets.void();
        Ok(done.is_ok())
    }

    fn tenant_exists(&self, tenant: &TenantId) -> Result<TransactWriteItem, Error> {
        let check = ConditionCheck::builder()
            .table_name(&self.0.settings.webhooks_table)
            .set_key(Some(key(partition(tenant), "meta")))
            .condition_expression("attribute_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::None);
        let check = check.build().map_err(|_| odd("check"))?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    pub(crate) async fn read_swept_until(&self) -> Result<Option<Timestamp>, Error> {
        let found = self.get(key(SYSTEM, SWEPT_UNTIL), "reading the sweep's mark").await?;
        found.map(|item| item.time("until")).transpose()
    }

    pub(crate) async fn write_swept_until(&self, until: Timestamp) -> Result<(), Error> {
        let mut item = key(SYSTEM, SWEPT_UNTIL);
        item.insert("until".into(), crate::item::micros(until));
        let put = self.0.db.put_item().table_name(&self.0.settings.webhooks_table).set_item(Some(item));
        put.send().await.map_err(fault("writing the sweep's mark")).map(drop)
    }
}

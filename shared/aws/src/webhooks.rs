//! Webhooks: `tenant#T` / `webhook#W`, and `tenant#T` / `number#N` to find them by.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{KeysAndAttributes, Put, TransactWriteItem, Update};
use postrider::{
    error::Error,
    model::{Credentials, Health, State, Tenant, TenantId, Topic, Webhook, WebhookId},
    operation::{Page, PageRequest},
    ports::{Added, Subscribers, Target, Webhooks},
};

use crate::{
    Engine,
    fault::odd,
    healths::{health, health_key},
    item::{Item, Read, key, number, text},
    subscriptions::{Unmet, holder_key},
    tenants::partition,
};

/// How often adding a webhook is tried anew when others of its tenant are added at the same time.
const TRIES: usize = 20;

fn webhook_key(tenant: &TenantId, id: WebhookId) -> Item {
    key(partition(tenant), format!("webhook#{id}"))
}

fn number_key(tenant: &TenantId, number: u64) -> Item {
    key(partition(tenant), format!("number#{number}"))
}

fn body(webhook: &Webhook) -> Result<String, Error> {
    serde_json::to_string(webhook).map_err(|_| odd("webhook"))
}

/// A webhook of which what may be secret is still sealed.
fn sealed(item: &Item) -> Result<Webhook, Error> {
    serde_json::from_str(item.text("body")?).map_err(|_| odd("webhook"))
}

impl Engine {
    async fn unseal(&self, item: &Item) -> Result<Webhook, Error> {
        let mut webhook = sealed(item)?;
        self.0.sealer.key().await?.open_webhook(&mut webhook, item.text("secrets")?)?;
        Ok(webhook)
    }

    async fn seal(&self, webhook: &Webhook) -> Result<String, Error> {
        self.0.sealer.key().await?.seal_webhook(webhook)
    }

    /// One try; none: the tenant changed meanwhile.
    async fn try_add(
        &self,
        webhook: &mut Webhook,
        secrets: &str,
        exclusive: bool,
        quota: usize,
    ) -> Result<Option<Added>, Error> {
        let table = &self.0.settings.webhooks_table;
        let Some(meta) = self.meta(&webhook.tenant).await? else { return Ok(Some(Added::NoTenant)) };
        let count = meta.number("webhook_count")?;
        if usize::try_from(count).map_err(|_| odd("webhook_count"))? >= quota {
            return Ok(Some(Added::OverQuota));
        }
        let last = meta.number("last_number")?;
        webhook.number = u64::try_from(last + 1).map_err(|_| odd("last_number"))?;

        let counted = Update::builder()
            .table_name(table)
            .set_key(Some(key(partition(&webhook.tenant), "meta")))
            .update_expression("SET last_number = :next, webhook_count = :count")
            .condition_expression("last_number = :last AND webhook_count = :before")
            .expression_attribute_values(":next", number(last + 1))
            .expression_attribute_values(":last", number(last))
            .expression_attribute_values(":count", number(count + 1))
            .expression_attribute_values(":before", number(count));
        let mut item = webhook_key(&webhook.tenant, webhook.id);
        item.insert("dialect".into(), text(&webhook.dialect));
        item.insert("updated_at".into(), text(webhook.updated_at.to_string()));
        item.insert("exclusive".into(), aws_sdk_dynamodb::types::AttributeValue::Bool(exclusive));
        item.insert("body".into(), text(body(webhook)?));
        item.insert("secrets".into(), text(secrets));
        let mut by_number = number_key(&webhook.tenant, webhook.number);
        by_number.insert("webhook".into(), text(webhook.id.to_string()));
        let mut writes =
            vec![TransactWriteItem::builder().update(counted.build().map_err(|_| odd("update"))?).build()];
        for item in [item, by_number] {
            let put = Put::builder().table_name(table).set_item(Some(item)).build();
            writes.push(TransactWriteItem::builder().put(put.map_err(|_| odd("put"))?).build());
        }
        let split = self.subscriptions(webhook, None)?;
        writes.extend(split.within);
        let holders = writes.len();
        if exclusive {
            for topic in &webhook.topics {
                writes.push(self.hold(webhook, topic)?);
            }
        }
        match self.transact(writes, "adding a webhook").await? {
            Ok(()) => {
                self.rest((split.after, split.gone_after)).await?;
                Ok(Some(Added::Webhook(Box::new(webhook.clone()))))
            }
            Err(Unmet(at)) if at.iter().any(|at| *at >= holders) => Ok(Some(Added::TopicTaken)),
            Err(_) => Ok(None),
        }
    }

    fn void_webhooks(&self) {
        self.0.matching.void();
        self.0.targets.void();
    }
}

#[async_trait]
impl Webhooks for Engine {
    async fn add_tenant(&self, tenant: &Tenant) -> Result<bool, Error> {
        self.insert_tenant(tenant).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error> {
        self.find_tenant(id).await
    }

    async fn tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, Error> {
        self.list_tenants(page).await
    }

    async fn remove_tenant(&self, id: &TenantId) -> Result<bool, Error> {
        self.delete_tenant(id).await
    }

    async fn add_webhook(&self, webhook: &Webhook, exclusive: bool, quota: usize) -> Result<Added, Error> {
        let secrets = self.seal(webhook).await?;
        let mut webhook = webhook.clone();
        for _ in 0..TRIES {
            let added = self.try_add(&mut webhook, &secrets, exclusive, quota).await;
            self.void_webhooks();
            if let Some(added) = added? {
                return Ok(added);
            }
        }
        Err(Error::Unavailable("adding a webhook: too many at once".into()))
    }

    async fn webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Webhook>, Error> {
        match self.get(webhook_key(tenant, id), "reading a webhook").await? {
            Some(item) => self.unseal(&item).await.map(Some),
            None => Ok(None),
        }
    }

    async fn state(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<State>, Error> {
        let found = self.get(webhook_key(tenant, id), "reading a webhook").await?;
        Ok(found.as_ref().map(sealed).transpose()?.map(|webhook| webhook.state))
    }

    async fn numbered(&self, tenant: &TenantId, number: u64) -> Result<Option<Webhook>, Error> {
        let Some(item) = self.get(number_key(tenant, number), "finding a webhook by its number").await?
        else {
            return Ok(None);
        };
        let id = item.text("webhook")?.parse().map_err(|_| odd("webhook"))?;
        self.webhook(tenant, id).await
    }

    async fn holder(
        &self,
        tenant: &TenantId,
        dialect: &str,
        topic: &Topic,
    ) -> Result<Option<Webhook>, Error> {
        match self.held_by(tenant, dialect, topic).await? {
            Some(id) => self.webhook(tenant, id).await,
            None => Ok(None),
        }
    }

    async fn webhooks(
        &self,
        tenant: &TenantId,
        dialect: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Webhook>, Error> {
        let wanted = |item: Item| match dialect {
            Some(dialect) if item.text("dialect")? != dialect => Ok(None),
            _ => Ok(Some(item)),
        };
        let table = &self.0.settings.webhooks_table;
        let found = self.page(table, partition(tenant), "webhook#", page, wanted).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for item in &found.items {
            items.push(self.unseal(item).await?);
        }
        Ok(Page { items, next: found.next })
    }

    async fn replace_webhook(&self, old: &Webhook, new: &Webhook) -> Result<bool, Error> {
        let update = Update::builder()
            .table_name(&self.0.settings.webhooks_table)
            .set_key(Some(webhook_key(&old.tenant, old.id)))
            .update_expression("SET body = :body, secrets = :secrets, updated_at = :new")
            .condition_expression("updated_at = :old")
            .expression_attribute_values(":body", text(body(new)?))
            .expression_attribute_values(":secrets", text(self.seal(new).await?))
            .expression_attribute_values(":new", text(new.updated_at.to_string()))
            .expression_attribute_values(":old", text(old.updated_at.to_string()));
        let update = update.build().map_err(|_| odd("update"))?;
        let mut writes = vec![TransactWriteItem::builder().update(update).build()];
        let split = self.subscriptions(new, Some(old))?;
        writes.extend(split.within);
        let done = self.transact(writes, "changing a webhook").await;
        self.void_webhooks();
        let done = done?.is_ok();
        if done {
            self.rest((split.after, split.gone_after)).await?;
        }
        Ok(done)
    }

    async fn remove_webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<bool, Error> {
        let Some(item) = self.get(webhook_key(tenant, id), "reading a webhook").await? else {
            return Ok(false);
        };
        let webhook = sealed(&item)?;
        let table = &self.0.settings.webhooks_table;
        let delete = aws_sdk_dynamodb::types::Delete::builder()
            .table_name(table)
            .set_key(Some(webhook_key(tenant, id)))
            .condition_expression("attribute_exists(pk)");
        let counted = Update::builder()
            .table_name(table)
            .set_key(Some(key(partition(tenant), "meta")))
            .update_expression("ADD webhook_count :less")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":less", number(-1));
        let mut writes = vec![
            TransactWriteItem::builder().delete(delete.build().map_err(|_| odd("delete"))?).build(),
            TransactWriteItem::builder().update(counted.build().map_err(|_| odd("update"))?).build(),
        ];
        writes.push(self.delete(number_key(tenant, webhook.number))?);
        writes.push(self.delete(health_key(tenant, id))?);
        let holds = item.get("exclusive").and_then(|value| value.as_bool().ok()).is_some_and(|held| *held);
        for topic in webhook.topics.iter().filter(|_| holds) {
            writes.push(self.delete(holder_key(tenant, &webhook.dialect, topic.as_str()))?);
        }
        let without = Webhook { topics: Vec::new(), ..webhook.clone() };
        let split = self.subscriptions(&without, Some(&webhook))?;
        writes.extend(split.within);
        let done = self.transact(writes, "deleting a webhook").await;
        self.void_webhooks();
        let done = done?.is_ok();
        self.rest((split.after, split.gone_after)).await?;
        Ok(done)
    }

    async fn matching(&self, tenant: &TenantId, topic: &Topic) -> Result<Option<Arc<Subscribers>>, Error> {
        self.subscribed(tenant, topic).await
    }

    async fn dialects(&self, tenant: &TenantId, ids: &[WebhookId]) -> Result<BTreeSet<String>, Error> {
        let table = &self.0.settings.webhooks_table;
        let mut dialects = BTreeSet::new();
        let keys = ids.iter().map(|id| webhook_key(tenant, *id)).collect();
        let how = KeysAndAttributes::builder().projection_expression("dialect");
        for item in self.read_all(table, keys, how, "reading dialects").await? {
            dialects.insert(item.text("dialect")?.to_owned());
        }
        Ok(dialects)
    }

    async fn target(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Arc<Target>>, Error> {
        let asked = (tenant.clone(), id);
        if let Some(known) = self.0.targets.get(&asked) {
            return Ok(known);
        }
        let (generation, healths) = (self.0.targets.generation(), self.0.healths.generation());
        let table = &self.0.settings.webhooks_table;
        // Its health is read along, for it is asked next.
        let keys =
            vec![webhook_key(tenant, id), key(partition(tenant), "credentials"), health_key(tenant, id)];
        let found = self.read_all(table, keys, KeysAndAttributes::builder(), "reading a target").await?;
        let (mut webhook, mut credentials, mut known) = (None, None, Health::default());
        for item in &found {
            match item.text("sk")? {
                "credentials" => {
                    let key = self.0.sealer.key().await?;
                    credentials = Some(key.open_credentials(tenant.as_str(), item.text("sealed")?)?);
                }
                // There is less in it than in a new one, once its receiver is back.
                name if name.starts_with("health#") => known = health(item)?,
                _ => webhook = Some(self.unseal(item).await?),
            }
        }
        let found = webhook.map(|webhook| Arc::new(Target { webhook, credentials }));
        self.0.healths.put(asked.clone(), healths, known);
        self.0.targets.put(asked, generation, found.clone());
        Ok(found)
    }

    async fn grant(&self, tenant: &TenantId, credentials: &Credentials) -> Result<bool, Error> {
        self.keep_credentials(tenant, credentials).await
    }
}

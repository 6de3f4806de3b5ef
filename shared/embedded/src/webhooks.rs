//! Webhooks: what they are, what they subscribe to, and what a delivery needs of them.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use postrider::{
    error::Error,
    model::{Credentials, State, Tenant, TenantId, Topic, TopicPattern, Webhook, WebhookId},
    operation::{Page, PageRequest},
    ports::{Added, Subscribers, Target, Webhooks},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Engine, rows};

/// A webhook as it lies in its row, what may be secret of it still sealed.
struct Kept {
    webhook: Webhook,
    secrets: String,
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept { webhook: rows::json(row, 0)?, secrets: row.get(1)? })
}

fn find(db: &Connection, tenant: &TenantId, id: WebhookId) -> rusqlite::Result<Option<Kept>> {
    db.prepare_cached("SELECT body, secrets FROM webhooks WHERE tenant = ? AND id = ?")?
        .query_row(params![tenant.as_str(), id.0.as_bytes()], kept)
        .optional()
}

/// Writes the webhook's row and those that find it by topic.
fn put(db: &Connection, webhook: &Webhook, body: &str, secrets: &str) -> rusqlite::Result<()> {
    let (tenant, id) = (webhook.tenant.as_str(), webhook.id.0.as_bytes());
    let sql = "INSERT OR REPLACE INTO webhooks (tenant, id, dialect, body, secrets) VALUES (?, ?, ?, ?, ?)";
    db.execute(sql, params![tenant, id, webhook.dialect, body, secrets])?;
    db.execute("DELETE FROM subscriptions WHERE tenant = ? AND webhook = ?", params![tenant, id])?;
    for topic in &webhook.topics {
        let sql = "INSERT OR IGNORE INTO subscriptions (tenant, topic, webhook) VALUES (?, ?, ?)";
        db.prepare_cached(sql)?.execute(params![tenant, topic.as_str(), id])?;
    }
    Ok(())
}

fn add(
    db: &Connection,
    webhook: &mut Webhook,
    secrets: &str,
    exclusive: bool,
    quota: usize,
) -> rusqlite::Result<Option<Added>> {
    let tenant = webhook.tenant.as_str();
    let number = "SELECT last_number + 1 FROM tenants WHERE id = ?";
    let Some(number) = db.query_row(number, [tenant], |row| row.get::<_, u64>(0)).optional()? else {
        return Ok(Some(Added::NoTenant));
    };
    let count: usize =
        db.query_row("SELECT count(*) FROM webhooks WHERE tenant = ?", [tenant], |row| row.get(0))?;
    if count >= quota {
        return Ok(Some(Added::OverQuota));
    }
    if exclusive {
        for topic in &webhook.topics {
            let sql = "SELECT 1 FROM holders WHERE tenant = ? AND dialect = ? AND topic = ?";
            if db.prepare(sql)?.exists([tenant, &webhook.dialect, topic.as_str()])? {
                return Ok(Some(Added::TopicTaken));
            }
        }
        for topic in &webhook.topics {
            let sql = "INSERT INTO holders (tenant, dialect, topic, webhook) VALUES (?, ?, ?, ?)";
            db.execute(sql, params![tenant, webhook.dialect, topic.as_str(), webhook.id.0.as_bytes()])?;
        }
    }
    db.execute("UPDATE tenants SET last_number = ? WHERE id = ?", params![number, tenant])?;
    webhook.number = number;
    let body = serde_json::to_string(webhook).map_err(|error| rows::odd(0, error))?;
    put(db, webhook, &body, secrets)?;
    Ok(None)
}

impl Engine {
    /// What makes every answer void that rests on webhooks.
    pub(crate) fn void_webhooks(&self) -> impl FnOnce() + Send + use<> {
        let (matching, targets) = (self.0.matching.voider(), self.0.targets.voider());
        move || {
            matching();
            targets();
        }
    }

    fn unseal(&self, kept: Kept) -> Result<Webhook, Error> {
        let Kept { mut webhook, secrets } = kept;
        self.0.sealing.open_webhook(&mut webhook, &secrets)?;
        Ok(webhook)
    }

    fn seal(&self, webhook: &Webhook) -> Result<String, Error> {
        self.0.sealing.seal_webhook(webhook)
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
        let secrets = self.seal(webhook)?;
        let mut webhook = webhook.clone();
        let void = self.void_webhooks();
        let write = self.0.writer.write(
            move |db| {
                let refused = add(db, &mut webhook, &secrets, exclusive, quota)?;
                Ok(refused.unwrap_or_else(|| Added::Webhook(Box::new(webhook))))
            },
            |done| {
                void();
                done
            },
        );
        write.await
    }

    async fn webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Webhook>, Error> {
        let tenant = tenant.clone();
        let found = self.read(move |db| find(db, &tenant, id)).await?;
        found.map(|kept| self.unseal(kept)).transpose()
    }

    async fn state(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<State>, Error> {
        let tenant = tenant.clone();
        let found = self.read(move |db| find(db, &tenant, id)).await?;
        Ok(found.map(|kept| kept.webhook.state))
    }

    async fn numbered(&self, tenant: &TenantId, number: u64) -> Result<Option<Webhook>, Error> {
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        let tenant = tenant.clone();
        let query = self.read(move |db| {
            let sql = "SELECT body, secrets FROM webhooks WHERE tenant = ? AND body ->> 'number' = ?";
            db.prepare_cached(sql)?.query_row(params![tenant.as_str(), number], kept).optional()
        });
        query.await?.map(|kept| self.unseal(kept)).transpose()
    }

    async fn holder(
        &self,
        tenant: &TenantId,
        dialect: &str,
        topic: &Topic,
    ) -> Result<Option<Webhook>, Error> {
        let (tenant, dialect, topic) = (tenant.clone(), dialect.to_owned(), topic.clone());
        let query = self.read(move |db| {
            let sql = "SELECT webhook FROM holders WHERE tenant = ? AND dialect = ? AND topic = ?";
            let id = db.query_row(sql, [tenant.as_str(), &dialect, topic.as_str()], |row| rows::uuid(row, 0));
            match id.optional()? {
                Some(id) => find(db, &tenant, WebhookId(id)),
                None => Ok(None),
            }
        });
        query.await?.map(|kept| self.unseal(kept)).transpose()
    }

    async fn webhooks(
        &self,
        tenant: &TenantId,
        dialect: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Webhook>, Error> {
        let (tenant, dialect) = (tenant.clone(), dialect.map(str::to_owned));
        let limit = page.limit;
        let after = match page.after.as_deref().map(str::parse::<WebhookId>) {
            None => [0; 16],
            Some(Ok(id)) => id.0.into_bytes(),
            Some(Err(_)) => return Err(Error::invalid("cursor", "is not one that we gave")),
        };
        let query = self.read(move |db| {
            let sql = "SELECT body, secrets FROM webhooks WHERE tenant = ?1 AND id > ?2
                       AND (?3 IS NULL OR dialect = ?3) ORDER BY id LIMIT ?4";
            db.prepare_cached(sql)?
                .query_map(params![tenant.as_str(), after, dialect, rows::beyond(limit)], kept)?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        let opened = query.await?.into_iter().map(|kept| self.unseal(kept)).collect::<Result<Vec<_>, _>>()?;
        Ok(rows::page(opened, limit, |webhook| webhook.id.to_string()))
    }

    async fn replace_webhook(&self, old: &Webhook, new: &Webhook) -> Result<bool, Error> {
        let (secrets, body) = (self.seal(new)?, rows::to_json(new)?);
        let (old, new) = (old.clone(), new.clone());
        let void = self.void_webhooks();
        let write = self.0.writer.write(
            move |db| {
                let current = find(db, &old.tenant, old.id)?;
                let same = current.is_some_and(|current| current.webhook.updated_at == old.updated_at);
                if same {
                    put(db, &new, &body, &secrets)?;
                }
                Ok(same)
            },
            |done| {
                void();
                done
            },
        );
        write.await
    }

    async fn remove_webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<bool, Error> {
        let tenant = tenant.clone();
        let void = self.void_webhooks();
        let write = self.0.writer.write(
            move |db| {
                let (tenant, id) = (tenant.as_str(), id.0.as_bytes());
                let mine = "SELECT id FROM webhooks WHERE tenant = ? AND id = ?";
                for table in ["tallies", "counters", "sequences", "lines", "looks", "healths"] {
                    let sql = format!("DELETE FROM {table} WHERE webhook IN ({mine})");
                    db.execute(&sql, params![tenant, id])?;
                }
                for table in ["subscriptions", "holders"] {
                    let sql = format!("DELETE FROM {table} WHERE tenant = ? AND webhook = ?");
                    db.execute(&sql, params![tenant, id])?;
                }
                db.execute("DELETE FROM webhooks WHERE tenant = ? AND id = ?", params![tenant, id])
            },
            |done| {
                void();
                done
            },
        );
        Ok(write.await? > 0)
    }

    async fn matching(&self, tenant: &TenantId, topic: &Topic) -> Result<Option<Arc<Subscribers>>, Error> {
        let asked = (tenant.clone(), topic.clone());
        if let Some(known) = self.0.matching.get(&asked) {
            return Ok(known);
        }
        let generation = self.0.matching.generation();
        let (tenant, topic) = asked.clone();
        let query = self.read(move |db| {
            if !db.prepare_cached("SELECT 1 FROM tenants WHERE id = ?")?.exists([tenant.as_str()])? {
                return Ok(None);
            }
            let patterns = rows::to_json(&TopicPattern::of(&topic)).map_err(|error| rows::odd(0, error))?;
            let sql = "SELECT DISTINCT webhook, body -> '$.filter', body ->> '$.ordered' IS NOT NULL FROM subscriptions
                       JOIN webhooks ON webhooks.tenant = subscriptions.tenant AND webhooks.id = webhook
                       WHERE subscriptions.tenant = ? AND topic IN (SELECT value FROM json_each(?))";
            db.prepare_cached(sql)?
                .query_map([tenant.as_str(), &patterns], |row| {
                    let id = rows::uuid(row, 0).map(WebhookId)?;
                    Ok((id, row.get::<_, Option<String>>(1)?, row.get::<_, bool>(2)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
                .map(Some)
        });
        let compiled = |(id, filter, ordered): (WebhookId, Option<String>, bool)| {
            Ok((id, filter.map(|text| self.0.filters.filter(&text)).transpose()?, ordered))
        };
        let found = query.await?.map(|found| found.into_iter().map(compiled).collect::<Result<_, Error>>());
        let found = found.transpose()?.map(Arc::new);
        self.0.matching.put(asked, generation, found.clone());
        Ok(found)
    }

    async fn dialects(&self, tenant: &TenantId, ids: &[WebhookId]) -> Result<BTreeSet<String>, Error> {
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        let query = self.read(move |db| {
            let mut find = db.prepare_cached("SELECT dialect FROM webhooks WHERE tenant = ? AND id = ?")?;
            let of = |id: &WebhookId| {
                find.query_row(params![tenant.as_str(), id.0.as_bytes()], |row| row.get(0)).optional()
            };
            ids.iter().map(of).filter_map(Result::transpose).collect()
        });
        query.await
    }

    async fn target(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Arc<Target>>, Error> {
        let asked = (tenant.clone(), id);
        if let Some(known) = self.0.targets.get(&asked) {
            return Ok(known);
        }
        let generation = self.0.targets.generation();
        let tenant = tenant.clone();
        let query = self.read(move |db| {
            let sql = "SELECT credentials FROM tenants WHERE id = ?";
            let credentials = db.query_row(sql, [tenant.as_str()], |row| row.get::<_, Option<String>>(0));
            Ok((find(db, &tenant, id)?, credentials.optional()?.flatten()))
        });
        let (kept, sealed) = query.await?;
        let open = |sealed: String| self.0.sealing.open_credentials(asked.0.as_str(), &sealed);
        let credentials = sealed.map(open).transpose()?;
        let webhook = kept.map(|kept| self.unseal(kept)).transpose()?;
        let found = webhook.map(|webhook| Arc::new(Target { webhook, credentials }));
        self.0.targets.put(asked, generation, found.clone());
        Ok(found)
    }

    async fn grant(&self, tenant: &TenantId, credentials: &Credentials) -> Result<bool, Error> {
        self.keep_credentials(tenant, credentials).await
    }
}

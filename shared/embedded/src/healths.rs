//! How receivers do: in a table, and in memory, for it is asked before every attempt. Few receivers fail.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Health, TenantId, WebhookId},
    ports::Healths,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Engine, rows};

/// The receivers of which anything is known.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<HashMap<WebhookId, Health>>>);

impl Known {
    pub(crate) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let known = db
            .prepare(&format!("SELECT {COLUMNS}, webhook FROM healths"))?
            .query_map([], |row| Ok((WebhookId(rows::uuid(row, 4)?), health(row)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self(Arc::new(Mutex::new(known))))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<WebhookId, Health>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows what was written, in its order: it runs on the writing thread.
    pub(crate) fn set(&self, webhook: WebhookId, health: Option<Health>) {
        match health {
            Some(health) => self.all().insert(webhook, health),
            None => self.all().remove(&webhook),
        };
    }
}

const COLUMNS: &str = "failures, since, probe_at, slow_until";

fn health(row: &Row<'_>) -> rusqlite::Result<Health> {
    Ok(Health {
        failures: row.get(0)?,
        since: rows::maybe_time(row, 1)?,
        probe_at: rows::maybe_time(row, 2)?,
        slow_until: rows::maybe_time(row, 3)?,
    })
}

#[async_trait]
impl Healths for Engine {
    async fn health(&self, _: &TenantId, webhook: WebhookId) -> Result<Health, Error> {
        Ok(self.0.healths.all().get(&webhook).copied().unwrap_or_default())
    }

    async fn strain(&self, _: &TenantId, webhook: WebhookId, at: Timestamp) -> Result<Health, Error> {
        let known = self.0.healths.clone();
        let write = self.0.writer.write(
            move |db| {
                let sql = format!(
                    "INSERT INTO healths (webhook, failures, since) VALUES (?, 1, ?)
                     ON CONFLICT (webhook) DO UPDATE SET
                         failures = failures + 1, since = coalesce(since, excluded.since)
                     RETURNING {COLUMNS}"
                );
                db.prepare_cached(&sql)?.query_row(params![webhook.0.as_bytes(), at.as_microsecond()], health)
            },
            move |health| {
                known.set(webhook, Some(health));
                health
            },
        );
        write.await
    }

    async fn put_off(
        &self,
        _: &TenantId,
        webhook: WebhookId,
        from: Option<Timestamp>,
        to: Timestamp,
    ) -> Result<bool, Error> {
        let known = self.0.healths.clone();
        let write = self.0.writer.write(
            move |db| {
                let sql = format!(
                    "UPDATE healths SET probe_at = ? WHERE webhook = ? AND failures > 0 AND probe_at IS ?
                     RETURNING {COLUMNS}"
                );
                let from = from.map(Timestamp::as_microsecond);
                let wanted = params![to.as_microsecond(), webhook.0.as_bytes(), from];
                db.prepare_cached(&sql)?.query_row(wanted, health).optional()
            },
            move |health| {
                if health.is_some() {
                    known.set(webhook, health);
                }
                health.is_some()
            },
        );
        write.await
    }

    async fn relieve(&self, _: &TenantId, webhook: WebhookId) -> Result<bool, Error> {
        let known = self.0.healths.clone();
        let write = self.0.writer.write(
            move |db| {
                let id = webhook.0.as_bytes();
                db.execute("DELETE FROM healths WHERE webhook = ? AND slow_until IS NULL", [id])?;
                let sql = format!(
                    "UPDATE healths SET failures = 0, since = NULL, probe_at = NULL WHERE webhook = ?
                     RETURNING {COLUMNS}"
                );
                db.prepare_cached(&sql)?.query_row([id], health).optional()
            },
            move |left| {
                let had_failed = known.all().get(&webhook).is_some_and(Health::has_failed);
                known.set(webhook, left);
                had_failed
            },
        );
        write.await
    }

    async fn slow_down(&self, _: &TenantId, webhook: WebhookId, until: Timestamp) -> Result<(), Error> {
        let known = self.0.healths.clone();
        let write = self.0.writer.write(
            move |db| {
                let sql = format!(
                    "INSERT INTO healths (webhook, slow_until) VALUES (?, ?)
                     ON CONFLICT (webhook) DO UPDATE SET slow_until = excluded.slow_until RETURNING {COLUMNS}"
                );
                let wanted = params![webhook.0.as_bytes(), until.as_microsecond()];
                db.prepare_cached(&sql)?.query_row(wanted, health)
            },
            move |health| known.set(webhook, Some(health)),
        );
        write.await
    }
}

//! Tenants, and what they grant us.

use std::convert::identity;

use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Credentials, Tenant, TenantId},
    operation::{Page, PageRequest},
};
use rusqlite::{OptionalExtension, Row, params};

use crate::{Engine, rows};

fn tenant(row: &Row<'_>) -> rusqlite::Result<Tenant> {
    Ok(Tenant { id: rows::parsed(row, 0)?, name: row.get(1)?, created_at: rows::time(row, 2)? })
}

impl Engine {
    pub(crate) async fn insert_tenant(&self, tenant: &Tenant) -> Result<bool, Error> {
        let tenant = tenant.clone();
        let void = self.0.matching.voider();
        let write = self.0.writer.write(
            move |db| {
                db.prepare_cached("INSERT OR IGNORE INTO tenants (id, name, created_at) VALUES (?, ?, ?)")?
                    .execute(params![tenant.id.as_str(), tenant.name, tenant.created_at.as_microsecond()])
            },
            |done| {
                void();
                done
            },
        );
        Ok(write.await? > 0)
    }

    pub(crate) async fn find_tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error> {
        let id = id.clone();
        let query = self.read(move |db| {
            db.prepare_cached("SELECT id, name, created_at FROM tenants WHERE id = ?")?
                .query_row([id.as_str()], tenant)
                .optional()
        });
        query.await
    }

    pub(crate) async fn list_tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, Error> {
        let page = page.clone();
        let limit = page.limit;
        let query = self.read(move |db| {
            db.prepare_cached("SELECT id, name, created_at FROM tenants WHERE id > ? ORDER BY id LIMIT ?")?
                .query_map(params![page.after.unwrap_or_default(), rows::beyond(limit)], tenant)?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(rows::page(query.await?, limit, |tenant| tenant.id.to_string()))
    }

    pub(crate) async fn delete_tenant(&self, id: &TenantId) -> Result<bool, Error> {
        let id = id.clone();
        let void = self.void_webhooks();
        let void_keys = self.0.keys.voider();
        let write = self.0.writer.write(
            move |db| {
                let own = "SELECT id FROM webhooks WHERE tenant = ?";
                for table in ["tallies", "counters", "sequences", "looks", "healths"] {
                    db.execute(&format!("DELETE FROM {table} WHERE webhook IN ({own})"), [id.as_str()])?;
                }
                for table in ["webhooks", "subscriptions", "holders", "keys"] {
                    db.execute(&format!("DELETE FROM {table} WHERE tenant = ?"), [id.as_str()])?;
                }
                db.execute("DELETE FROM tenants WHERE id = ?", [id.as_str()])
            },
            |done| {
                void();
                void_keys();
                done
            },
        );
        Ok(write.await? > 0)
    }

    pub(crate) async fn keep_credentials(
        &self,
        tenant: &TenantId,
        granted: &Credentials,
    ) -> Result<bool, Error> {
        let sealed = self.0.sealing.seal_credentials(tenant.as_str(), granted)?;
        let tenant = tenant.clone();
        let void = self.0.targets.voider();
        let write = self.0.writer.write(
            move |db| {
                db.execute(
                    "UPDATE tenants SET credentials = ? WHERE id = ?",
                    params![sealed, tenant.as_str()],
                )
            },
            |done| {
                void();
                done
            },
        );
        Ok(write.await? > 0)
    }

    /// The time that a name of ours is set to.
    pub(crate) async fn setting(&self, name: &'static str) -> Result<Option<Timestamp>, Error> {
        let query = self.read(move |db| {
            let sql = "SELECT value FROM settings WHERE name = ?";
            db.query_row(sql, [name], |row| rows::time(row, 0)).optional()
        });
        query.await
    }

    pub(crate) async fn set(&self, name: &'static str, time: Timestamp) -> Result<(), Error> {
        let write = self.0.writer.write(
            move |db| {
                let sql = "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)";
                db.execute(sql, params![name, time.as_microsecond()])
            },
            identity,
        );
        write.await.map(drop)
    }
}

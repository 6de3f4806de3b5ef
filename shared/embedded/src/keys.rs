//! API keys.

use std::sync::PoisonError;

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    bucket::{Bucket, Poured},
    error::Error,
    model::{KeyHash, KeyId, KeyRecord, TenantId},
    operation::{Page, PageRequest},
    ports::Keys,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Engine, rows};

/// Buckets from which on those that are empty are forgotten.
const MAX_BUCKETS: usize = 10_000;

const COLUMNS: &str = "id, tenant, scopes, hash, created_at, expires_at, session_of, redirect_uris, allows";

fn key(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let tenant: Option<String> = row.get(1)?;
    let hash: String = row.get(3)?;
    Ok(KeyRecord {
        id: rows::parsed(row, 0)?,
        tenant: tenant.map(|text| text.parse().map_err(|error| rows::odd(1, error))).transpose()?,
        scopes: rows::json(row, 2)?,
        hash: KeyHash::from_hex(&hash).ok_or(rusqlite::Error::InvalidQuery)?,
        created_at: rows::time(row, 4)?,
        expires_at: rows::maybe_time(row, 5)?,
        session_of: row
            .get::<_, Option<String>>(6)?
            .map(|text| text.parse().map_err(|error| rows::odd(6, error)))
            .transpose()?,
        redirect_uris: rows::json(row, 7)?,
        grant: rows::json(row, 8)?,
    })
}

/// A record's columns that are JSON.
struct Written {
    scopes: String,
    redirect_uris: String,
    grant: String,
}

impl Written {
    fn of(key: &KeyRecord) -> Result<Self, Error> {
        Ok(Self {
            scopes: rows::to_json(&key.scopes)?,
            redirect_uris: rows::to_json(&key.redirect_uris)?,
            grant: rows::to_json(&key.grant)?,
        })
    }
}

fn put(db: &Connection, key: &KeyRecord, written: &Written) -> rusqlite::Result<usize> {
    let sql = format!("INSERT OR REPLACE INTO keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    db.prepare_cached(&sql)?.execute(params![
        key.id.as_str(),
        key.tenant.as_ref().map(TenantId::as_str),
        written.scopes,
        key.hash.to_hex(),
        key.created_at.as_microsecond(),
        key.expires_at.map(Timestamp::as_microsecond),
        key.session_of.as_ref().map(KeyId::as_str),
        written.redirect_uris,
        written.grant,
    ])
}

#[async_trait]
impl Keys for Engine {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error> {
        if let Some(known) = self.0.keys.get(id) {
            return Ok(known);
        }
        let generation = self.0.keys.generation();
        let found = self.key_now(id).await?;
        self.0.keys.put(id.clone(), generation, found.clone());
        Ok(found)
    }

    async fn key_now(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error> {
        let wanted = id.clone();
        let found = self.read(move |db| {
            let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM keys WHERE id = ?"))?;
            query.query_row([wanted.as_str()], key).optional()
        });
        found.await
    }

    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error> {
        let key = key.clone();
        let written = Written::of(&key)?;
        let void = self.0.keys.voider();
        let write = self.0.writer.write(
            move |db| put(db, &key, &written),
            |done| {
                void();
                done
            },
        );
        write.await.map(drop)
    }

    async fn swap_key(&self, old: &KeyRecord, new: &KeyRecord) -> Result<bool, Error> {
        let (id, hash, new) = (old.id.clone(), old.hash, new.clone());
        let written = Written::of(&new)?;
        let void = self.0.keys.voider();
        let write = self.0.writer.write(
            // Nothing else is written between the two: there is one writing thread.
            move |db| {
                let sql = "SELECT EXISTS (SELECT 1 FROM keys WHERE id = ? AND hash = ?)";
                let is_there: bool =
                    db.prepare_cached(sql)?.query_row([id.as_str(), &hash.to_hex()], |row| row.get(0))?;
                if is_there {
                    put(db, &new, &written)?;
                }
                Ok(is_there)
            },
            |done| {
                void();
                done
            },
        );
        write.await
    }

    async fn pour(&self, name: &str, bucket: Bucket, now: Timestamp) -> Result<Poured, Error> {
        // In memory: what a bucket holds is gone in seconds anyway.
        let mut buckets = self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, empty_at| *empty_at > now);
        }
        let poured = bucket.pour(buckets.get(name).copied(), now);
        if let Poured::In { empty_at, .. } = poured {
            buckets.insert(name.to_owned(), empty_at);
        }
        Ok(poured)
    }

    async fn keys(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<KeyRecord>, Error> {
        let (tenant, page) = (tenant.clone(), page.clone());
        let limit = page.limit;
        let found = self.read(move |db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM keys WHERE tenant = ? AND id > ? AND session_of IS NULL
                 ORDER BY id LIMIT ?"
            );
            let after = page.after.unwrap_or_default();
            db.prepare_cached(&sql)?
                .query_map(params![tenant.as_str(), after, rows::beyond(limit)], key)?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(rows::page(found.await?, limit, |key| key.id.to_string()))
    }

    async fn remove_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, Error> {
        let (tenant, id) = (tenant.clone(), id.clone());
        let void = self.0.keys.voider();
        let write = self.0.writer.write(
            move |db| {
                db.prepare_cached("DELETE FROM keys WHERE tenant = ? AND id = ?")?
                    .execute([tenant.as_str(), id.as_str()])
            },
            |done| {
                void();
                done
            },
        );
        Ok(write.await? > 0)
    }
}

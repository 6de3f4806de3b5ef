//! Letting go of what is older than it must be kept, in steps that hold nobody up.

use std::convert::identity;

use jiff::Timestamp;
use postrider::error::Error;
use rusqlite::params;
use uuid::Uuid;

use crate::Engine;

/// Rows of one step.
const STEP: i64 = 500;

impl Engine {
    /// Deletes events accepted before `before`, deliveries of such events, and sessions that ended before it. Returns how many rows went.
    pub async fn purge(&self, before: Timestamp) -> Result<usize, Error> {
        let mut gone = 0;
        let time = before.as_microsecond();
        let events = "DELETE FROM events WHERE seq IN
                      (SELECT seq FROM events WHERE accepted_at < ? ORDER BY accepted_at LIMIT ?)";
        loop {
            let step = move |db: &rusqlite::Connection| db.prepare_cached(events)?.execute([time, STEP]);
            match self.0.writer.write(step, identity).await? {
                0 => break,
                rows => gone += rows,
            }
        }
        let sessions = "DELETE FROM keys WHERE session_of IS NOT NULL AND expires_at < ?";
        gone += self.0.writer.write(move |db| db.execute(sessions, [time]), identity).await?;
        let replays = "DELETE FROM replays WHERE created_at < ?";
        gone += self.0.writer.write(move |db| db.execute(replays, [time]), identity).await?;
        // An event's number begins with its milliseconds, so a webhook's old deliveries lie at its beginning.
        let millis = u64::try_from(before.as_millisecond()).unwrap_or_default();
        let oldest = uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid();
        for table in ["sequences", "lines"] {
            let places = format!("DELETE FROM {table} WHERE event < ?");
            gone += self.0.writer.write(move |db| db.execute(&places, [oldest.as_bytes()]), identity).await?;
        }
        for webhook in self.webhooks_with_deliveries().await? {
            gone += self.purge_webhook(webhook, oldest).await?;
        }
        Ok(gone)
    }

    async fn purge_webhook(&self, webhook: Uuid, oldest: Uuid) -> Result<usize, Error> {
        let mut gone = 0;
        let sql = "DELETE FROM deliveries WHERE webhook = ?1 AND event IN
                   (SELECT event FROM deliveries WHERE webhook = ?1 AND event < ?2 LIMIT ?3)";
        loop {
            let step = move |db: &rusqlite::Connection| {
                db.prepare_cached(sql)?.execute(params![webhook.as_bytes(), oldest.as_bytes(), STEP])
            };
            match self.0.writer.write(step, identity).await? {
                0 => return Ok(gone),
                rows => gone += rows,
            }
        }
    }

    /// One look-up a webhook, not one a row.
    async fn webhooks_with_deliveries(&self) -> Result<Vec<Uuid>, Error> {
        let query = self.read(|db| {
            let mut next =
                db.prepare("SELECT webhook FROM deliveries WHERE webhook > ? ORDER BY webhook LIMIT 1")?;
            let mut found: Vec<Uuid> = Vec::new();
            loop {
                let last = found.last().copied().unwrap_or(Uuid::nil());
                let mut rows = next.query([last.as_bytes()])?;
                match rows.next()? {
                    Some(row) => found.push(crate::rows::uuid(row, 0)?),
                    None => return Ok(found),
                }
            }
        });
        query.await
    }
}

//! How much goes to webhooks whose owners bound it: in memory, for a file has one process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Rate, TenantId, WebhookId},
    ports::Limiting,
};

use crate::Engine;

/// So many are kept before those that no longer tell anything are dropped.
const MANY: usize = 10_000;

/// When the next slots of webhooks are free.
#[derive(Default)]
pub(crate) struct Slots(Mutex<HashMap<WebhookId, Timestamp>>);

impl Slots {
    fn reserve(&self, webhook: WebhookId, rate: Rate, now: Timestamp) -> Option<Timestamp> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() >= MANY {
            free.retain(|_, free_at| *free_at > rate.first(now));
        }
        let slot = rate.reserve(free.get(&webhook).copied(), now)?;
        free.insert(webhook, slot + rate.interval());
        Some(slot)
    }
}

#[async_trait]
impl Limiting for Engine {
    async fn reserve(
        &self,
        _: &TenantId,
        webhook: WebhookId,
        rate: Rate,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        Ok(self.0.slots.reserve(webhook, rate, now))
    }
}

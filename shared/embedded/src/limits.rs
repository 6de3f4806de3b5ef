//! How much goes to webhooks whose owners bound it: in memory, for a file has one process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{InFlight, Rate, TenantId, WebhookId},
    ports::{Limiting, Place},
};
use uuid::Uuid;

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

/// Who is under way to webhooks of which it is counted, and until when at the latest.
#[derive(Default)]
pub(crate) struct Places(Mutex<HashMap<WebhookId, Vec<(Uuid, Timestamp)>>>);

impl Places {
    fn enter(&self, place: &Place, most: InFlight, now: Timestamp) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = places.entry(place.delivery.webhook).or_default();
        if taken.len() >= most.into() {
            taken.retain(|(_, until)| *until > now);
        }
        let is_free = taken.len() < most.into();
        if is_free {
            taken.push((place.delivery.event, place.until));
        }
        is_free
    }

    fn leave(&self, place: &Place) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(taken) = places.get_mut(&place.delivery.webhook) else { return };
        taken.retain(|taken| *taken != (place.delivery.event, place.until));
        if taken.is_empty() {
            places.remove(&place.delivery.webhook);
        }
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

    async fn enter(&self, place: &Place, most: InFlight, now: Timestamp) -> Result<bool, Error> {
        Ok(self.0.places.enter(place, most, now))
    }

    async fn leave(&self, place: &Place) -> Result<(), Error> {
        self.0.places.leave(place);
        Ok(())
    }
}

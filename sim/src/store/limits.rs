//! How much goes to webhooks whose owners bound it.

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{InFlight, Rate, TenantId, WebhookId},
    ports::{Limiting, Place},
};

use super::SimStore;
use crate::{trace::About, world::Core};

#[async_trait]
impl Limiting for SimStore {
    async fn reserve(
        &self,
        _: &TenantId,
        webhook: WebhookId,
        rate: Rate,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let reserve = |core: &mut Core| {
            let slot = rate.reserve(core.tables.free_slots.get(&webhook).copied(), now);
            match slot {
                Some(slot) => {
                    core.tables.free_slots.insert(webhook, slot + rate.interval());
                    core.ledger.slots.entry(webhook).or_default().push(slot.as_microsecond());
                }
                // What waits already is too much.
                None => core.held_back(webhook, core.now),
            }
            core.say(format!("slot {slot:?}"));
            Ok(slot)
        };
        self.call("reserve", About::Webhook(webhook), reserve).await
    }

    async fn enter(&self, place: &Place, most: InFlight, now: Timestamp) -> Result<bool, Error> {
        let enter = |core: &mut Core| {
            let taken = core.tables.places.entry(place.delivery.webhook).or_default();
            taken.retain(|_, until| *until > now);
            let is_free = taken.len() < most.into();
            if is_free {
                taken.insert(place.delivery.event, place.until);
            } else {
                core.held_back(place.delivery.webhook, core.now);
            }
            core.say(format!("free {is_free}"));
            Ok(is_free)
        };
        self.call("enter", place.delivery.into(), enter).await
    }

    async fn leave(&self, place: &Place) -> Result<(), Error> {
        let leave = |core: &mut Core| {
            let taken = core.tables.places.entry(place.delivery.webhook).or_default();
            taken.remove(&place.delivery.event);
            Ok(())
        };
        self.call("leave", place.delivery.into(), leave).await
    }
}

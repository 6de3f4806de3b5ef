//! How much goes to webhooks whose owners bound it.

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Rate, TenantId, WebhookId},
    ports::Limiting,
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
}

//! How receivers do.

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Health, TenantId, WebhookId},
    ports::Healths,
};

use super::SimStore;
use crate::{trace::About, world::Core};

#[async_trait]
impl Healths for SimStore {
    async fn health(&self, _: &TenantId, webhook: WebhookId) -> Result<Health, Error> {
        let read = |core: &mut Core| Ok(core.tables.healths.get(&webhook).copied().unwrap_or_default());
        self.call("health", About::Webhook(webhook), read).await
    }

    async fn strain(&self, _: &TenantId, webhook: WebhookId, at: Timestamp) -> Result<Health, Error> {
        let strain = |core: &mut Core| {
            let health = core.tables.healths.entry(webhook).or_default();
            health.failures += 1;
            health.since.get_or_insert(at);
            let health = *health;
            if health.is_failing() {
                core.held_back(webhook, core.now);
            }
            core.say(format!("{} failures", health.failures));
            Ok(health)
        };
        self.call("strain", About::Webhook(webhook), strain).await
    }

    async fn put_off(
        &self,
        _: &TenantId,
        webhook: WebhookId,
        from: Option<Timestamp>,
        to: Timestamp,
    ) -> Result<bool, Error> {
        let put_off = |core: &mut Core| {
            let kept = core.tables.healths.get_mut(&webhook);
            let kept = kept.filter(|health| health.has_failed() && health.probe_at == from);
            let is_first = kept.map(|health| health.probe_at = Some(to)).is_some();
            if is_first {
                core.held_back(webhook, to.as_microsecond());
            }
            Ok(is_first)
        };
        self.call("put_off", About::Webhook(webhook), put_off).await
    }

    async fn relieve(&self, _: &TenantId, webhook: WebhookId) -> Result<bool, Error> {
        let relieve = |core: &mut Core| {
            let kept = core.tables.healths.entry(webhook).or_default();
            let gone = *kept;
            *kept = Health { slow_until: gone.slow_until, ..Health::default() };
            if gone.holds_back() {
                core.held_back(webhook, core.now);
            }
            Ok(gone.has_failed())
        };
        self.call("relieve", About::Webhook(webhook), relieve).await
    }

    async fn slow_down(&self, _: &TenantId, webhook: WebhookId, until: Timestamp) -> Result<(), Error> {
        let note = |core: &mut Core| {
            core.tables.healths.entry(webhook).or_default().slow_until = Some(until);
            Ok(())
        };
        self.call("slow_down", About::Webhook(webhook), note).await
    }
}

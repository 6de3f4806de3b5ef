//! How receivers do, and how much goes to them.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::Error,
    model::{DeliveryId, Health, InFlight, Rate, TenantId, WebhookId},
};

/// How receivers do. Nothing is kept of one that does well, and has for a while.
#[async_trait]
pub trait Healths: Send + Sync {
    /// A receiver's health. An engine may answer from a cache of a few seconds.
    async fn health(&self, tenant: &TenantId, webhook: WebhookId) -> Result<Health, Error>;
    /// Counts a failure, and tells the health after it. Of failures at the same time, one whose answer got lost may be
    /// counted twice.
    async fn strain(&self, tenant: &TenantId, webhook: WebhookId, at: Timestamp) -> Result<Health, Error>;
    /// Puts off the next try of a failing receiver; false: somebody else did since `from` was read.
    async fn put_off(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        from: Option<Timestamp>,
        to: Timestamp,
    ) -> Result<bool, Error>;
    /// Forgets its failures, for it took something, but not that it is slow; false: there were none.
    async fn relieve(&self, tenant: &TenantId, webhook: WebhookId) -> Result<bool, Error>;
    /// Notes until when a receiver counts as slow, which is no failure.
    async fn slow_down(&self, tenant: &TenantId, webhook: WebhookId, until: Timestamp) -> Result<(), Error>;
}

/// How much goes to webhooks whose owners bound it. Nothing of it need outlive a process that is the only one.
#[async_trait]
pub trait Limiting: Send + Sync {
    /// Reserves the next free slot of a webhook, as [`Rate::reserve`] has it: no two get the same; none: it is too far away,
    /// and none is taken.
    async fn reserve(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        rate: Rate,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error>;
    /// Takes a place among the deliveries under way to a webhook; false: at `now`, `most` are taken.
    async fn enter(&self, place: &Place, most: InFlight, now: Timestamp) -> Result<bool, Error>;
    /// Leaves it to another.
    async fn leave(&self, place: &Place) -> Result<(), Error>;
}

/// A place among the deliveries under way to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose webhook it is.
    pub tenant: TenantId,
    /// What takes it.
    pub delivery: DeliveryId,
    /// When it is free again, whoever forgot to leave it.
    pub until: Timestamp,
}

//! Jobs that take many deliveries up again.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::Error,
    model::{Replay, ReplayId, TenantId},
    operation::{Page, PageRequest},
};

/// Replays, kept for 30 days.
#[async_trait]
pub trait Replays: Send + Sync {
    /// Adds a replay, whose step is to be looked after at `due` should the message about it get lost.
    async fn add_replay(&self, replay: &Replay, due: Timestamp) -> Result<(), Error>;
    /// Finds a replay of the tenant.
    async fn replay(&self, tenant: &TenantId, id: ReplayId) -> Result<Option<Replay>, Error>;
    /// A tenant's replays, newest first.
    async fn replays(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Replay>, Error>;
    /// Puts a replay in its place after one step more; false: somebody else made that step, or there is no such replay.
    async fn advance_replay(&self, new: &Replay, due: Option<Timestamp>) -> Result<bool, Error>;
    /// Up to `limit` replays whose step is due; none of them is again before `lease`.
    async fn due_replays(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, ReplayId)>, Error>;
}

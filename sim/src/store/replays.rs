//! Replays, and what lies in a window of time.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Delivery, DeliveryId, Event, Replay, ReplayId, TenantId, WebhookId, Window},
    operation::{Page, PageRequest},
    ports::Replays,
};

use super::{SimStore, odd_cursor, page};
use crate::{trace::About, world::Core};

#[async_trait]
impl Replays for SimStore {
    async fn add_replay(&self, replay: &Replay, due: Timestamp) -> Result<(), Error> {
        let add = |core: &mut Core| {
            let name = (replay.tenant.clone(), replay.id);
            core.tables.replays.insert(name, (replay.clone(), Some(due)));
            core.say(format!("{:?}", replay.question));
            Ok(())
        };
        self.call("add_replay", About::World, add).await
    }

    async fn replay(&self, tenant: &TenantId, id: ReplayId) -> Result<Option<Replay>, Error> {
        let name = (tenant.clone(), id);
        let find = |core: &mut Core| Ok(core.tables.replays.get(&name).map(|(replay, _)| replay.clone()));
        self.call("replay", About::World, find).await
    }

    async fn replays(&self, tenant: &TenantId, request: &PageRequest) -> Result<Page<Replay>, Error> {
        let list = |core: &mut Core| {
            let before = request.after.as_deref().map(str::parse::<ReplayId>).transpose();
            let before = before.map_err(|_| odd_cursor())?;
            let newest_first = core.tables.replays.values().rev().map(|(replay, _)| replay);
            let own = newest_first
                .filter(|replay| replay.tenant == *tenant && before.is_none_or(|before| replay.id < before));
            Ok(page(own.cloned(), request, |replay| replay.id.to_string()))
        };
        self.call("replays", About::World, list).await
    }

    async fn advance_replay(&self, new: &Replay, due: Option<Timestamp>) -> Result<bool, Error> {
        let advance = |core: &mut Core| {
            let kept = core.tables.replays.get_mut(&(new.tenant.clone(), new.id));
            let Some(kept) = kept.filter(|(kept, _)| kept.step + 1 == new.step) else { return Ok(false) };
            *kept = (new.clone(), due);
            core.say(format!("{} {:?} step {}, {} queued", new.id, new.stage, new.step, new.queued));
            Ok(true)
        };
        self.call("advance_replay", About::World, advance).await
    }

    async fn due_replays(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, ReplayId)>, Error> {
        let take = |core: &mut Core| {
            let due = core.tables.replays.iter_mut();
            let due = due.filter(|(_, (_, due))| due.is_some_and(|due| due <= now)).take(limit);
            Ok(due
                .map(|(name, (_, due))| {
                    *due = Some(lease);
                    name.clone()
                })
                .collect())
        };
        self.call("due_replays", About::World, take).await
    }
}

impl SimStore {
    pub(super) async fn deliveries_in(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        window: &Window,
        request: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let list = |core: &mut Core| {
            let after = request.after.as_deref().map(str::parse::<DeliveryId>).transpose();
            let after = after.map_err(|_| odd_cursor())?;
            let own = |delivery: &&Delivery| {
                delivery.id.webhook == webhook
                    && delivery.tenant == *tenant
                    && window.contains(delivery.created_at)
                    && after.is_none_or(|after| delivery.id.event > after.event)
            };
            let oldest_first = core.tables.deliveries.values().map(|kept| &kept.delivery);
            Ok(page(oldest_first.filter(own).cloned(), request, |delivery| delivery.id.to_string()))
        };
        self.call("deliveries_within", About::Webhook(webhook), list).await
    }

    pub(super) async fn events_in(
        &self,
        tenant: &TenantId,
        window: &Window,
        request: &PageRequest,
    ) -> Result<Page<Arc<Event>>, Error> {
        let list = |core: &mut Core| {
            let after = request.after.as_deref().map_or(Ok(0), str::parse::<usize>);
            let after = after.map_err(|_| odd_cursor())?;
            // A page is as long as it suits the engine, and those of others lie among a tenant's.
            let most = if core.faults.is_calm { usize::MAX } else { 1 + core.chance.index(10) };
            let (mut items, mut at) = (Vec::new(), after);
            for event in core.tables.in_order.iter().skip(after).take(most) {
                if items.len() == request.limit {
                    break;
                }
                at += 1;
                if event.tenant == *tenant && window.contains(event.accepted_at) {
                    items.push(event.clone());
                }
            }
            let next = (at < core.tables.in_order.len()).then(|| at.to_string());
            Ok(Page { items, next })
        };
        self.call("events_within", About::World, list).await
    }
}

//! Parked deliveries, and the webhooks whose backlog is on its way.

use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{Attempt, Delivery, DeliveryId, DeliveryState, TenantId, WebhookId},
};

use super::{KeptDelivery, SimStore, Tables};
use crate::{trace::About, world::Core};

impl Tables {
    /// A webhook's parked deliveries, in the order of their places.
    fn parked_of(&self, tenant: Option<&TenantId>, webhook: WebhookId) -> Vec<DeliveryId> {
        let own = self.deliveries.iter().filter(|(id, kept)| {
            id.webhook == webhook
                && kept.delivery.state == DeliveryState::Parked
                && tenant.is_none_or(|tenant| kept.delivery.tenant == *tenant)
        });
        let mut found: Vec<_> = own.map(|(id, kept)| (kept.delivery.parked_at, id.event, *id)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, _, id)| id).collect()
    }
}

impl KeptDelivery {
    /// It is due no more, but to leave the line that it stands in.
    fn give_up(&mut self) {
        (self.delivery.state, self.delivery.next_attempt_at) = (DeliveryState::Discarded, None);
        self.due = self.delivery.ordering_key.as_ref().map(|_| Timestamp::UNIX_EPOCH);
        self.leased_until = None;
    }
}

impl SimStore {
    pub(super) async fn give_up_one(
        &self,
        tenant: &TenantId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let give_up = |core: &mut Core| {
            let kept = core.tables.deliveries.get_mut(&id).filter(|kept| kept.delivery.tenant == *tenant);
            let open = kept.filter(|kept| match kept.delivery.state {
                DeliveryState::Delivered | DeliveryState::Discarded => false,
                DeliveryState::Pending => kept.leased_until.is_none_or(|end| end <= now),
                DeliveryState::Failed | DeliveryState::Parked | DeliveryState::Waiting => true,
            });
            Ok(open.map(KeptDelivery::give_up).is_some())
        };
        self.call("give_up", id.into(), give_up).await
    }

    pub(super) async fn release_parked(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        due: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, Error> {
        let release = |core: &mut Core| {
            let mut hints = Vec::new();
            for id in core.tables.parked_of(Some(tenant), webhook).into_iter().take(limit) {
                core.ledger.released.insert(id);
                if let Some(kept) = core.tables.deliveries.get_mut(&id) {
                    kept.delivery.state = DeliveryState::Pending;
                    (kept.due, kept.leased_until) = (Some(due), None);
                    hints.push(Hint::next(&kept.delivery));
                }
            }
            core.say(format!("{} released", hints.len()));
            Ok(hints)
        };
        self.call("release", About::Webhook(webhook), release).await
    }

    pub(super) async fn discard_parked(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<usize, Error> {
        let discard = |core: &mut Core| {
            let mut found = core.tables.parked_of(Some(tenant), webhook);
            found.truncate(limit);
            for id in &found {
                if let Some(kept) = core.tables.deliveries.get_mut(id) {
                    kept.give_up();
                }
            }
            Ok(found.len())
        };
        self.call("discard", About::Webhook(webhook), discard).await
    }

    pub(super) async fn read_parked(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let read = |core: &mut Core| {
            let found = core.tables.parked_of(Some(tenant), webhook).into_iter().take(limit);
            Ok(found.filter_map(|id| Some(core.tables.deliveries.get(&id)?.delivery.clone())).collect())
        };
        self.call("waiting", About::Webhook(webhook), read).await
    }

    pub(super) async fn acknowledge_parked(
        &self,
        tenant: &TenantId,
        deliveries: &[DeliveryId],
        by: &Attempt,
    ) -> Result<(), Error> {
        let acknowledge = |core: &mut Core| {
            for id in deliveries {
                let Some(kept) = core.tables.deliveries.get_mut(id) else { continue };
                let one = &mut kept.delivery;
                if one.tenant == *tenant && one.state == DeliveryState::Parked {
                    one.state = DeliveryState::Delivered;
                    (one.attempt_count, one.attempts) = (by.number, vec![by.clone()]);
                }
            }
            Ok(())
        };
        self.call("acknowledge", About::Deliveries(deliveries.to_vec()), acknowledge).await
    }

    pub(super) async fn count_parked(&self, webhook: WebhookId, most: usize) -> Result<usize, Error> {
        let count = |core: &mut Core| Ok(core.tables.parked_of(None, webhook).len().min(most));
        self.call("parked", About::Webhook(webhook), count).await
    }

    pub(super) async fn note_look(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        at: Timestamp,
    ) -> Result<(), Error> {
        let note = |core: &mut Core| {
            core.tables.looks.insert(webhook, (tenant.clone(), at));
            Ok(())
        };
        self.call("look_at", About::Webhook(webhook), note).await
    }

    pub(super) async fn strike_look(&self, webhook: WebhookId) -> Result<(), Error> {
        let strike = |core: &mut Core| {
            core.tables.looks.remove(&webhook);
            Ok(())
        };
        self.call("look_no_more", About::Webhook(webhook), strike).await
    }

    pub(super) async fn take_looks(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, WebhookId)>, Error> {
        let take = |core: &mut Core| {
            let due = core.tables.looks.iter_mut().filter(|(_, (_, at))| *at <= now).take(limit);
            Ok(due
                .map(|(webhook, (tenant, at))| {
                    *at = lease;
                    (tenant.clone(), *webhook)
                })
                .collect())
        };
        self.call("to_look_at", About::World, take).await
    }
}

//! Lines: what goes out one after the other.

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{Delivery, DeliveryId, DeliveryState, Line},
    ports::{Lines, Turn},
};
use uuid::Uuid;

use super::{SimStore, Tables};
use crate::{trace::About, world::Core};

impl Tables {
    fn first(&self, line: &Line) -> Option<Uuid> {
        self.lines.get(&(line.webhook, line.key.clone()))?.first().copied()
    }

    /// Makes the first of a line pending, if it waits.
    fn wake(&mut self, line: &Line, due: Timestamp) -> Option<Hint> {
        let id = DeliveryId { webhook: line.webhook, event: self.first(line)? };
        let kept = self.deliveries.get_mut(&id)?;
        if kept.delivery.state != DeliveryState::Waiting || kept.delivery.tenant != line.tenant {
            return None;
        }
        kept.delivery.state = DeliveryState::Pending;
        (kept.due, kept.leased_until) = (Some(due), None);
        Some(Hint::next(&kept.delivery))
    }

    fn leave(&mut self, line: &Line, event: Uuid) {
        if let Some(events) = self.lines.get_mut(&(line.webhook, line.key.clone())) {
            events.remove(&event);
        }
    }

    fn due_no_more(&mut self, id: DeliveryId) {
        use DeliveryState::{Delivered, Discarded, Failed};
        if let Some(kept) = self.deliveries.get_mut(&id)
            && matches!(kept.delivery.state, Delivered | Failed | Discarded)
        {
            kept.due = None;
        }
    }
}

#[async_trait]
impl Lines for SimStore {
    async fn first(&self, line: &Line) -> Result<Option<Uuid>, Error> {
        self.call("first", About::Webhook(line.webhook), |core| Ok(core.tables.first(line))).await
    }

    async fn wait_behind(
        &self,
        delivery: &Delivery,
        had: u32,
        line: &Line,
        before: Uuid,
    ) -> Result<Turn, Error> {
        let wait = |core: &mut Core| {
            let stands = core.tables.lines.get(&(line.webhook, line.key.clone()));
            let stands = |event| stands.is_some_and(|events| events.contains(event));
            let turn = if !stands(&delivery.id.event) {
                Turn::Apart
            } else if !stands(&before) {
                Turn::Moved
            } else if core.tables.record(delivery, had, None) {
                core.was_recorded(delivery);
                Turn::Waits
            } else {
                Turn::Lost
            };
            core.say(format!("{turn:?} behind {}", before.simple()));
            Ok(turn)
        };
        self.call("wait_behind", delivery.id.into(), wait).await
    }

    /// As AWS does it, a step after the other: each may be the last.
    async fn advance(&self, line: &Line, gone: Option<Uuid>, due: Timestamp) -> Result<Option<Hint>, Error> {
        let (webhook, about) = (line.webhook, About::Webhook(line.webhook));
        let id = gone.map(|event| DeliveryId { webhook, event });
        let about = id.map_or(about, About::from);
        if let Some(gone) = gone {
            let leave = |core: &mut Core| {
                core.tables.leave(line, gone);
                Ok(())
            };
            self.call("leave", about.clone(), leave).await?;
        }
        let wake = |core: &mut Core| {
            let hint = core.tables.wake(line, due);
            core.say(
                hint.as_ref().map_or_else(|| "nobody waits".to_owned(), |hint| hint.delivery.to_string()),
            );
            Ok(hint)
        };
        let hint = self.call("wake", about.clone(), wake).await?;
        if let Some(id) = id {
            let strike = |core: &mut Core| {
                core.tables.due_no_more(id);
                Ok(())
            };
            self.call("due_no_more", about, strike).await?;
        }
        Ok(hint)
    }
}

//! Events, accepted once.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{DeliveryId, Event, EventId, TenantId, Window},
    operation::{Page, PageRequest},
    ports::{Accepted, Events},
};

use super::{SimStore, Tables, odd_cursor};
use crate::{faults::Part, trace::About, world::Core};

impl Tables {
    fn accept(&mut self, event: &Arc<Event>) -> Accepted {
        let name = (event.tenant.clone(), event.id.clone());
        if let Some(kept) = self.events.get(&name) {
            return Accepted::Already(Box::new((**kept).clone()));
        }
        for webhook in &event.ordered {
            if let Some(key) = event.line_key(*webhook) {
                self.lines.entry((*webhook, key)).or_default().insert(event.uid);
            }
        }
        self.events.insert(name, event.clone());
        self.in_order.push(event.clone());
        Accepted::New
    }

    fn is_recorded(&self, id: DeliveryId) -> bool {
        self.deliveries.contains_key(&id)
    }
}

impl Core {
    fn accept(&mut self, event: &Arc<Event>) -> Accepted {
        let accepted = self.tables.accept(event);
        if accepted == Accepted::New {
            self.see_to_matching(event);
            self.lines_up(event);
            self.say(format!("new, for {} webhooks", event.webhooks.len()));
        } else {
            self.say("it is there already");
        }
        accepted
    }
}

fn about(event: &Event) -> About {
    About::Event(event.tenant.clone(), event.id.clone())
}

impl SimStore {
    /// As a file does it: the events and the messages about them at once, or nothing.
    async fn accept_at_once(&self, events: &[Arc<Event>]) -> Vec<Result<Accepted, Error>> {
        let accept = |core: &mut Core| {
            let accepted: Vec<_> = events.iter().map(|event| core.accept(event)).collect();
            let new = events.iter().zip(&accepted).filter(|(_, accepted)| **accepted == Accepted::New);
            let new: Vec<_> = new.map(|(event, _)| event).collect();
            core.enqueue_new(&new)?;
            Ok(accepted)
        };
        match self.call("accept", about(&events[0]), accept).await {
            Ok(accepted) => accepted.into_iter().map(Ok).collect(),
            Err(error) => events.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// As AWS does it: each event by itself, and then the messages.
    async fn accept_each(&self, events: &[Arc<Event>]) -> Vec<Result<Accepted, Error>> {
        let mut results = Vec::with_capacity(events.len());
        for event in events {
            results.push(self.call("accept", about(event), |core| Ok(core.accept(event))).await);
        }
        let new = events.iter().zip(&results).filter(|(_, result)| **result == Ok(Accepted::New));
        let new: Vec<_> = new.map(|(event, _)| event).collect();
        let Some(event) = new.first() else { return results };
        let send = |core: &mut Core| core.enqueue_new(&new);
        if let Err(error) = self.world.call(self.who, Part::Queue, "send", about(event), send).await {
            for result in results.iter_mut().filter(|result| **result == Ok(Accepted::New)) {
                *result = Err(error.clone());
            }
        }
        results
    }
}

#[async_trait]
impl Events for SimStore {
    async fn accept(&self, events: &[Arc<Event>]) -> Vec<Result<Accepted, Error>> {
        let two_steps = self.world.lock().faults.two_steps;
        match events {
            [] => Vec::new(),
            _ if two_steps => self.accept_each(events).await,
            _ => self.accept_at_once(events).await,
        }
    }

    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<Arc<Event>>, Error> {
        let name = (tenant.clone(), id.clone());
        let about = About::Event(tenant.clone(), id.clone());
        self.call("event", about, |core| Ok(core.tables.events.get(&name).cloned())).await
    }

    async fn stranded(
        &self,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Hint>, Error> {
        let find = |core: &mut Core| {
            let after = page.after.as_deref().map_or(Ok(0), str::parse::<usize>).map_err(|_| odd_cursor())?;
            // A page is as long as it suits the engine, and the same when it is asked for again.
            let limit =
                if core.faults.is_calm { page.limit } else { 1 + after * 7 % page.limit.clamp(1, 20) };
            let tables = &core.tables;
            let inside = |event: &Event| (from..until).contains(&event.accepted_at);
            let beyond = tables.in_order.iter().enumerate().skip(after).filter(|(_, event)| inside(event));
            let looked: Vec<_> = beyond.take(limit.saturating_add(1)).collect();
            let next = (looked.len() > limit).then(|| (looked[limit - 1].0 + 1).to_string());
            let mut items = Vec::new();
            for (_, event) in looked.iter().take(limit) {
                let hints = event.webhooks.iter().map(|&webhook| Hint::again(event, webhook));
                items.extend(hints.filter(|hint| !tables.is_recorded(hint.delivery)));
            }
            for hint in &items {
                core.trace.note(core.now, self.who, &hint.delivery.into(), || "found stranded".into());
            }
            Ok(Page { items, next })
        };
        self.call("stranded", About::Deliveries(Vec::new()), find).await
    }

    async fn events_within(
        &self,
        tenant: &TenantId,
        window: &Window,
        request: &PageRequest,
    ) -> Result<Page<Arc<Event>>, Error> {
        self.events_in(tenant, window, request).await
    }

    async fn swept_until(&self) -> Result<Option<Timestamp>, Error> {
        let read = |core: &mut Core| Ok(core.tables.swept_until);
        self.call("swept_until", About::Deliveries(Vec::new()), read).await
    }

    async fn set_swept_until(&self, until: Timestamp) -> Result<(), Error> {
        let write = |core: &mut Core| {
            core.tables.swept_until = Some(until);
            Ok(())
        };
        self.call("set_swept_until", About::Deliveries(Vec::new()), write).await
    }
}

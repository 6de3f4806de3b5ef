//! The store: what its tables hold, and one process's view of them, with caches of its own.

mod deliveries;
mod events;
mod healths;
mod keys;
mod limits;
mod lines;
mod parked;
mod reopen;
mod replays;
mod undelivered;
mod webhooks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{
        Credentials, CustomTopic, Delivery, DeliveryId, Event, EventId, Health, KeyId, KeyRecord,
        OrderingKey, Replay, ReplayId, Tally, Tenant, TenantId, Topic, Webhook, WebhookId,
    },
    operation::{Page, PageRequest},
    ports::{Subscribers, Target},
};

use uuid::Uuid;

use crate::{
    executor::Who,
    faults::Part,
    trace::About,
    world::{Core, World},
};

/// What is kept of a tenant.
pub struct KeptTenant {
    tenant: Tenant,
    last_number: u64,
    credentials: Option<Credentials>,
}

/// What is kept of a delivery.
pub struct KeptDelivery {
    /// The record.
    pub delivery: Delivery,
    /// When a sweep is to look at it.
    pub due: Option<Timestamp>,
    leased_until: Option<Timestamp>,
}

/// What the store keeps.
#[derive(Default)]
pub struct Tables {
    tenants: BTreeMap<TenantId, KeptTenant>,
    keys: BTreeMap<KeyId, KeyRecord>,
    buckets: BTreeMap<String, Timestamp>,
    topics: BTreeMap<Topic, CustomTopic>,
    /// Webhooks.
    pub webhooks: BTreeMap<(TenantId, WebhookId), Webhook>,
    holders: BTreeMap<(TenantId, String, String), WebhookId>,
    /// Events.
    pub events: BTreeMap<(TenantId, EventId), Arc<Event>>,
    /// The same in the order of acceptance.
    in_order: Vec<Arc<Event>>,
    /// Deliveries.
    pub deliveries: BTreeMap<DeliveryId, KeptDelivery>,
    /// Places of deliveries among their webhook's.
    pub sequences: BTreeMap<DeliveryId, u64>,
    /// Lines: of a webhook and a key, the events in them.
    pub lines: BTreeMap<(WebhookId, OrderingKey), BTreeSet<Uuid>>,
    tallies: BTreeMap<WebhookId, Tally>,
    healths: BTreeMap<WebhookId, Health>,
    free_slots: BTreeMap<WebhookId, Timestamp>,
    places: BTreeMap<WebhookId, BTreeMap<Uuid, Timestamp>>,
    /// Webhooks with a backlog on its way, and when somebody looks whether it still is.
    pub looks: BTreeMap<WebhookId, (TenantId, Timestamp)>,
    /// Replays, and when a sweep is to look after their next step.
    pub replays: BTreeMap<(TenantId, ReplayId), (Replay, Option<Timestamp>)>,
    /// Up to when the past has been looked through.
    pub swept_until: Option<Timestamp>,
}

/// Something read a while ago: until when it may be answered, and whether no write of one's own made it void.
type Brief<K, V> = BTreeMap<K, (i64, V)>;

#[derive(Default)]
struct Caches {
    /// A write of this process's own makes void what it read before.
    generation: u64,
    targets: Brief<(TenantId, WebhookId), Option<Arc<Target>>>,
    matching: Brief<(TenantId, Topic), Option<Arc<Subscribers>>>,
}

/// One process's view of the store.
pub struct SimStore {
    world: World,
    who: Who,
    caches: Mutex<Caches>,
}

impl SimStore {
    /// A view with nothing in its caches.
    pub fn new(world: World, who: Who) -> Self {
        Self { world, who, caches: Mutex::default() }
    }

    async fn call<T: Send>(
        &self,
        verb: &'static str,
        about: About,
        effect: impl FnOnce(&mut Core) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        self.world.call(self.who, Part::Store, verb, about, effect).await
    }

    fn caches(&self) -> std::sync::MutexGuard<'_, Caches> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes void what rests on webhooks, whatever became of the write.
    fn void(&self) {
        let mut caches = self.caches();
        caches.generation += 1;
        caches.targets.clear();
        caches.matching.clear();
    }
}

/// One page of a list in its order, of which `cursor` names each entry.
fn page<T>(all: impl Iterator<Item = T>, page: &PageRequest, cursor: impl Fn(&T) -> String) -> Page<T> {
    let mut items: Vec<T> = all.take(page.limit.saturating_add(1)).collect();
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

fn odd_cursor() -> Error {
    Error::invalid("cursor", "is not one that we gave")
}

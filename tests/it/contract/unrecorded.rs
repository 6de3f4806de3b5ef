//! What is not delivered yet is listed whole: what records show, and then the first attempts of which there is no record.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use postrider::{
    access::Principal,
    hint::Hint,
    model::{Delivery, DeliveryId, DeliveryState, DeliverySummary, Event, TenantId, WebhookId},
    operation::{Asked, Outcome, PageRequest},
    ports::{Clock, Policy, Ports},
    undelivered::{self, Narrowed},
};
use postrider_lambda::SystemDice;

use super::{
    World, on_every_engine,
    samples::{attempted, event_at, kept_tenant, kept_webhook, now, secs, tenant_id, topic},
};

on_every_engine!(
    what_no_record_shows_comes_after_what_records_show,
    it_is_narrowed_as_records_are,
    nothing_is_looked_for_before_the_sweeps_mark,
    a_page_ends_among_many_of_others_and_goes_on_after_them,
);

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A world at a moment, with the webhooks of a tenant.
struct Stage {
    ports: Ports,
    now: Timestamp,
    tenant: TenantId,
    webhooks: Vec<WebhookId>,
}

impl Stage {
    async fn set(world: &World) -> Self {
        let tenant = kept_tenant(&*world.store).await;
        let mut webhooks = Vec::new();
        for _ in 0..3 {
            webhooks.push(kept_webhook(&*world.store, &tenant, &["*"]).await.id);
        }
        let now = now();
        let ports = Ports {
            store: world.store.clone(),
            queue: world.queue.clone(),
            clock: Arc::new(At(now)),
            dice: Arc::new(SystemDice),
            policy: Policy::default(),
        };
        Self { ports, now, tenant, webhooks }
    }

    async fn accept(&self, event: Event) -> Vec<Delivery> {
        let event = Arc::new(event);
        assert!(self.ports.store.accept(std::slice::from_ref(&event)).await.iter().all(Result::is_ok));
        event.webhooks.iter().map(|&webhook| Hint::again(&event, webhook).blank(&event)).collect()
    }

    /// An event of so many seconds ago, for all webhooks; its deliveries before anything is kept of them.
    async fn accepted(&self, age: i64) -> Vec<Delivery> {
        self.accept(event_at(&self.tenant, &self.webhooks, self.now - secs(age))).await
    }

    async fn put(&self, delivery: &Delivery, state: DeliveryState) -> Delivery {
        let kept = attempted(delivery, state, None);
        assert!(self.ports.store.record(&kept, None).await.unwrap());
        kept
    }

    /// All that the tenant, or an operator of all, is shown, in pages of `limit`.
    async fn listed(&self, of_all: bool, narrowed: &Narrowed, limit: usize) -> Vec<DeliverySummary> {
        let asked = Asked { tenant: (!of_all).then(|| self.tenant.clone()), dialect: None };
        let mut page = PageRequest::first(limit);
        let mut found = Vec::new();
        for _ in 0..1000 {
            let operator = Principal::operator();
            let part = undelivered::list(&self.ports, &operator, &asked, narrowed.clone(), &page).await;
            let Ok(Outcome::Undelivered(part, at)) = part else { panic!("{part:?}") };
            assert_eq!(at, self.now);
            assert!(part.items.len() <= limit);
            found.extend(part.items);
            match part.next {
                Some(after) => page.after = Some(after),
                None => return found,
            }
        }
        panic!("the pages do not end")
    }
}

fn shown<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Vec<DeliverySummary> {
    deliveries.into_iter().map(DeliverySummary::of).collect()
}

async fn what_no_record_shows_comes_after_what_records_show(world: &World) {
    let stage = Stage::set(world).await;
    let (mut recorded, mut unrecorded) = (Vec::new(), Vec::new());
    // What was accepted an hour ago has long been swept: of it, records alone are shown.
    recorded.push(stage.put(&stage.accepted(4000).await[1], DeliveryState::Pending).await);
    for age in [1000, 200, 130, 21, 20, 2] {
        let [a, b, c] = stage.accepted(age).await.try_into().unwrap();
        match age {
            20 => recorded.push(stage.put(&a, DeliveryState::Pending).await),
            1000 => drop(stage.put(&a, DeliveryState::Delivered).await),
            _ => unrecorded.push(a),
        }
        unrecorded.extend([b, c]);
    }
    recorded.sort_by_key(|one| one.id.webhook);
    let expected = shown(recorded.iter().chain(&unrecorded));
    for (of_all, limit) in [(false, 1), (false, 2), (false, 50), (true, 5)] {
        let found = stage.listed(of_all, &Narrowed::default(), limit).await;
        assert_eq!(found, expected, "by {limit}");
    }
}

async fn it_is_narrowed_as_records_are(world: &World) {
    let stage = Stage::set(world).await;
    stage.ports.store.set_swept_until(stage.now - secs(120)).await.unwrap();
    let mut all = Vec::new();
    for (n, age) in [100, 50, 10].into_iter().enumerate() {
        let name = if n == 1 { "order.paid" } else { "order.created" };
        let plain = event_at(&stage.tenant, &stage.webhooks, stage.now - secs(age));
        all.extend(stage.accept(Event { topic: topic(name), ..plain }).await);
    }
    // Another tenant's is not among them.
    let theirs = stage.accept(event_at(&tenant_id(), &stage.webhooks, stage.now - secs(60))).await;
    let older = |age| Some(SignedDuration::from_secs(age));
    for webhook in [None, Some(stage.webhooks[1])] {
        for wanted in [None, Some(topic("order.paid")), Some(topic("order.unheard"))] {
            for older_than in [None, older(0), older(10), older(99), older(100), older(2_592_000)] {
                let is_sought = |one: &&Delivery| {
                    webhook.is_none_or(|webhook| one.id.webhook == webhook)
                        && wanted.as_ref().is_none_or(|wanted| one.topic == *wanted)
                        && older_than.is_none_or(|age| one.created_at < stage.now - age)
                };
                let expected = shown(all.iter().filter(is_sought));
                let narrowed = Narrowed { webhook, topic: wanted.clone(), older_than };
                let found = stage.listed(false, &narrowed, 2).await;
                assert_eq!(found, expected, "{narrowed:?}");
            }
        }
    }
    let of_all = stage.listed(true, &Narrowed::default(), 4).await;
    let ids = |deliveries: &[Delivery]| deliveries.iter().map(|one| one.id).collect::<BTreeSet<_>>();
    let found: BTreeSet<DeliveryId> = of_all.iter().map(|one| one.id).collect();
    assert_eq!((of_all.len(), found), (12, &ids(&all) | &ids(&theirs)));
}

async fn nothing_is_looked_for_before_the_sweeps_mark(world: &World) {
    let stage = Stage::set(world).await;
    stage.accepted(500).await;
    let young = stage.accepted(5).await;
    stage.ports.store.set_swept_until(stage.now - secs(300)).await.unwrap();
    assert_eq!(stage.listed(false, &Narrowed::default(), 2).await, shown(&young));
    stage.ports.store.set_swept_until(stage.now + secs(1)).await.unwrap();
    assert_eq!(stage.listed(false, &Narrowed::default(), 2).await, []);
}

async fn a_page_ends_among_many_of_others_and_goes_on_after_them(world: &World) {
    let stage = Stage::set(world).await;
    // Two events for more than a page looks at, and one that is sought.
    let many: Vec<_> = (0..510).map(|n| WebhookId(uuid::Uuid::from_u128(n))).collect();
    for age in [30, 29] {
        stage.accept(event_at(&stage.tenant, &many, stage.now - secs(age))).await;
    }
    let plain = event_at(&stage.tenant, &stage.webhooks, stage.now - secs(28));
    let sought = stage.accept(Event { topic: topic("order.paid"), ..plain }).await;
    let narrowed = Narrowed { topic: Some(topic("order.paid")), ..Narrowed::default() };
    let page = PageRequest::first(2);
    let asked = Asked { tenant: Some(stage.tenant.clone()), dialect: None };
    let first =
        undelivered::list(&stage.ports, &Principal::operator(), &asked, narrowed.clone(), &page).await;
    let Ok(Outcome::Undelivered(first, _)) = first else { panic!("{first:?}") };
    assert!(first.items.is_empty() && first.next.is_some(), "it looks at so many and no more");
    assert_eq!(stage.listed(false, &narrowed, 2).await, shown(&sought));
}

//! How receivers do.

use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, try_join_all};
use http::HeaderMap;
use jiff::Timestamp;
use postrider::{
    deliver::{self, Done},
    hint::{Hint, Lane},
    model::{
        BREAKER, DeliveryState, Health, KeptHeaders, Phases, Reply, State, TenantId, Webhook, WebhookId,
    },
    ports::{Clock, Outgoing, Policy, Ports, Post},
    verdict::{Answer, Exchange},
};
use postrider_lambda::SystemDice;
use postrider_tests::poll::{SOON, until};

use super::{
    World, on_every_engine,
    samples::{MANY, V1, added, event_at, kept_tenant, kept_webhook, now, secs, some_webhook, webhook},
};

on_every_engine!(
    failures_are_counted_from_the_first,
    failures_at_once_are_all_counted,
    of_many_that_would_try_one_does,
    what_recovered_is_as_good_as_new,
    what_recovered_is_found_with_all_that_a_delivery_needs,
    a_slow_receiver_is_none_that_fails,
    what_goes_to_a_slow_receiver_goes_by_the_slow_lane,
    a_removed_webhook_has_no_health,
    after_five_days_of_nothing_but_failures_a_webhook_is_disabled,
);

/// A clock that stands still until it is set.
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn ports(world: &World, hand: &Arc<Hand>) -> Ports {
    Ports {
        store: world.store.clone(),
        queue: world.queue.clone(),
        clock: hand.clone(),
        dice: Arc::new(SystemDice),
        policy: Policy::default(),
    }
}

/// A receiver that answers 503 to everything.
struct Unwell;

#[async_trait::async_trait]
impl Post for Unwell {
    async fn post(&self, _: Outgoing, _: BoxFuture<'_, ()>) -> Exchange {
        let (headers, sent) = (HeaderMap::new(), HeaderMap::new());
        let reply =
            Reply { status: 503, body: String::new(), truncated: false, headers: KeptHeaders::default() };
        let answer = Answer { reply, headers };
        Exchange { phases: Phases::default(), address: None, sent, result: Ok(answer) }
    }
}

/// A receiver that takes everything, after two seconds.
struct Sluggish;

#[async_trait::async_trait]
impl Post for Sluggish {
    async fn post(&self, _: Outgoing, late: BoxFuture<'_, ()>) -> Exchange {
        late.await;
        let (headers, sent) = (HeaderMap::new(), HeaderMap::new());
        let reply =
            Reply { status: 200, body: String::new(), truncated: false, headers: KeptHeaders::default() };
        let phases = Phases { total_us: 2_000_000, ..Phases::default() };
        Exchange { phases, address: None, sent, result: Ok(Answer { reply, headers }) }
    }
}

/// Publishes an event and delivers it, at the time that it is.
async fn deliver(ports: &Ports, tenant: &TenantId, webhook: WebhookId) -> Done {
    let event = Arc::new(event_at(tenant, &[webhook], ports.clock.now()));
    ports.store.accept(std::slice::from_ref(&event)).await.remove(0).unwrap();
    deliver::deliver(ports, &Unwell, &Hint::fresh(&event, webhook), None, 1).await.unwrap()
}

async fn after_five_days_of_nothing_but_failures_a_webhook_is_disabled(world: &World) {
    let hand = Arc::new(Hand(Mutex::new(now())));
    let ports = ports(world, &hand);
    let tenant = kept_tenant(&*world.store).await;
    let made = Webhook { state: State::Active, ..webhook(&tenant, V1, &["order.created"]) };
    let made = added(world.store.add_webhook(&made, false, MANY).await.unwrap());
    let state = async || ports.store.webhook(&tenant, made.id).await.unwrap().unwrap().state;
    for _ in 1..BREAKER {
        assert_eq!(deliver(&ports, &tenant, made.id).await, Done::Attempted(DeliveryState::Pending));
    }
    assert_eq!(deliver(&ports, &tenant, made.id).await, Done::Parked, "the tenth opens the breaker");
    let failures = async || ports.store.health(&tenant, made.id).await.unwrap().failures;
    assert_eq!(deliver(&ports, &tenant, made.id).await, Done::Parked);
    assert_eq!(failures().await, BREAKER, "the next is not even tried");
    for (days, expected) in [(1, State::Active), (3, State::Active)] {
        *hand.0.lock().unwrap() += secs(days * 86_400);
        assert_eq!(deliver(&ports, &tenant, made.id).await, Done::Parked);
        assert_eq!(state().await, expected);
    }
    assert_eq!(failures().await, BREAKER + 2, "each day one was tried");
    *hand.0.lock().unwrap() += secs(86_400);
    assert_eq!(deliver(&ports, &tenant, made.id).await, Done::Parked);
    let State::Disabled { reason } = state().await else { panic!("it is disabled") };
    assert!(reason.starts_with("nothing but failures since "), "{reason}");
}

async fn failures_are_counted_from_the_first(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let (webhook, other) = (some_webhook(), some_webhook());
    assert_eq!(store.health(&tenant, webhook).await.unwrap(), Health::default());
    let start = now();
    for failures in 1..=3 {
        let at = start + secs(i64::from(failures));
        let health = store.strain(&tenant, webhook, at).await.unwrap();
        assert_eq!(
            health,
            Health { failures, since: Some(start + secs(1)), probe_at: None, slow_until: None }
        );
        assert_eq!(store.health(&tenant, webhook).await.unwrap(), health);
    }
    let next = world.next_process();
    assert_eq!(next.store.health(&tenant, webhook).await.unwrap().failures, 3);
    assert_eq!(store.health(&tenant, other).await.unwrap(), Health::default());
}

async fn failures_at_once_are_all_counted(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    let strains = (0..20).map(|_| store.strain(&tenant, webhook, now()));
    let mut counts: Vec<_> =
        try_join_all(strains).await.unwrap().iter().map(|health| health.failures).collect();
    counts.sort_unstable();
    let kept = world.next_process().store.health(&tenant, webhook).await.unwrap().failures;
    if world.loses_answers() {
        assert!((20..=40).contains(&kept), "each once, and once more at most: {kept}");
    } else {
        assert_eq!(counts, (1..=20).collect::<Vec<_>>());
        assert_eq!(kept, 20);
    }
}

async fn of_many_that_would_try_one_does(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    let start = now();
    assert!(!store.put_off(&tenant, webhook, None, start).await.unwrap(), "it never failed");
    store.strain(&tenant, webhook, start).await.unwrap();
    let mut from = None;
    for round in 1..=3 {
        let to = start + secs(round * 10);
        let tries = (0..5).map(|_| store.put_off(&tenant, webhook, from, to));
        let taken = try_join_all(tries).await.unwrap();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
        from = Some(to);
        let health = world.next_process().store.health(&tenant, webhook).await.unwrap();
        assert_eq!(health, Health { failures: 1, since: Some(start), probe_at: from, slow_until: None });
    }
    assert_eq!(store.strain(&tenant, webhook, now()).await.unwrap().probe_at, from);
}

async fn what_recovered_is_as_good_as_new(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    assert!(!store.relieve(&tenant, webhook).await.unwrap());
    store.strain(&tenant, webhook, now()).await.unwrap();
    assert!(store.put_off(&tenant, webhook, None, now()).await.unwrap());
    assert!(store.relieve(&tenant, webhook).await.unwrap());
    assert!(!store.relieve(&tenant, webhook).await.unwrap());
    assert_eq!(store.health(&tenant, webhook).await.unwrap(), Health::default());
    assert_eq!(world.next_process().store.health(&tenant, webhook).await.unwrap(), Health::default());
    let at = now();
    let again = store.strain(&tenant, webhook, at).await.unwrap();
    assert_eq!(again, Health { failures: 1, since: Some(at), probe_at: None, slow_until: None });
}

async fn a_removed_webhook_has_no_health(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let webhook = kept_webhook(store, &tenant, &["order.created"]).await;
    store.strain(&tenant, webhook.id, now()).await.unwrap();
    assert!(store.remove_webhook(&tenant, webhook.id).await.unwrap());
    assert_eq!(world.next_process().store.health(&tenant, webhook.id).await.unwrap(), Health::default());
}

async fn what_recovered_is_found_with_all_that_a_delivery_needs(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let sample = webhook(&tenant, V1, &["order.created"]);
    let kept = added(store.add_webhook(&sample, false, MANY).await.unwrap());
    store.strain(&tenant, kept.id, now()).await.unwrap();
    assert!(store.relieve(&tenant, kept.id).await.unwrap());
    let target = store.target(&tenant, kept.id).await.unwrap().unwrap();
    assert_eq!((&target.webhook, &target.credentials), (&kept, &None));
}

async fn a_slow_receiver_is_none_that_fails(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    let (until, later) = (now() + secs(300), now() + secs(600));
    let slow = |until| Health { slow_until: Some(until), ..Health::default() };
    store.slow_down(&tenant, webhook, until).await.unwrap();
    assert_eq!(store.health(&tenant, webhook).await.unwrap(), slow(until));
    assert_eq!(world.next_process().store.health(&tenant, webhook).await.unwrap(), slow(until));
    assert!(!store.relieve(&tenant, webhook).await.unwrap(), "it did not fail");
    assert!(!store.put_off(&tenant, webhook, None, now()).await.unwrap(), "it did not fail");
    let at = now();
    let both = store.strain(&tenant, webhook, at).await.unwrap();
    assert_eq!(both, Health { failures: 1, since: Some(at), probe_at: None, slow_until: Some(until) });
    store.slow_down(&tenant, webhook, later).await.unwrap();
    assert!(store.relieve(&tenant, webhook).await.unwrap());
    assert_eq!(store.health(&tenant, webhook).await.unwrap(), slow(later), "it may be as slow as before");
    assert_eq!(world.next_process().store.health(&tenant, webhook).await.unwrap(), slow(later));
}

async fn what_goes_to_a_slow_receiver_goes_by_the_slow_lane(world: &World) {
    let hand = Arc::new(Hand(Mutex::new(now())));
    let ports = ports(world, &hand);
    let tenant = kept_tenant(&*world.store).await;
    let made = Webhook { state: State::Active, ..webhook(&tenant, V1, &["order.created"]) };
    let made = added(world.store.add_webhook(&made, false, MANY).await.unwrap());
    let deliver = async |hint: &Hint| deliver::deliver(&ports, &Sluggish, hint, None, 1).await.unwrap();
    let publish = async || {
        let event = Arc::new(event_at(&tenant, &[made.id], ports.clock.now()));
        world.store.accept(std::slice::from_ref(&event)).await.remove(0).unwrap();
        let message = until(SOON, "it is queued", async || world.inbox.receive(1).await.pop()).await;
        world.inbox.delete(&message).await;
        message.hint
    };
    assert_eq!(deliver(&publish().await).await, Done::Attempted(DeliveryState::Delivered));
    let health = world.store.health(&tenant, made.id).await.unwrap();
    assert!(health.is_slow(ports.clock.now()) && !health.has_failed(), "{health:?}");

    let second = publish().await;
    assert_eq!((second.lane(), deliver(&second).await), (Lane::Fast, Done::Forwarded));
    let forwarded = until(SOON, "it goes on", async || world.inbox.receive(1).await.pop()).await;
    assert_eq!((forwarded.lane, forwarded.hint.delivery), (Lane::Slow, second.delivery));
    assert_eq!(deliver(&forwarded.hint).await, Done::Attempted(DeliveryState::Delivered));
    assert_eq!(deliver(&forwarded.hint).await, Done::Nothing, "a doubled message is claimed");

    *hand.0.lock().unwrap() += secs(600);
    assert_eq!(deliver(&publish().await).await, Done::Attempted(DeliveryState::Delivered), "not for ever");
}

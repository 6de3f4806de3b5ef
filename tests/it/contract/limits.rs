//! How much goes to webhooks whose owners bound it.

use futures::future::try_join_all;
use postrider::{
    model::{DeliveryId, InFlight, Rate, TenantId, WebhookId},
    ports::Place,
};

use super::{
    World, on_every_engine,
    samples::{event, kept_tenant, now, secs, some_webhook},
};

on_every_engine!(
    each_slot_is_given_once,
    what_was_not_used_is_not_saved_up,
    no_more_are_under_way_than_may_be,
    of_many_at_once_as_many_enter_as_may,
    a_place_that_nobody_left_is_free_when_its_time_is_over,
);

fn place(tenant: &TenantId, webhook: WebhookId) -> Place {
    let delivery = DeliveryId { event: event(tenant, &[webhook]).uid, webhook };
    Place { tenant: tenant.clone(), delivery, until: now() + secs(90) }
}

async fn no_more_are_under_way_than_may_be(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let (webhook, other, most) = (some_webhook(), some_webhook(), InFlight::try_from(2).unwrap());
    let [first, second, third] = [(); 3].map(|()| place(&tenant, webhook));
    let enter = async |place: &Place| store.enter(place, most, now()).await.unwrap();
    assert!(enter(&first).await && enter(&second).await);
    assert!(!enter(&third).await);
    assert!(enter(&place(&tenant, other)).await, "another's places are its own");
    store.leave(&first).await.unwrap();
    store.leave(&first).await.unwrap();
    assert!(enter(&third).await, "somebody left");
    assert!(!enter(&first).await, "he left once, however often he says so");
    let more = InFlight::try_from(3).unwrap();
    assert!(store.enter(&first, more, now()).await.unwrap(), "its owner may change it at any time");
}

async fn of_many_at_once_as_many_enter_as_may(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let (webhook, most) = (some_webhook(), InFlight::try_from(5).unwrap());
    let places: Vec<_> = (0..12).map(|_| place(&tenant, webhook)).collect();
    let entered = try_join_all(places.iter().map(|place| store.enter(place, most, now()))).await.unwrap();
    assert_eq!(entered.iter().filter(|entered| **entered).count(), 5, "{entered:?}");
}

async fn a_place_that_nobody_left_is_free_when_its_time_is_over(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let (webhook, most) = (some_webhook(), InFlight::try_from(1).unwrap());
    let (forgotten, next) = (place(&tenant, webhook), place(&tenant, webhook));
    assert!(store.enter(&forgotten, most, now()).await.unwrap());
    assert!(!store.enter(&next, most, forgotten.until - secs(1)).await.unwrap());
    assert!(store.enter(&next, most, forgotten.until).await.unwrap());
    store.leave(&forgotten).await.unwrap();
    assert!(!store.enter(&place(&tenant, webhook), most, now()).await.unwrap(), "it left no other's place");
}

async fn each_slot_is_given_once(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    let (rate, at) = (Rate::try_from(0.1).unwrap(), now());
    let given = (0..4).map(|_| store.reserve(&tenant, webhook, rate, at));
    let mut slots = try_join_all(given).await.unwrap();
    slots.sort_unstable();
    if world.loses_answers() {
        // A slot whose taker did not hear of it is nobody's, so that there may be none left within the minute.
        let slots: Vec<_> = slots.into_iter().flatten().collect();
        assert!(!slots.is_empty() && slots.is_sorted_by(|a, b| *b >= *a + secs(10)), "{slots:?}");
        return;
    }
    assert_eq!(slots, (0..4).map(|n| Some(at + secs(n * 10))).collect::<Vec<_>>());
    for n in 4..=6 {
        assert_eq!(store.reserve(&tenant, webhook, rate, at).await.unwrap(), Some(at + secs(n * 10)));
    }
    assert_eq!(store.reserve(&tenant, webhook, rate, at).await.unwrap(), None, "more than a minute ahead");
    let later = at + secs(10);
    assert_eq!(store.reserve(&tenant, webhook, rate, later).await.unwrap(), Some(at + secs(70)));
    assert_eq!(
        store.reserve(&tenant, some_webhook(), rate, at).await.unwrap(),
        Some(at),
        "another's are its own"
    );
}

async fn what_was_not_used_is_not_saved_up(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    let (rate, at) = (Rate::try_from(10.0).unwrap(), now());
    for at in [at, at + secs(3600)] {
        let mut slots = Vec::new();
        for _ in 0..12 {
            slots.extend(store.reserve(&tenant, webhook, rate, at).await.unwrap());
        }
        assert_eq!(slots.iter().filter(|slot| **slot <= at).count(), 10, "a second's worth: {slots:?}");
        assert!(slots.iter().all(|slot| *slot > at - secs(1)), "{slots:?}");
        assert!(slots.is_sorted() && slots[11] <= at + secs(1), "{slots:?}");
    }
}

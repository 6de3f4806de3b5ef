//! How much goes to webhooks whose owners bound it.

use futures::future::try_join_all;
use postrider::model::Rate;

use super::{
    World, on_every_engine,
    samples::{kept_tenant, now, secs, some_webhook},
};

on_every_engine!(each_slot_is_given_once, what_was_not_used_is_not_saved_up);

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

//! Who makes an attempt.

use futures::future::try_join_all;
use postrider::{model::DeliveryState, ports::Claim};

use super::{
    World, on_every_engine,
    samples::{attempted, blank, now, secs, some_webhook, tenant_id},
};

on_every_engine!(
    a_claimed_attempt_is_its_claimers_until_the_lease_ends,
    a_claimed_attempt_is_kept_as_it_stands,
    of_many_claimers_one_takes_it,
    an_attempt_on_record_is_done,
    a_settled_delivery_is_done,
    the_next_attempt_is_claimed_as_the_record_left_it,
    what_was_claimed_is_recorded_once,
    what_a_dead_claimer_left_comes_due,
    what_was_claimed_and_recorded_does_not_come_due,
);

async fn a_claimed_attempt_is_its_claimers_until_the_lease_ends(world: &World) {
    let store = &*world.store;
    let (delivery, start) = (blank(&tenant_id(), some_webhook()), now());
    let lease = start + secs(90);
    let taken = Claim::Taken(Box::new(delivery.clone()));
    assert_eq!(store.claim(&delivery, 1, start, lease).await.unwrap(), taken);
    for later in [start, start + secs(89)] {
        assert_eq!(store.claim(&delivery, 1, later, later + secs(90)).await.unwrap(), Claim::Busy);
    }
    assert_eq!(
        store.claim(&delivery, 1, lease, lease + secs(90)).await.unwrap(),
        taken,
        "its lease has ended"
    );
    assert_eq!(store.claim(&delivery, 1, lease + secs(1), lease + secs(91)).await.unwrap(), Claim::Busy);
}

async fn a_claimed_attempt_is_kept_as_it_stands(world: &World) {
    let delivery = blank(&tenant_id(), some_webhook());
    world.store.claim(&delivery, 1, now(), now() + secs(90)).await.unwrap();
    assert_eq!(world.store.delivery(&delivery.tenant, delivery.id).await.unwrap(), Some(delivery));
}

async fn of_many_claimers_one_takes_it(world: &World) {
    let (delivery, start) = (blank(&tenant_id(), some_webhook()), now());
    for (number, state) in [(1, DeliveryState::Pending), (2, DeliveryState::Delivered)] {
        let claims = (0..20).map(|_| world.store.claim(&delivery, number, start, start + secs(90)));
        let claims = try_join_all(claims).await.unwrap();
        assert_eq!(claims.iter().filter(|claim| **claim == Claim::Busy).count(), 19);
        let Some(Claim::Taken(taken)) = claims.into_iter().find(|claim| *claim != Claim::Busy) else {
            panic!("nobody took it")
        };
        let due = (state == DeliveryState::Pending).then_some(start);
        assert!(world.store.record(&attempted(&taken, state, due), due).await.unwrap());
    }
}

async fn an_attempt_on_record_is_done(world: &World) {
    let store = &*world.store;
    let (delivery, start) = (blank(&tenant_id(), some_webhook()), now());
    let next = start + secs(30);
    let first = attempted(&delivery, DeliveryState::Pending, Some(next));
    assert!(store.record(&first, Some(next)).await.unwrap());
    let second = attempted(&first, DeliveryState::Pending, Some(next));
    assert!(store.record(&second, Some(next)).await.unwrap());
    for made in [1, 2] {
        assert_eq!(store.claim(&delivery, made, start, start + secs(90)).await.unwrap(), Claim::Done);
    }
    assert_eq!(store.delivery(&delivery.tenant, delivery.id).await.unwrap(), Some(second));
}

async fn a_settled_delivery_is_done(world: &World) {
    for state in [DeliveryState::Delivered, DeliveryState::Failed] {
        let delivery = blank(&tenant_id(), some_webhook());
        assert!(world.store.record(&attempted(&delivery, state, None), None).await.unwrap());
        for number in [1, 2, 3] {
            let claim = world.store.claim(&delivery, number, now(), now() + secs(90)).await.unwrap();
            assert_eq!(claim, Claim::Done, "{state:?} {number}");
        }
    }
    let parked =
        postrider::model::Delivery { state: DeliveryState::Parked, ..blank(&tenant_id(), some_webhook()) };
    assert!(world.store.park(&parked, 0).await.unwrap());
    assert_eq!(world.store.claim(&parked, 1, now(), now() + secs(90)).await.unwrap(), Claim::Done);
}

async fn the_next_attempt_is_claimed_as_the_record_left_it(world: &World) {
    let store = &*world.store;
    let (delivery, start) = (blank(&tenant_id(), some_webhook()), now());
    store.claim(&delivery, 1, start, start + secs(90)).await.unwrap();
    let first = attempted(&delivery, DeliveryState::Pending, Some(start + secs(30)));
    assert!(store.record(&first, Some(start + secs(30))).await.unwrap());
    // The first one's lease holds nobody up: its attempt is made.
    let claim = store.claim(&delivery, 2, start + secs(30), start + secs(120)).await.unwrap();
    assert_eq!(claim, Claim::Taken(Box::new(first)));
    let claim = store.claim(&delivery, 2, start + secs(31), start + secs(121)).await.unwrap();
    assert_eq!(claim, Claim::Busy);
}

async fn what_was_claimed_is_recorded_once(world: &World) {
    let store = &*world.store;
    let (delivery, start) = (blank(&tenant_id(), some_webhook()), now());
    store.claim(&delivery, 1, start, start + secs(90)).await.unwrap();
    // The first claimer is slow, and its attempt is taken by another.
    store.claim(&delivery, 1, start + secs(90), start + secs(180)).await.unwrap();
    let (late, other) = (
        attempted(&delivery, DeliveryState::Pending, None),
        attempted(&delivery, DeliveryState::Delivered, None),
    );
    assert!(store.record(&other, None).await.unwrap());
    assert!(!store.record(&late, Some(start)).await.unwrap());
    assert_eq!(store.delivery(&delivery.tenant, delivery.id).await.unwrap(), Some(other));
    assert_eq!(store.due(start + secs(1000), start + secs(1100), 10).await.unwrap(), []);
}

async fn what_a_dead_claimer_left_comes_due(world: &World) {
    let store = &*world.store;
    let (delivery, start) = (blank(&tenant_id(), some_webhook()), now());
    let lease = start + secs(90);
    store.claim(&delivery, 1, start, lease).await.unwrap();
    assert_eq!(store.due(lease - secs(1), lease + secs(90), 10).await.unwrap(), [], "it may still be alive");
    let found = store.due(lease + secs(120), lease + secs(210), 10).await.unwrap();
    let [hint] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&hint.tenant, &hint.event, hint.delivery), (&delivery.tenant, &delivery.event, delivery.id));
    assert_eq!((hint.attempt, hint.fresh_at), (1, None), "its attempt was not made");
    let claim = store.claim(&delivery, 1, lease + secs(121), lease + secs(211)).await.unwrap();
    assert_eq!(claim, Claim::Taken(Box::new(delivery)));
}

async fn what_was_claimed_and_recorded_does_not_come_due(world: &World) {
    let store = &*world.store;
    let (delivery, start) = (blank(&tenant_id(), some_webhook()), now());
    store.claim(&delivery, 1, start, start + secs(90)).await.unwrap();
    assert!(store.record(&attempted(&delivery, DeliveryState::Delivered, None), None).await.unwrap());
    assert_eq!(store.due(start + secs(10_000), start + secs(10_090), 10).await.unwrap(), []);
}

//! The record of attempts, and what of it is due.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use postrider::model::{Delivery, DeliveryId, DeliveryState, Tally};

use super::{
    World, on_every_engine,
    samples::{attempted, blank, millis, now, secs, some_webhook, tenant_id},
};

on_every_engine!(
    the_deliveries_of_a_webhook_are_numbered_without_a_gap,
    deliveries_numbered_at_once_have_places_of_their_own,
    a_delivery_is_found_as_it_was_recorded,
    an_attempt_is_recorded_once,
    of_many_that_record_an_attempt_one_does,
    a_long_record_is_kept_whole,
    a_long_record_of_control_characters_is_kept,
    a_parked_delivery_is_kept_without_an_attempt,
    what_is_settled_is_never_due,
    a_due_attempt_is_due_from_its_time_on,
    what_was_taken_is_not_due_before_its_lease,
    no_more_is_due_than_was_asked_for,
    of_many_that_ask_one_gets_what_is_due,
    a_record_takes_back_what_was_due,
    a_tally_counts_what_was_sent_and_knows_the_last_failure,
);

async fn recorded(world: &World, delivery: &Delivery, due: Option<jiff::Timestamp>) {
    assert!(world.store.record(delivery, due).await.unwrap());
}

async fn found(world: &World, delivery: &Delivery) -> Option<Delivery> {
    world.store.delivery(&delivery.tenant, delivery.id).await.unwrap()
}

async fn a_delivery_is_found_as_it_was_recorded(world: &World) {
    let mut delivery = blank(&tenant_id(), some_webhook());
    assert_eq!(found(world, &delivery).await, None);
    let next = now() + secs(30);
    for (state, next) in [(DeliveryState::Pending, Some(next)), (DeliveryState::Delivered, None)] {
        delivery = attempted(&delivery, state, next);
        recorded(world, &delivery, next).await;
        assert_eq!(found(world, &delivery).await.as_ref(), Some(&delivery));
        assert_eq!(found(&world.next_process(), &delivery).await.as_ref(), Some(&delivery));
    }
    let failed = attempted(&blank(&tenant_id(), some_webhook()), DeliveryState::Failed, None);
    recorded(world, &failed, None).await;
    assert_eq!(found(world, &failed).await, Some(failed));
}

async fn an_attempt_is_recorded_once(world: &World) {
    let delivery = blank(&tenant_id(), some_webhook());
    let next = now() + secs(30);
    let first = attempted(&delivery, DeliveryState::Pending, Some(next));
    let same = attempted(&delivery, DeliveryState::Delivered, None);
    recorded(world, &first, Some(next)).await;
    assert!(!world.store.record(&same, None).await.unwrap());
    assert_eq!(found(world, &delivery).await, Some(first.clone()));

    let second = attempted(&first, DeliveryState::Delivered, None);
    recorded(world, &second, None).await;
    assert!(!world.store.record(&same, None).await.unwrap());
    assert!(!world.store.record(&attempted(&first, DeliveryState::Failed, None), None).await.unwrap());
    assert_eq!(found(world, &delivery).await, Some(second));
}

async fn of_many_that_record_an_attempt_one_does(world: &World) {
    let delivery = blank(&tenant_id(), some_webhook());
    let made: Vec<_> = (0..20).map(|_| attempted(&delivery, DeliveryState::Delivered, None)).collect();
    let recorded = try_join_all(made.iter().map(|made| world.store.record(made, None))).await.unwrap();
    assert_eq!(recorded.iter().filter(|recorded| **recorded).count(), 1);
    let first = recorded.iter().position(|recorded| *recorded).unwrap();
    assert_eq!(found(world, &delivery).await.as_ref(), Some(&made[first]));
}

async fn a_long_record_is_kept_whole(world: &World) {
    long_record(world, "x").await;
}

/// Each takes six bytes of JSON: what counts is how long a record is where it is kept.
async fn a_long_record_of_control_characters_is_kept(world: &World) {
    long_record(world, "\u{1}").await;
}

/// Records a delivery with as many attempts, and as much of their answers, as are kept.
async fn long_record(world: &World, character: &str) {
    let mut delivery = blank(&tenant_id(), some_webhook());
    for _ in 0..60 {
        delivery = attempted(&delivery, DeliveryState::Pending, Some(now()));
        let reply = delivery.attempts.last_mut().unwrap().reply.as_mut().unwrap();
        reply.body = character.repeat(5_000);
    }
    delivery = attempted(&delivery, DeliveryState::Pending, Some(now()));
    // An attempt follows the one before it.
    for count in 1..delivery.attempt_count {
        let short = Delivery { attempt_count: count, attempts: Vec::new(), ..delivery.clone() };
        recorded(world, &short, None).await;
    }
    recorded(world, &delivery, None).await;
    assert_eq!(found(world, &delivery).await, Some(delivery));
}

async fn a_parked_delivery_is_kept_without_an_attempt(world: &World) {
    let start = now();
    let place = Some(start - secs(7));
    let blank_one = blank(&tenant_id(), some_webhook());
    let parked = Delivery { state: DeliveryState::Parked, parked_at: place, probes: 3, ..blank_one };
    assert!(world.store.park(&parked, 0).await.unwrap());
    assert_eq!(found(world, &parked).await.as_ref(), Some(&parked));

    let tried = attempted(&blank(&tenant_id(), some_webhook()), DeliveryState::Pending, Some(start));
    recorded(world, &tried, Some(start)).await;
    let parked = Delivery { state: DeliveryState::Parked, next_attempt_at: None, parked_at: place, ..tried };
    assert!(world.store.park(&parked, 1).await.unwrap());
    assert_eq!(found(world, &parked).await.as_ref(), Some(&parked));
    assert_eq!(world.store.due(start + secs(1000), start + secs(1090), 10).await.unwrap(), []);

    let late = attempted(&blank(&tenant_id(), some_webhook()), DeliveryState::Delivered, None);
    recorded(world, &late, None).await;
    let stale =
        Delivery { state: DeliveryState::Parked, attempt_count: 0, attempts: Vec::new(), ..late.clone() };
    assert!(!world.store.park(&stale, 0).await.unwrap(), "parking undoes no attempt");
    assert_eq!(found(world, &late).await.as_ref(), Some(&late));

    // An attempt may be what it is parked after.
    let probed = Delivery { state: DeliveryState::Parked, parked_at: place, ..late };
    let fresh = Delivery { id: blank(&tenant_id(), some_webhook()).id, ..probed };
    assert!(world.store.park(&fresh, 0).await.unwrap());
    assert_eq!(found(world, &fresh).await.as_ref(), Some(&fresh));
    assert!(!world.store.park(&Delivery { probes: 9, ..fresh.clone() }, 0).await.unwrap(), "once");
    assert_eq!(found(world, &fresh).await, Some(fresh));
}

async fn what_is_settled_is_never_due(world: &World) {
    let start = now();
    for state in [DeliveryState::Delivered, DeliveryState::Failed] {
        recorded(world, &attempted(&blank(&tenant_id(), some_webhook()), state, None), None).await;
    }
    assert_eq!(world.store.due(start + secs(86_400), start + secs(86_490), 10).await.unwrap(), []);
}

async fn a_due_attempt_is_due_from_its_time_on(world: &World) {
    let start = now();
    let due = start + secs(30);
    let once = attempted(&blank(&tenant_id(), some_webhook()), DeliveryState::Pending, Some(due));
    recorded(world, &once, Some(due)).await;
    let twice = attempted(&once, DeliveryState::Pending, Some(due));
    recorded(world, &twice, Some(due)).await;
    assert_eq!(world.store.due(due - millis(1), due + secs(90), 10).await.unwrap(), []);
    let hints = world.store.due(due, due + secs(90), 10).await.unwrap();
    let [hint] = &hints[..] else { panic!("{hints:?}") };
    assert_eq!(*hint, postrider::hint::Hint::next(&twice));
    assert_eq!((hint.attempt, hint.fresh_at), (3, None));
}

async fn what_was_taken_is_not_due_before_its_lease(world: &World) {
    let due = now();
    let lease = due + secs(90);
    recorded(
        world,
        &attempted(&blank(&tenant_id(), some_webhook()), DeliveryState::Pending, Some(due)),
        Some(due),
    )
    .await;
    let taken = world.store.due(due, lease, 10).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(world.store.due(due, lease, 10).await.unwrap(), []);
    assert_eq!(world.store.due(lease - millis(1), lease + secs(90), 10).await.unwrap(), []);
    assert_eq!(world.store.due(lease, lease + secs(90), 10).await.unwrap(), taken);
}

async fn no_more_is_due_than_was_asked_for(world: &World) {
    let (due, webhook, tenant) = (now(), some_webhook(), tenant_id());
    let mut left = BTreeMap::new();
    for _ in 0..40 {
        let delivery = attempted(&blank(&tenant, webhook), DeliveryState::Pending, Some(due));
        recorded(world, &delivery, Some(due)).await;
        left.insert(delivery.id, delivery.attempt_count + 1);
    }
    while !left.is_empty() {
        let hints = world.store.due(due, due + secs(90), 7).await.unwrap();
        assert!((1..=7).contains(&hints.len()), "{}", hints.len());
        for hint in hints {
            assert_eq!(left.remove(&hint.delivery), Some(hint.attempt), "each once");
        }
    }
    assert_eq!(world.store.due(due, due + secs(90), 7).await.unwrap(), []);
}

async fn of_many_that_ask_one_gets_what_is_due(world: &World) {
    let due = now();
    let mut ids: Vec<DeliveryId> = Vec::new();
    for _ in 0..10 {
        let delivery = attempted(&blank(&tenant_id(), some_webhook()), DeliveryState::Pending, Some(due));
        recorded(world, &delivery, Some(due)).await;
        ids.push(delivery.id);
    }
    let asked = (0..8).map(|_| world.store.due(due, due + secs(90), 1000));
    let mut found: Vec<_> =
        try_join_all(asked).await.unwrap().concat().into_iter().map(|hint| hint.delivery).collect();
    found.sort_unstable();
    ids.sort_unstable();
    assert_eq!(found, ids);
}

async fn a_record_takes_back_what_was_due(world: &World) {
    let due = now();
    let first = attempted(&blank(&tenant_id(), some_webhook()), DeliveryState::Pending, Some(due));
    recorded(world, &first, Some(due)).await;
    let second = attempted(&first, DeliveryState::Pending, Some(due + secs(600)));
    recorded(world, &second, Some(due + secs(600))).await;
    assert_eq!(world.store.due(due + secs(599), due + secs(690), 10).await.unwrap(), []);
    recorded(world, &attempted(&second, DeliveryState::Delivered, None), None).await;
    assert_eq!(world.store.due(due + secs(6000), due + secs(6090), 10).await.unwrap(), []);
}

async fn the_deliveries_of_a_webhook_are_numbered_without_a_gap(world: &World) {
    let store = &*world.store;
    let (webhook, other) = (some_webhook(), some_webhook());
    let ids: Vec<_> = (0..3).map(|_| blank(&tenant_id(), webhook).id).collect();
    for (n, id) in ids.iter().enumerate() {
        for _ in 0..2 {
            assert_eq!(store.sequence(*id).await.unwrap(), n as u64 + 1);
        }
    }
    assert_eq!(store.sequence(blank(&tenant_id(), other).id).await.unwrap(), 1);
    assert_eq!(world.next_process().store.sequence(ids[1]).await.unwrap(), 2, "it is on disk");
}

async fn deliveries_numbered_at_once_have_places_of_their_own(world: &World) {
    let store = &*world.store;
    let webhook = some_webhook();
    let ids: Vec<_> = (0..8).map(|_| blank(&tenant_id(), webhook).id).collect();
    let places = ids.iter().chain(&ids).map(|id| store.sequence(*id));
    let mut places = futures::future::try_join_all(places).await.unwrap();
    assert_eq!(places[..8], places[8..], "asked twice, the same");
    places.truncate(8);
    places.sort_unstable();
    assert_eq!(places, (1..=8).collect::<Vec<_>>());
}

async fn a_tally_counts_what_was_sent_and_knows_the_last_failure(world: &World) {
    let (webhook, other, silent) = (some_webhook(), some_webhook(), some_webhook());
    let (first, last) = (now(), now() + secs(7));
    for (to, sent, failed_at) in [
        (webhook, 1, None),
        (webhook, 1, Some(first)),
        (other, 0, Some(first)),
        (webhook, 0, Some(last)),
        (webhook, 1, None),
    ] {
        world.store.add_to_tally(to, Tally { sent, failed_at }).await.unwrap();
    }
    let expected = [
        Tally { sent: 3, failed_at: Some(last) },
        Tally::default(),
        Tally { sent: 0, failed_at: Some(first) },
    ];
    for world in [world, &world.next_process()] {
        assert_eq!(world.store.tallies(&[webhook, silent, other]).await.unwrap(), expected);
    }
    assert_eq!(world.store.tallies(&[]).await.unwrap(), []);
    let many: Vec<_> = (0..120).map(|_| some_webhook()).chain([webhook]).collect();
    assert_eq!(world.store.tallies(&many).await.unwrap()[120], expected[0]);
}

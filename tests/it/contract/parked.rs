//! Parked deliveries, and the webhooks whose backlog is on its way.

use std::time::Duration;

use postrider::{
    hint::Hint,
    model::{Delivery, DeliveryState, TenantId, WebhookId},
    ports::Claim,
};
use postrider_tests::poll;

use super::{
    World, on_every_engine,
    samples::{attempted, blank_at, millis, now, secs, some_webhook, tenant_id},
};

on_every_engine!(
    what_is_released_is_the_oldest_and_can_be_attempted,
    what_is_given_up_stays_on_record,
    what_went_behind_the_others_is_released_after_them,
    nobody_releases_anothers,
    two_releases_at_once_release_nothing_twice,
    a_webhook_is_looked_at_from_its_time_on,
);

/// Parks deliveries of events of so many moments, not in their order; by age.
async fn park(world: &World, tenant: &TenantId, webhook: WebhookId, count: i64) -> Vec<Delivery> {
    let start = now() - secs(1000);
    let mut parked = Vec::new();
    for n in 0..count {
        let blank = blank_at(tenant, webhook, start + millis((n * 7) % count));
        parked.push(Delivery { state: DeliveryState::Parked, parked_at: Some(blank.created_at), ..blank });
    }
    for delivery in &parked {
        assert!(world.store.park(delivery, 0).await.unwrap());
    }
    parked.sort_by_key(|delivery| delivery.id.event);
    parked
}

/// What is released, once the index tells of it: it may be a moment behind.
async fn released(world: &World, delivery: &Delivery, limit: usize, expected: usize) -> Vec<Hint> {
    let mut all = Vec::new();
    for _ in 0..50 {
        let (tenant, webhook) = (&delivery.tenant, delivery.id.webhook);
        let due = now() + secs(90);
        let some = world.store.release(tenant, webhook, due, limit - all.len()).await.unwrap();
        all.extend(some);
        if all.len() >= expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all
}

async fn what_is_released_is_the_oldest_and_can_be_attempted(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let parked = park(world, &tenant, webhook, 5).await;
    assert_eq!(world.store.parked(webhook, 100).await.unwrap(), 5);
    assert_eq!(world.store.parked(webhook, 3).await.unwrap(), 3, "no further than asked");
    let start = now();
    assert_eq!(world.store.due(start + secs(86_400), start + secs(86_490), 10).await.unwrap(), []);

    let hints = released(world, &parked[0], 2, 2).await;
    assert_eq!(hints, [Hint::next(&parked[0]), Hint::next(&parked[1])]);
    assert_eq!(world.store.parked(webhook, 100).await.unwrap(), 3);
    let hint = &hints[0];
    let claim = world.store.claim(&parked[0], hint.attempt, start, start + secs(90)).await.unwrap();
    let Claim::Taken(taken) = claim else { panic!("{claim:?}") };
    assert_eq!(*taken, Delivery { state: DeliveryState::Pending, ..parked[0].clone() });
    assert!(world.store.record(&attempted(&taken, DeliveryState::Delivered, None), None).await.unwrap());
    // The other's message got lost: it comes due.
    let due = world.store.due(start + secs(200), start + secs(290), 10).await.unwrap();
    assert_eq!(due, [Hint::next(&parked[1])]);

    let rest = released(world, &parked[0], 10, 3).await;
    assert_eq!(rest, parked[2..].iter().map(Hint::next).collect::<Vec<_>>());
    assert_eq!(world.store.release(&tenant, webhook, start, 10).await.unwrap(), []);
    assert_eq!(world.store.parked(webhook, 100).await.unwrap(), 0);
}

async fn what_is_given_up_stays_on_record(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let parked = park(world, &tenant, webhook, 4).await;
    assert_eq!(world.store.discard(&tenant, webhook, 3).await.unwrap(), 3);
    let left = released(world, &parked[0], 10, 1).await;
    assert_eq!(left, [Hint::next(&parked[3])], "the oldest went first");
    assert_eq!(world.store.discard(&tenant, webhook, 3).await.unwrap(), 0);
    for delivery in &parked[..3] {
        let kept = world.store.delivery(&tenant, delivery.id).await.unwrap();
        assert_eq!(kept, Some(Delivery { state: DeliveryState::Discarded, ..delivery.clone() }));
        let claim = world.store.claim(delivery, 1, now(), now() + secs(90)).await.unwrap();
        assert_eq!(claim, Claim::Done);
    }
    let start = now();
    let due = world.store.due(start + secs(200), start + secs(290), 10).await.unwrap();
    assert_eq!(due, left);
}

async fn what_went_behind_the_others_is_released_after_them(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let parked = park(world, &tenant, webhook, 3).await;
    let first = released(world, &parked[0], 1, 1).await;
    assert_eq!(first, [Hint::next(&parked[0])]);
    let tried = attempted(&parked[0], DeliveryState::Parked, None);
    let behind = Delivery { parked_at: Some(now()), probes: 1, ..tried };
    assert!(world.store.park(&behind, 0).await.unwrap());
    let rest = released(world, &parked[0], 3, 3).await;
    assert_eq!(rest, [Hint::next(&parked[1]), Hint::next(&parked[2]), Hint::next(&behind)]);
}

async fn nobody_releases_anothers(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    park(world, &tenant, webhook, 2).await;
    let stranger = tenant_id();
    assert_eq!(world.store.release(&stranger, webhook, now(), 10).await.unwrap(), []);
    assert_eq!(world.store.discard(&stranger, webhook, 10).await.unwrap(), 0);
    assert_eq!(world.store.release(&tenant, some_webhook(), now(), 10).await.unwrap(), []);
    assert_eq!(world.store.parked(webhook, 10).await.unwrap(), 2);
}

async fn two_releases_at_once_release_nothing_twice(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let parked = park(world, &tenant, webhook, 8).await;
    let release = || world.store.release(&tenant, webhook, now() + secs(90), 8);
    let (a, b, c) = futures::join!(release(), release(), release());
    let mut all: Vec<_> = [a, b, c].into_iter().flat_map(Result::unwrap).collect();
    all.extend(released(world, &parked[0], 8, 0).await);
    all.sort_by_key(|hint| hint.delivery.event);
    assert_eq!(all, parked.iter().map(Hint::next).collect::<Vec<_>>());
}

async fn a_webhook_is_looked_at_from_its_time_on(world: &World) {
    let (tenant, webhook, other) = (tenant_id(), some_webhook(), some_webhook());
    let start = now();
    world.store.look_at(&tenant, webhook, start + secs(1)).await.unwrap();
    world.store.look_at(&tenant, webhook, start + secs(10)).await.unwrap();
    world.store.look_at(&tenant, other, start + secs(20)).await.unwrap();
    let look =
        async |at: i64| world.store.to_look_at(start + secs(at), start + secs(at + 60), 10).await.unwrap();
    assert_eq!(look(9).await, [], "the latest time counts");
    let found = poll::until(poll::SOON, "it is time", || async {
        Some(look(15).await).filter(|found| !found.is_empty())
    });
    assert_eq!(found.await, [(tenant.clone(), webhook)]);
    assert_eq!(look(16).await, [], "nobody else looks before the lease ends");
    assert_eq!(look(30).await, [(tenant.clone(), other)]);
    world.store.look_no_more(webhook).await.unwrap();
    world.store.look_no_more(webhook).await.unwrap();
    assert_eq!(look(80).await, []);
    assert_eq!(look(95).await, [(tenant, other)]);
}

//! Parked deliveries that their receiver fetches.

use postrider::model::{
    Attempt, Delivery, DeliveryId, DeliveryState, KeptHeaders, Phases, TenantId, WebhookId,
};
use postrider_tests::poll;

use super::{
    World, on_every_engine,
    samples::{attempted, blank_at, millis, now, secs, some_webhook, tenant_id},
};

on_every_engine!(
    what_waits_is_handed_out_in_order_and_stays,
    what_was_received_is_delivered_and_no_more,
    what_comes_later_with_a_smaller_number_waits,
    nobody_receives_anothers,
);

/// Parks deliveries of events of these moments, in milliseconds; as they came.
async fn park(world: &World, tenant: &TenantId, webhook: WebhookId, moments: &[i64]) -> Vec<Delivery> {
    let start = now() - secs(1000);
    let mut parked = Vec::new();
    for moment in moments {
        let blank = blank_at(tenant, webhook, start + millis(*moment));
        let one = Delivery { state: DeliveryState::Parked, parked_at: Some(blank.created_at), ..blank };
        assert!(world.store.park(&one, 0).await.unwrap());
        parked.push(one);
    }
    parked
}

fn receipt() -> Attempt {
    let phases = Phases::default();
    Attempt {
        number: 1,
        at: now(),
        phases,
        address: None,
        sent_headers: KeptHeaders::default(),
        failure: None,
        detail: None,
        reply: None,
    }
}

/// What waits, once the index tells of `count`: it may be a moment behind.
async fn waiting(world: &World, tenant: &TenantId, webhook: WebhookId, count: usize) -> Vec<Delivery> {
    let found = poll::until(poll::SOON, "the index tells what waits", || async {
        let found = world.store.waiting(tenant, webhook, 100).await.unwrap();
        (found.len() == count).then_some(found)
    });
    found.await
}

async fn what_waits_is_handed_out_in_order_and_stays(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let mut parked = park(world, &tenant, webhook, &[30, 10, 50, 20, 40]).await;
    park(world, &tenant, some_webhook(), &[5]).await;
    let settled = attempted(&blank_at(&tenant, webhook, now()), DeliveryState::Delivered, None);
    assert!(world.store.record(&settled, None).await.unwrap());
    parked.sort_by_key(|one| one.id.event);
    for _ in 0..2 {
        assert_eq!(waiting(world, &tenant, webhook, 5).await, parked);
        assert_eq!(world.store.waiting(&tenant, webhook, 3).await.unwrap(), parked[..3]);
    }
    assert_eq!(world.store.waiting(&tenant, some_webhook(), 3).await.unwrap(), []);
}

async fn what_was_received_is_delivered_and_no_more(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let parked = park(world, &tenant, webhook, &[10, 20, 30, 40]).await;
    assert_eq!(waiting(world, &tenant, webhook, 4).await, parked);
    let (first, again) = (receipt(), Attempt { at: now() + secs(1), ..receipt() });
    let had: Vec<DeliveryId> = parked[..2].iter().map(|one| one.id).collect();
    world.store.acknowledge(&tenant, &had, &first).await.unwrap();
    // What was just received is not handed out again, whatever an index still says.
    assert_eq!(world.store.waiting(&tenant, webhook, 1).await.unwrap(), parked[2..3]);
    assert_eq!(world.store.waiting(&tenant, webhook, 100).await.unwrap(), parked[2..]);
    // The same again, with one of which nothing is known.
    let unknown = blank_at(&tenant, webhook, now()).id;
    world.store.acknowledge(&tenant, &[had[0], unknown, had[1]], &again).await.unwrap();
    assert_eq!(world.store.delivery(&tenant, unknown).await.unwrap(), None);
    for one in &parked[..2] {
        let mut expected = Delivery { state: DeliveryState::Delivered, ..one.clone() };
        expected.add(first.clone());
        assert_eq!(world.store.delivery(&tenant, one.id).await.unwrap(), Some(expected), "it was at first");
    }
    let start = now();
    assert_eq!(world.store.due(start + secs(86_400), start + secs(86_490), 10).await.unwrap(), []);
    assert_eq!(world.store.discard(&tenant, webhook, 10).await.unwrap(), 2);
    // What was given up meanwhile is not received.
    world.store.acknowledge(&tenant, &[parked[2].id], &again).await.unwrap();
    let kept = world.store.delivery(&tenant, parked[2].id).await.unwrap();
    assert_eq!(kept, Some(Delivery { state: DeliveryState::Discarded, ..parked[2].clone() }));
}

async fn what_comes_later_with_a_smaller_number_waits(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let parked = park(world, &tenant, webhook, &[10, 30]).await;
    assert_eq!(waiting(world, &tenant, webhook, 2).await, parked);
    let late = park(world, &tenant, webhook, &[20]).await;
    let had: Vec<DeliveryId> = parked.iter().map(|one| one.id).collect();
    world.store.acknowledge(&tenant, &had, &receipt()).await.unwrap();
    assert_eq!(waiting(world, &tenant, webhook, 1).await, late);
}

async fn nobody_receives_anothers(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let parked = park(world, &tenant, webhook, &[10]).await;
    let stranger = tenant_id();
    assert_eq!(waiting(world, &tenant, webhook, 1).await, parked);
    assert_eq!(world.store.waiting(&stranger, webhook, 10).await.unwrap(), []);
    world.store.acknowledge(&stranger, &[parked[0].id], &receipt()).await.unwrap();
    assert_eq!(world.store.waiting(&tenant, webhook, 10).await.unwrap(), parked);
}

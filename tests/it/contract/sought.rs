//! Which of a webhook's deliveries are found by what is sought of them.

use futures::{StreamExt, stream};
use postrider::{
    model::{Delivery, DeliveryState, TenantId, WebhookId},
    operation::{PageRequest, Sought},
};

use super::{
    World, on_every_engine,
    samples::{all, attempted, blank_at, millis, now, secs, some_webhook, tenant_id, topic},
};

on_every_engine!(
    deliveries_are_found_by_state_topic_and_time,
    what_is_sought_is_found_page_by_page,
    a_page_ends_among_many_others_and_goes_on_after_them,
);

const STATES: [DeliveryState; 3] = [DeliveryState::Delivered, DeliveryState::Failed, DeliveryState::Parked];

/// Puts twelve deliveries into the store, a second apart, of two topics and three states; the newest first.
async fn kept(world: &World, tenant: &TenantId, webhook: WebhookId) -> Vec<Delivery> {
    let start = now();
    let mut kept = Vec::new();
    for age in 0..12 {
        let mut blank = blank_at(tenant, webhook, start - secs(age));
        if age % 2 == 1 {
            blank.topic = topic("order.paid");
        }
        let delivery = attempted(&blank, STATES[usize::try_from(age % 3).unwrap()], None);
        assert!(world.store.park(&delivery, 0).await.unwrap());
        kept.push(delivery);
    }
    kept
}

/// All that is found of what is sought, in pages of `limit`.
async fn found(world: &World, of: (&TenantId, WebhookId), sought: &Sought, limit: usize) -> Vec<Delivery> {
    let mut page = PageRequest::first(limit);
    let mut found = Vec::new();
    loop {
        let part = world.store.deliveries(of.0, of.1, sought, &page).await.unwrap();
        assert!(part.items.len() <= limit);
        found.extend(part.items);
        match part.next {
            Some(after) => page.after = Some(after),
            None => return found,
        }
    }
}

fn all_that_may_be_sought(kept: &[Delivery]) -> Vec<Sought> {
    let (middle, other) = (kept[6].created_at, Sought::default());
    let mut all = vec![
        other.clone(),
        Sought { topic: Some(topic("order.paid")), ..other.clone() },
        Sought { topic: Some(topic("order.unheard")), ..other.clone() },
        Sought { since: Some(middle), ..other.clone() },
        Sought { since: Some(middle + millis(1)), ..other.clone() },
        Sought { until: Some(middle), ..other.clone() },
        Sought { until: Some(middle + millis(1)), ..other.clone() },
        Sought { since: Some(kept[9].created_at), until: Some(kept[2].created_at), ..other.clone() },
        Sought { since: Some(now() + secs(60)), ..other.clone() },
        Sought { until: Some(jiff::Timestamp::UNIX_EPOCH - secs(60)), ..other },
    ];
    let state = |state| Sought { state: Some(state), ..Sought::default() };
    all.extend(STATES.map(state));
    all.push(Sought {
        state: Some(DeliveryState::Failed),
        topic: Some(topic("order.paid")),
        since: Some(kept[9].created_at),
        until: Some(kept[1].created_at),
    });
    all.push(state(DeliveryState::Discarded));
    all
}

async fn deliveries_are_found_by_state_topic_and_time(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let kept = kept(world, &tenant, webhook).await;
    for sought in all_that_may_be_sought(&kept) {
        let fits = |delivery: &&Delivery| {
            sought.state.is_none_or(|state| state == delivery.state)
                && sought.topic.as_ref().is_none_or(|topic| *topic == delivery.topic)
                && sought.since.is_none_or(|since| delivery.created_at >= since)
                && sought.until.is_none_or(|until| delivery.created_at < until)
        };
        let expected: Vec<_> = kept.iter().filter(fits).cloned().collect();
        let found = world.store.deliveries(&tenant, webhook, &sought, &all()).await.unwrap();
        assert_eq!((found.items, found.next), (expected, None), "{sought:?}");
        let foreign = world.store.deliveries(&tenant_id(), webhook, &sought, &all()).await.unwrap();
        assert_eq!(foreign.items, [], "{sought:?}");
    }
}

async fn what_is_sought_is_found_page_by_page(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let kept = kept(world, &tenant, webhook).await;
    for sought in all_that_may_be_sought(&kept) {
        let whole = found(world, (&tenant, webhook), &sought, 100).await;
        for limit in [1, 2, 5] {
            assert_eq!(
                found(world, (&tenant, webhook), &sought, limit).await,
                whole,
                "{limit} of {sought:?}"
            );
        }
    }
    // A cursor of one list may be used with another: it is a place among all of them.
    let of = |state| Sought { state: Some(state), ..Sought::default() };
    let sought = of(DeliveryState::Delivered);
    let first = world.store.deliveries(&tenant, webhook, &sought, &PageRequest::first(2)).await.unwrap();
    let page = PageRequest { after: first.next, limit: 100 };
    let rest = world.store.deliveries(&tenant, webhook, &of(DeliveryState::Failed), &page).await.unwrap();
    assert_eq!(rest.items, [kept[4].clone(), kept[7].clone(), kept[10].clone()]);
}

async fn a_page_ends_among_many_others_and_goes_on_after_them(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let start = now();
    let at = |age: i64| blank_at(&tenant, webhook, start - millis(age));
    let others = i64::try_from(Sought::PASSED_OVER).unwrap() + 50;
    let state = |age| if age == others { DeliveryState::Failed } else { DeliveryState::Delivered };
    let all: Vec<_> = (0..=others).map(|age| attempted(&at(age), state(age), None)).collect();
    let record = stream::iter(&all).map(|delivery| world.store.record(delivery, None)).buffer_unordered(64);
    assert!(record.all(async |recorded| recorded.unwrap()).await);
    let sought = Sought { state: Some(DeliveryState::Failed), ..Sought::default() };
    let page = world.store.deliveries(&tenant, webhook, &sought, &PageRequest::first(10)).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_some(), "it looks at so many and no more");
    assert_eq!(found(world, (&tenant, webhook), &sought, 10).await, all[all.len() - 1..]);
}

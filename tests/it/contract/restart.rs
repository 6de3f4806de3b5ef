//! What a process that starts later finds.

use std::{sync::Arc, time::Duration};

use postrider::{hint::Hint, model::DeliveryState, ports::Sending};
use postrider_tests::poll::{SOON, until};

use super::{
    World, on_every_engine,
    samples::{all, attempted, event_at, kept_tenant, kept_webhook, millis, now, secs, subscribers},
};

on_every_engine!(
    what_was_answered_is_there_for_the_next_process,
    a_queued_message_is_there_for_the_next_process
);

async fn what_was_answered_is_there_for_the_next_process(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let webhook = kept_webhook(store, &tenant, &["order.created"]).await;
    let event = Arc::new(event_at(&tenant, &[webhook.id], now() - secs(60)));
    assert!(store.accept(std::slice::from_ref(&event)).await.iter().all(Result::is_ok));

    let next = world.next_process();
    assert_eq!(next.store.tenant(&tenant).await.unwrap(), store.tenant(&tenant).await.unwrap());
    assert_eq!(
        next.store.webhooks(&tenant, None, &all()).await.unwrap().items[..],
        *std::slice::from_ref(&webhook)
    );
    let found = subscribers(&*next.store, &tenant, "order.created").await;
    assert_eq!(found.as_deref(), Some(&[webhook.id][..]));
    assert_eq!(next.store.event(&tenant, &event.id).await.unwrap(), Some(event.clone()));
    let hint = Hint::again(&event, webhook.id);
    let (from, page) = (event.accepted_at, all());
    let stranded = next.store.stranded(from, from + millis(1), &page).await.unwrap();
    assert_eq!(stranded.items[..], *std::slice::from_ref(&hint));

    // And the other way: what the next process records, this one finds.
    let due = now();
    let delivery = attempted(&hint.blank(&event), DeliveryState::Pending, Some(due));
    assert!(next.store.record(&delivery, Some(due)).await.unwrap());
    assert_eq!(store.delivery(&tenant, delivery.id).await.unwrap(), Some(delivery.clone()));
    assert_eq!(store.due(due, due + secs(90), 10).await.unwrap(), [Hint::next(&delivery)]);
}

async fn a_queued_message_is_there_for_the_next_process(world: &World) {
    let event = event_at(&postrider::model::TenantId::try_from("acme".to_owned()).unwrap(), &[], now());
    let hint = Hint::again(&event, super::samples::some_webhook());
    world.queue.send(vec![Sending { hint: hint.clone(), delay: Duration::ZERO, event: None }]).await.unwrap();
    let next = world.next_process();
    let message = until(SOON, "the message comes", async || next.inbox.receive(1).await.pop()).await;
    assert_eq!(message.hint, hint);
}

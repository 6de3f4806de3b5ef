//! Accepting events, each once.

use std::sync::Arc;

use futures::future::join_all;
use postrider::{
    error::Error,
    model::{Event, MAX_PAYLOAD, Metadata, Payload, Payloads, WebhookId},
    ports::Accepted,
};

use super::{
    World, on_every_engine,
    samples::{event, event_at, now, some_webhook, tenant_id, topic},
};

on_every_engine!(
    an_event_is_found_as_it_was_accepted,
    an_event_may_have_hardly_anything,
    an_event_may_be_as_large_as_can_be,
    an_event_is_accepted_once,
    tenants_do_not_share_event_ids,
    a_batch_is_answered_in_its_order,
    in_a_batch_too_an_id_is_accepted_once,
    of_many_that_publish_an_id_one_is_new,
    nothing_is_accepted_of_nothing,
);

async fn accept(world: &World, events: &[Arc<Event>]) -> Vec<Accepted> {
    world.store.accept(events).await.into_iter().collect::<Result<_, Error>>().unwrap()
}

fn already(event: &Event) -> Accepted {
    Accepted::Already(Box::new(event.clone()))
}

async fn kept(world: &World, event: &Arc<Event>) {
    assert_eq!(accept(world, std::slice::from_ref(event)).await, [Accepted::New]);
    assert_eq!(world.store.event(&event.tenant, &event.id).await.unwrap().as_ref(), Some(event));
    // Not only in a cache.
    let other = world.next_process();
    assert_eq!(other.store.event(&event.tenant, &event.id).await.unwrap().as_ref(), Some(event));
}

async fn an_event_is_found_as_it_was_accepted(world: &World) {
    let tenant = tenant_id();
    let event = event(&tenant, &[some_webhook(), some_webhook()]);
    assert_eq!(world.store.event(&tenant, &event.id).await.unwrap(), None);
    kept(world, &event).await;
}

async fn an_event_may_have_hardly_anything(world: &World) {
    let plain = Event {
        payload: Payload::null(),
        payloads: Payloads::new(),
        metadata: Metadata::new(),
        occurred_at: None,
        ..event_at(&tenant_id(), &[], now())
    };
    kept(world, &Arc::new(plain)).await;
}

async fn an_event_may_be_as_large_as_can_be(world: &World) {
    let webhooks: Vec<WebhookId> = (0..1000).map(|_| some_webhook()).collect();
    let payload = format!("\"{}\"", "x".repeat(MAX_PAYLOAD - 2));
    let large = Event {
        id: "i".repeat(128).parse().unwrap(),
        payload: Payload::from_store(payload.into_bytes()),
        topic: topic(&format!("a.{}", "b".repeat(126))),
        ..event_at(&"t".repeat(64).parse().unwrap(), &webhooks, now())
    };
    kept(world, &Arc::new(large)).await;
}

async fn an_event_is_accepted_once(world: &World) {
    let tenant = tenant_id();
    let first = event(&tenant, &[some_webhook()]);
    assert_eq!(accept(world, std::slice::from_ref(&first)).await, [Accepted::New]);
    let second = Event {
        id: first.id.clone(),
        payload: Payload::null(),
        topic: topic("stock.updated"),
        ..event_at(&tenant, &[some_webhook()], now())
    };
    for _ in 0..2 {
        assert_eq!(accept(world, &[Arc::new(second.clone())]).await, [already(&first)]);
    }
    assert_eq!(world.store.event(&tenant, &first.id).await.unwrap(), Some(first));
}

async fn tenants_do_not_share_event_ids(world: &World) {
    let (mine, theirs) = (event(&tenant_id(), &[some_webhook()]), event_at(&tenant_id(), &[], now()));
    let theirs = Arc::new(Event { id: mine.id.clone(), ..theirs });
    assert_eq!(accept(world, &[mine.clone(), theirs.clone()]).await, [Accepted::New, Accepted::New]);
    assert_eq!(world.store.event(&mine.tenant, &mine.id).await.unwrap(), Some(mine));
    assert_eq!(world.store.event(&theirs.tenant, &theirs.id).await.unwrap(), Some(theirs));
}

async fn a_batch_is_answered_in_its_order(world: &World) {
    let tenant = tenant_id();
    let before: Vec<_> = (0..40).map(|_| event(&tenant, &[])).collect();
    assert_eq!(accept(world, &before).await, vec![Accepted::New; 40]);
    // Every third has been there before.
    let batch: Vec<_> = (0..120)
        .map(|n| {
            let new = event_at(&tenant, &[some_webhook()], now());
            let id = if n % 3 == 0 { before[n / 3].id.clone() } else { new.id.clone() };
            Arc::new(Event { id, ..new })
        })
        .collect();
    let expected: Vec<_> =
        (0..120).map(|n| if n % 3 == 0 { already(&before[n / 3]) } else { Accepted::New }).collect();
    assert_eq!(accept(world, &batch).await, expected);
    for event in batch.iter().skip(1).step_by(3) {
        assert_eq!(world.store.event(&tenant, &event.id).await.unwrap().as_ref(), Some(event));
    }
}

async fn in_a_batch_too_an_id_is_accepted_once(world: &World) {
    let tenant = tenant_id();
    let first = event(&tenant, &[some_webhook()]);
    let again = || Arc::new(Event { id: first.id.clone(), ..event_at(&tenant, &[], now()) });
    let other = event(&tenant, &[]);
    let batch = [first.clone(), again(), other, again()];
    assert_eq!(accept(world, &batch).await, [Accepted::New, already(&first), Accepted::New, already(&first)]);
}

async fn of_many_that_publish_an_id_one_is_new(world: &World) {
    let tenant = tenant_id();
    let id = event(&tenant, &[]).id.clone();
    let events: Vec<_> = (0..50)
        .map(|_| Arc::new(Event { id: id.clone(), ..event_at(&tenant, &[some_webhook()], now()) }))
        .collect();
    let accepted =
        join_all(events.iter().map(|event| accept(world, std::slice::from_ref(event)))).await.concat();
    let kept = world.store.event(&tenant, &id).await.unwrap().unwrap();
    for (event, accepted) in events.iter().zip(&accepted) {
        let expected = if *event == kept { Accepted::New } else { already(&kept) };
        assert_eq!(*accepted, expected);
    }
    assert_eq!(accepted.iter().filter(|accepted| **accepted == Accepted::New).count(), 1);
}

async fn nothing_is_accepted_of_nothing(world: &World) {
    assert_eq!(world.store.accept(&[]).await, []);
}

//! The queue: messages arrive, wait, come again, and die.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use postrider::{
    hint::{Hint, Lane},
    model::{Event, MAX_PAYLOAD, Payload},
    ports::{Accepted, Sending},
};
use postrider_tests::poll::{SOON, until};

use super::{
    MAX_RECEIVES, VISIBILITY, World,
    inbox::Message,
    on_every_engine,
    samples::{event, event_at, now, some_webhook, tenant_id},
};

on_every_engine!(
    what_is_sent_is_received,
    a_large_batch_arrives_whole,
    a_large_event_does_not_hinder_its_hint,
    nothing_is_sent_of_nothing,
    what_is_accepted_is_queued_once_for_each_of_its_webhooks,
    a_delayed_message_waits,
    what_is_deleted_does_not_come_again_and_what_is_not_does,
    a_message_that_is_being_worked_on_is_hidden,
    what_nobody_deletes_becomes_a_dead_letter,
    first_attempts_have_a_lane_of_their_own,
);

fn sending(event: &Arc<Event>, delay: Duration) -> Sending {
    Sending { hint: Hint::fresh(event, event.webhooks[0]), delay, event: Some(event.clone()) }
}

fn sample() -> Arc<Event> {
    event(&tenant_id(), &[some_webhook()])
}

async fn next(world: &World) -> Message {
    let look = async || world.inbox.receive(1).await.pop();
    until(SOON, "a message comes", look).await
}

async fn what_is_sent_is_received(world: &World) {
    let event = sample();
    let (fresh, again) =
        (Hint::fresh(&event, event.webhooks[0]), Hint { attempt: 7, ..Hint::again(&event, some_webhook()) });
    for (hint, inline) in [(fresh, Some(event.clone())), (again, None)] {
        world
            .queue
            .send(vec![Sending { hint: hint.clone(), delay: Duration::ZERO, event: inline }])
            .await
            .unwrap();
        let message = next(world).await;
        assert_eq!((&message.hint, message.received), (&hint, 1));
        if let Some(inline) = &message.event {
            let only = Event { webhooks: Arc::from([hint.delivery.webhook]), ..(*event).clone() };
            assert_eq!(**inline, only, "a queue that carries the event carries it whole");
        }
        world.inbox.delete(&message).await;
    }
}

async fn a_large_batch_arrives_whole(world: &World) {
    let events: Vec<_> = (0..57).map(|_| sample()).collect();
    world.queue.send(events.iter().map(|event| sending(event, Duration::ZERO)).collect()).await.unwrap();
    let mut left: BTreeMap<_, _> = events
        .iter()
        .map(|event| Hint::fresh(event, event.webhooks[0]))
        .map(|hint| (hint.delivery, hint))
        .collect();
    let end = Instant::now() + SOON;
    while !left.is_empty() {
        assert!(Instant::now() < end, "{} did not come", left.len());
        for message in world.inbox.receive(10).await {
            world.inbox.delete(&message).await;
            // On a slow machine one may come again before it is deleted.
            if let Some(hint) = left.remove(&message.hint.delivery) {
                assert_eq!(message.hint, hint);
            }
        }
    }
}

async fn a_large_event_does_not_hinder_its_hint(world: &World) {
    let tenant = tenant_id();
    for size in [50_000, 70_000, MAX_PAYLOAD] {
        let payload = Payload::from_store(format!("\"{}\"", "x".repeat(size - 2)).into_bytes());
        let large: Vec<_> = (0..3)
            .map(|_| {
                Arc::new(Event { payload: payload.clone(), ..event_at(&tenant, &[some_webhook()], now()) })
            })
            .collect();
        world.queue.send(large.iter().map(|event| sending(event, Duration::ZERO)).collect()).await.unwrap();
        for _ in &large {
            let message = next(world).await;
            let sent = large.iter().find(|event| event.uid == message.hint.delivery.event).unwrap();
            assert_eq!(message.hint, Hint::fresh(sent, sent.webhooks[0]));
            assert!(message.event.as_ref().is_none_or(|inline| inline.payload == payload));
            world.inbox.delete(&message).await;
        }
    }
}

async fn nothing_is_sent_of_nothing(world: &World) {
    world.queue.send(Vec::new()).await.unwrap();
    assert_eq!(world.inbox.receive(10).await.len(), 0);
}

async fn what_is_accepted_is_queued_once_for_each_of_its_webhooks(world: &World) {
    let tenant = tenant_id();
    let webhooks = [some_webhook(), some_webhook(), some_webhook()];
    let (wide, nobodys) = (event(&tenant, &webhooks), event(&tenant, &[]));
    let repeated = Arc::new(Event { uid: sample().uid, ..(*wide).clone() });
    let accepted = world.store.accept(&[wide.clone(), nobodys, repeated.clone()]).await;
    assert!(matches!(*accepted, [Ok(Accepted::New), Ok(Accepted::New), Ok(Accepted::Already(_))]));
    assert!(matches!(*world.store.accept(&[repeated]).await, [Ok(Accepted::Already(_))]));

    let mut left: BTreeSet<_> = webhooks.into_iter().collect();
    while !left.is_empty() {
        let message = next(world).await;
        assert_eq!(message.hint, Hint::fresh(&wide, message.hint.delivery.webhook));
        assert!(left.remove(&message.hint.delivery.webhook));
        world.inbox.delete(&message).await;
    }
    assert_eq!(world.inbox.receive(10).await.len(), 0);
}

async fn a_delayed_message_waits(world: &World) {
    let (late, soon) = (sample(), sample());
    let delay = Duration::from_millis(1200);
    let sent = Instant::now();
    world.queue.send(vec![sending(&late, delay), sending(&soon, Duration::ZERO)]).await.unwrap();
    let message = next(world).await;
    assert_eq!(message.hint.delivery.event, soon.uid, "the other need not wait for it");
    world.inbox.delete(&message).await;
    let message = next(world).await;
    assert!(sent.elapsed() >= delay, "{:?}", sent.elapsed());
    assert_eq!((message.hint.delivery.event, message.received), (late.uid, 1));
}

async fn what_is_deleted_does_not_come_again_and_what_is_not_does(world: &World) {
    let (done, left) = (sample(), sample());
    world.queue.send(vec![sending(&done, Duration::ZERO)]).await.unwrap();
    world.inbox.delete(&next(world).await).await;
    world.queue.send(vec![sending(&left, Duration::ZERO)]).await.unwrap();
    let first = next(world).await;
    assert_eq!((first.hint.delivery.event, first.received), (left.uid, 1));
    let again = next(world).await;
    assert_eq!((&again.hint, again.received), (&first.hint, 2));
    world.inbox.delete(&again).await;
    assert_eq!(world.inbox.receive(10).await.len(), 0);
}

async fn a_message_that_is_being_worked_on_is_hidden(world: &World) {
    world.queue.send(vec![sending(&sample(), Duration::ZERO)]).await.unwrap();
    let asked = Instant::now();
    let first = next(world).await;
    let again = next(world).await;
    // Handed out at the earliest when it was asked for, it stays hidden from then on.
    assert!(asked.elapsed() >= VISIBILITY, "{:?}", asked.elapsed());
    assert_eq!(again.hint, first.hint);
}

async fn what_nobody_deletes_becomes_a_dead_letter(world: &World) {
    world.queue.send(vec![sending(&sample(), Duration::ZERO)]).await.unwrap();
    for received in 1..=MAX_RECEIVES {
        assert_eq!(next(world).await.received, received);
        assert!(!world.inbox.has_dead_letter().await);
    }
    let look = async || {
        let came = world.inbox.receive(1).await;
        assert_eq!(came.len(), 0, "it is handed out no more");
        world.inbox.has_dead_letter().await.then_some(())
    };
    until(SOON, "it becomes a dead letter", look).await;
}

async fn first_attempts_have_a_lane_of_their_own(world: &World) {
    let event = sample();
    let fresh = Hint::fresh(&event, event.webhooks[0]);
    let retry = Hint { attempt: 2, fresh_at: None, ..fresh.clone() };
    let released = Hint { released: Some(0), fresh_at: None, ..fresh.clone() };
    for (hint, lane) in [(retry, Lane::Slow), (fresh, Lane::Fast), (released, Lane::Slow)] {
        world
            .queue
            .send(vec![Sending { hint: hint.clone(), delay: Duration::ZERO, event: None }])
            .await
            .unwrap();
        let message = next(world).await;
        assert_eq!((&message.hint, message.lane), (&hint, lane));
        world.inbox.delete(&message).await;
    }
}

//! First attempts that no record shows.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use postrider::{
    hint::Hint,
    model::{Delivery, DeliveryId, DeliveryState, Event},
    operation::PageRequest,
};

use super::{
    World, on_every_engine,
    samples::{attempted, event_at, millis, now, secs, some_webhook, tenant_id},
};

on_every_engine!(
    an_event_without_a_record_is_stranded,
    a_window_begins_with_its_first_moment_and_ends_before_its_last,
    windows_side_by_side_find_each_event_once,
    what_is_on_record_is_not_stranded,
    pages_find_every_one_once,
    an_event_that_goes_nowhere_is_not_stranded,
    the_sweeps_mark_is_kept,
);

/// A moment of an hour ago, on a whole second.
fn hour_ago() -> Timestamp {
    Timestamp::from_second(now().as_second() - 3600).unwrap()
}

async fn accepted(world: &World, at: Timestamp, webhooks: usize) -> Arc<Event> {
    let webhooks: Vec<_> = (0..webhooks).map(|_| some_webhook()).collect();
    let event = Arc::new(event_at(&tenant_id(), &webhooks, at));
    assert!(world.store.accept(std::slice::from_ref(&event)).await.iter().all(Result::is_ok));
    event
}

/// All pages.
async fn stranded(world: &World, from: Timestamp, until: Timestamp, limit: usize) -> Vec<Hint> {
    let mut page = PageRequest::first(limit);
    let mut hints = Vec::new();
    for _ in 0..1000 {
        let found = world.store.stranded(from, until, &page).await.unwrap();
        hints.extend(found.items);
        match found.next {
            Some(after) => page.after = Some(after),
            None => return hints,
        }
    }
    panic!("the pages do not end")
}

async fn ids(world: &World, from: Timestamp, until: Timestamp) -> BTreeSet<DeliveryId> {
    let hints = stranded(world, from, until, 100).await;
    let ids: BTreeSet<_> = hints.iter().map(|hint| hint.delivery).collect();
    assert_eq!(ids.len(), hints.len(), "each once");
    ids
}

fn deliveries(event: &Event) -> BTreeSet<DeliveryId> {
    event.webhooks.iter().map(|&webhook| DeliveryId { event: event.uid, webhook }).collect()
}

async fn an_event_without_a_record_is_stranded(world: &World) {
    let start = hour_ago();
    let event = accepted(world, start + secs(1), 1).await;
    let hints = stranded(world, start, start + secs(60), 100).await;
    assert_eq!(hints, [Hint::again(&event, event.webhooks[0])]);
    // It stays so until there is a record.
    assert_eq!(stranded(world, start, start + secs(60), 100).await, hints);
}

async fn a_window_begins_with_its_first_moment_and_ends_before_its_last(world: &World) {
    let (from, until) = (hour_ago(), hour_ago() + secs(100));
    accepted(world, from - millis(1), 1).await;
    let first = accepted(world, from, 1).await;
    let last = accepted(world, until - millis(1), 1).await;
    accepted(world, until, 1).await;
    assert_eq!(ids(world, from, until).await, &deliveries(&first) | &deliveries(&last));
    assert_eq!(ids(world, from, from).await, BTreeSet::new());
    assert_eq!(ids(world, from, from + millis(1)).await, deliveries(&first));
}

async fn windows_side_by_side_find_each_event_once(world: &World) {
    let micros = |count| jiff::SignedDuration::from_micros(count);
    let middle = hour_ago() + micros(123_456);
    let mut expected = BTreeSet::new();
    for offset in [-60_000_000, -1_000, -457, -456, -1, 0, 1, 543, 544, 1_000, 60_000_000] {
        expected.append(&mut deliveries(&*accepted(world, middle + micros(offset), 1).await));
    }
    let before = ids(world, middle - secs(200), middle).await;
    let after = ids(world, middle, middle + secs(200)).await;
    assert_eq!(before.intersection(&after).count(), 0);
    assert_eq!(&before | &after, expected);
}

async fn what_is_on_record_is_not_stranded(world: &World) {
    let start = hour_ago();
    let event = accepted(world, start, 5).await;
    let blank = |at: usize| Hint::again(&event, event.webhooks[at]).blank(&event);
    assert_eq!(ids(world, start, start + secs(1)).await, deliveries(&event));
    let due = Some(start + secs(30));
    let records = [
        (attempted(&blank(0), DeliveryState::Delivered, None), None),
        (attempted(&blank(1), DeliveryState::Pending, due), due),
    ];
    for (delivery, due) in &records {
        assert!(world.store.record(delivery, *due).await.unwrap());
    }
    let parked = Delivery { state: DeliveryState::Parked, ..blank(2) };
    assert!(world.store.park(&parked, 0).await.unwrap());
    // One that is claimed comes due by itself.
    world.store.claim(&blank(3), 1, now(), now() + secs(90)).await.unwrap();
    assert_eq!(stranded(world, start, start + secs(1), 100).await, [Hint::again(&event, event.webhooks[4])]);
}

async fn pages_find_every_one_once(world: &World) {
    let start = hour_ago();
    let mut expected = BTreeSet::new();
    let mut step = 0;
    while step < 30 {
        // Out of order, over some ten minutes, with events between them of which all is on record.
        let event =
            accepted(world, start + secs((step * 37) % 600), 1 + usize::try_from(step % 3).unwrap()).await;
        if step % 5 == 0 {
            for &webhook in &*event.webhooks {
                let blank = Hint::again(&event, webhook).blank(&event);
                assert!(
                    world.store.record(&attempted(&blank, DeliveryState::Failed, None), None).await.unwrap()
                );
            }
        } else {
            expected.append(&mut deliveries(&event));
        }
        step += 1;
    }
    for limit in [1, 4, 100] {
        let hints = stranded(world, start, start + secs(600), limit).await;
        let found: BTreeSet<_> = hints.iter().map(|hint| hint.delivery).collect();
        assert_eq!((hints.len(), found), (expected.len(), expected.clone()), "limit {limit}");
    }
}

async fn an_event_that_goes_nowhere_is_not_stranded(world: &World) {
    let start = hour_ago();
    accepted(world, start, 0).await;
    assert_eq!(ids(world, start, start + secs(60)).await, BTreeSet::new());
}

async fn the_sweeps_mark_is_kept(world: &World) {
    assert_eq!(world.store.swept_until().await.unwrap(), None);
    for until in [now(), now() + secs(3600)] {
        world.store.set_swept_until(until).await.unwrap();
        assert_eq!(world.store.swept_until().await.unwrap(), Some(until));
        assert_eq!(world.next_process().store.swept_until().await.unwrap(), Some(until));
    }
}

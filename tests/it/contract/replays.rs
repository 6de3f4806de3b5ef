//! Replays, and what they walk through.

use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use postrider::{
    errand::Errand,
    model::{
        Counts, Delivery, DeliveryState, Event, Place, Question, Replay, ReplayId, Stage, TenantId,
        TopicPattern, Wanted, Window,
    },
    operation::{Page, PageRequest},
};
use postrider_tests::poll;

use super::{
    World,
    inbox::Body,
    on_every_engine,
    samples::{all, attempted, blank_at, event_at, millis, now, secs, some_webhook, tenant_id, uuid_at},
};

on_every_engine!(
    a_replay_is_found_as_it_was_kept,
    a_tenants_replays_come_newest_first,
    of_many_that_make_a_step_one_does,
    a_replay_whose_step_got_lost_comes_due,
    the_mark_of_a_replay_stays_with_its_deliveries,
    deliveries_of_a_window_come_oldest_first,
    events_of_a_window_are_found_each_once,
    an_errand_is_received_as_it_was_sent,
);

fn window(since: Timestamp, until: Timestamp) -> Window {
    Window { since, until }
}

/// A replay with something in every field.
fn replay(tenant: &TenantId) -> Replay {
    let start = now();
    Replay {
        id: ReplayId(uuid_at(start)),
        tenant: tenant.clone(),
        question: Question {
            webhook: Some(some_webhook()),
            topic: Some(TopicPattern::try_from("order.*".to_owned()).unwrap()),
            wanted: Wanted::Missing,
            window: window(start - secs(60), start),
        },
        per_second: 10,
        stage: Stage::Queueing,
        step: 0,
        place: Place {
            webhook: Some(some_webhook()),
            after: Some("é#1".into()),
            walked: 3,
            ..Place::default()
        },
        webhooks: 7,
        queued: 12,
        looks: 2,
        counting: Counts { delivered: 1, failed: 2, parked: 3, pending: 4 },
        counted: Some((Counts::default(), start)),
        created_at: start,
        updated_at: start,
    }
}

fn after(replay: &Replay) -> Replay {
    Replay { step: replay.step + 1, queued: replay.queued + 1, ..replay.clone() }
}

async fn a_replay_is_found_as_it_was_kept(world: &World) {
    let (store, tenant) = (&*world.store, tenant_id());
    let first = replay(&tenant);
    assert_eq!(store.replay(&tenant, first.id).await.unwrap(), None);
    assert!(!store.advance_replay(&after(&first), None).await.unwrap(), "there is none");
    store.add_replay(&first, now()).await.unwrap();
    assert_eq!(store.replay(&tenant, first.id).await.unwrap().as_ref(), Some(&first));
    let second = after(&first);
    assert!(store.advance_replay(&second, None).await.unwrap());
    let other = world.next_process();
    assert_eq!(other.store.replay(&tenant, first.id).await.unwrap(), Some(second));
    assert_eq!(store.replay(&tenant_id(), first.id).await.unwrap(), None, "another's");
}

async fn a_tenants_replays_come_newest_first(world: &World) {
    let tenant = tenant_id();
    let mut made: Vec<_> = (0..5).map(|_| replay(&tenant)).collect();
    for replay in &made {
        world.store.add_replay(replay, now()).await.unwrap();
    }
    world.store.add_replay(&replay(&tenant_id()), now()).await.unwrap();
    made.reverse();
    for limit in [1, 2, 5, 6] {
        let found = walk(limit, async |page| world.store.replays(&tenant, &page).await.unwrap()).await;
        assert_eq!(found, made, "by {limit}");
    }
}

/// All pages of a list.
async fn walk<T>(limit: usize, list: impl AsyncFn(PageRequest) -> Page<T>) -> Vec<T> {
    let (mut found, mut page) = (Vec::new(), PageRequest::first(limit));
    loop {
        let part = list(page.clone()).await;
        assert!(part.items.len() <= limit);
        found.extend(part.items);
        match part.next {
            Some(after) => page.after = Some(after),
            None => return found,
        }
    }
}

async fn of_many_that_make_a_step_one_does(world: &World) {
    let tenant = tenant_id();
    let first = replay(&tenant);
    world.store.add_replay(&first, now()).await.unwrap();
    let made: Vec<_> = (0..20).map(|n| Replay { queued: n, ..after(&first) }).collect();
    let moved = try_join_all(made.iter().map(|made| world.store.advance_replay(made, None))).await.unwrap();
    assert_eq!(moved.iter().filter(|moved| **moved).count(), 1);
    let one = moved.iter().position(|moved| *moved).unwrap();
    assert_eq!(world.store.replay(&tenant, first.id).await.unwrap().as_ref(), Some(&made[one]));
    assert!(!world.store.advance_replay(&first, None).await.unwrap(), "nor does it go back");
}

async fn a_replay_whose_step_got_lost_comes_due(world: &World) {
    let (store, tenant, start) = (&*world.store, tenant_id(), now());
    let first = replay(&tenant);
    store.add_replay(&first, start + secs(10)).await.unwrap();
    let due = async |at: i64| store.due_replays(start + secs(at), start + secs(at + 60), 10).await.unwrap();
    assert_eq!(due(9).await, []);
    let name = (tenant.clone(), first.id);
    let found = poll::until(poll::SOON, "it is due", || async {
        Some(due(11).await).filter(|found| !found.is_empty())
    });
    assert_eq!(found.await, std::slice::from_ref(&name));
    assert_eq!(due(70).await, [], "nobody else takes it before the lease ends");
    let second = after(&first);
    assert!(store.advance_replay(&second, Some(start + secs(500))).await.unwrap());
    assert_eq!(due(499).await, []);
    assert_eq!(due(501).await, [name]);
    assert!(store.advance_replay(&after(&second), None).await.unwrap());
    assert_eq!(due(9000).await, [], "it has ended");
}

async fn the_mark_of_a_replay_stays_with_its_deliveries(world: &World) {
    let (tenant, start) = (tenant_id(), now());
    let mark = Some(ReplayId(uuid_at(start)));
    let blank = blank_at(&tenant, some_webhook(), start);
    let marked = Delivery { replay: mark, next_attempt_at: Some(start), ..blank.clone() };
    assert!(world.store.reopen(&blank, &marked, start, start).await.unwrap());
    assert_eq!(world.store.delivery(&tenant, blank.id).await.unwrap().as_ref(), Some(&marked));
    let claim = world.store.claim(&blank, 1, start, start + secs(90)).await.unwrap();
    assert_eq!(claim, postrider::ports::Claim::Taken(Box::new(marked.clone())));
    let made = attempted(&marked, DeliveryState::Delivered, None);
    assert!(world.store.record(&made, None).await.unwrap());
    let found = world.next_process().store.delivery(&tenant, blank.id).await.unwrap();
    assert_eq!(found.map(|found| found.replay), Some(mark));
}

async fn deliveries_of_a_window_come_oldest_first(world: &World) {
    let (tenant, webhook, start) = (tenant_id(), some_webhook(), now() - secs(600));
    let mut expected = Vec::new();
    for at in [-1, 0, 1, 2, 3, 400, 9_999, 10_000, 20_000] {
        let blank = blank_at(&tenant, webhook, start + millis(at));
        let one = attempted(&blank, DeliveryState::Failed, None);
        assert!(world.store.record(&one, None).await.unwrap());
        expected.extend((0..10_000).contains(&at).then_some(one));
    }
    let others = [blank_at(&tenant, some_webhook(), start), blank_at(&tenant_id(), webhook, start)];
    for other in &others {
        assert!(world.store.record(&attempted(other, DeliveryState::Failed, None), None).await.unwrap());
    }
    let window = window(start, start + secs(10));
    for limit in [1, 2, 5, 6, 7, 100] {
        let found = walk(limit, async |page| {
            world.store.deliveries_within(&tenant, webhook, &window, &page).await.unwrap()
        });
        assert_eq!(found.await, expected, "by {limit}");
    }
    let odd = PageRequest { after: Some("x".into()), ..all() };
    assert!(world.store.deliveries_within(&tenant, webhook, &window, &odd).await.is_err());
}

async fn events_of_a_window_are_found_each_once(world: &World) {
    let (mine, other) = (tenant_id(), tenant_id());
    let start = now() - secs(5400);
    let mut expected: Vec<Arc<Event>> = Vec::new();
    let mut every = Vec::new();
    // Some within one minute, some hours apart, and others' among them.
    for at in [-60_000, -1, 0, 1, 2, 3, 50_000, 61_000, 3_700_000, 5_000_000, 5_399_999, 5_400_000] {
        let event = Arc::new(event_at(&mine, &[], start + millis(at)));
        expected.extend((0..5_400_000).contains(&at).then(|| event.clone()));
        every.extend([event, Arc::new(event_at(&other, &[some_webhook()], start + millis(at)))]);
    }
    for accepted in world.store.accept(&every).await {
        accepted.unwrap();
    }
    expected.sort_by_key(|event| event.uid);
    let window = window(start, start + secs(5400));
    for limit in [1, 3, 100] {
        let found = walk(limit, async |page| world.store.events_within(&mine, &window, &page).await.unwrap());
        let mut found = found.await;
        found.sort_by_key(|event| event.uid);
        assert_eq!(found, expected, "by {limit}");
    }
    let odd = PageRequest { after: Some("x".into()), ..PageRequest::first(3) };
    assert!(world.store.events_within(&mine, &window, &odd).await.is_err());
}

async fn an_errand_is_received_as_it_was_sent(world: &World) {
    let errand = Errand::Replay { tenant: tenant_id(), replay: ReplayId(uuid_at(now())), step: 7 };
    let (asked, delay) = (std::time::Instant::now(), std::time::Duration::from_millis(1200));
    world.queue.charge(&errand, delay).await.unwrap();
    let found = poll::until(poll::SOON, "it comes", async || world.inbox.take(1).await.pop()).await;
    assert!(matches!(&found, Body::Errand(found) if *found == errand), "{found:?}");
    assert!(asked.elapsed() >= delay, "{:?}", asked.elapsed());
}

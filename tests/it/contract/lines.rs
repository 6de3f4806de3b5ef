//! Lines: deliveries of a webhook that go out one after the other.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use postrider::{
    hint::Hint,
    model::{Delivery, DeliveryState, Event, Line, OnFailure, OrderingKey, TenantId, Webhook, WebhookId},
    ports::{Accepted, Claim, Turn},
};

use postrider_tests::poll;

use super::{
    World, on_every_engine,
    samples::{
        MANY, V1, added, attempted, blank_at, event_at, kept_tenant, millis, now, secs, some_webhook,
        tenant_id, topic, webhook,
    },
};

on_every_engine!(
    an_accepted_event_stands_in_its_lines_by_its_number,
    what_is_accepted_again_stands_there_once,
    who_waits_is_woken_by_whoever_leaves,
    nobody_waits_behind_one_that_has_left,
    who_has_left_does_not_wait,
    who_has_left_is_due_no_more,
    a_delivery_that_is_given_up_leaves_its_line,
    what_is_delivered_or_being_attempted_is_not_given_up,
    parked_deliveries_that_are_given_up_leave_their_lines,
    nobody_moves_anothers_line,
    who_wants_order_is_known_by_topic,
);

fn key(text: &str) -> OrderingKey {
    text.parse().unwrap()
}

fn line(tenant: &TenantId, webhook: WebhookId, text: &str) -> Line {
    Line { tenant: tenant.clone(), webhook, key: key(text) }
}

/// An event that some of its webhooks want in order.
fn ordered(
    tenant: &TenantId,
    webhooks: &[WebhookId],
    wanting: &[WebhookId],
    text: &str,
    at: Timestamp,
) -> Event {
    Event { ordering_key: Some(key(text)), ordered: wanting.to_vec(), ..event_at(tenant, webhooks, at) }
}

async fn accept(world: &World, event: &Event) {
    assert_eq!(world.store.accept(&[Arc::new(event.clone())]).await, [Ok(Accepted::New)]);
}

/// Three events that stand in one line, and their deliveries before anything is kept of them.
async fn three(world: &World, tenant: &TenantId, webhook: WebhookId) -> [Delivery; 3] {
    let start = now();
    let mut blanks = Vec::new();
    // Not accepted in their order: their numbers say it.
    for at in [20, 0, 10] {
        let event = ordered(tenant, &[webhook], &[webhook], "1001", start + millis(at));
        accept(world, &event).await;
        blanks.push(Hint::again(&event, webhook).blank(&event));
    }
    blanks.sort_by_key(|blank| blank.id.event);
    assert!(blanks.iter().all(|blank| blank.ordering_key == Some(key("1001"))));
    blanks.try_into().unwrap()
}

/// What is due, once the index tells of so many: it may be a moment behind.
async fn due_now(world: &World, at: Timestamp, lease: Timestamp, count: usize) -> Vec<Hint> {
    let mut all = Vec::new();
    for _ in 0..50 {
        for hint in world.store.due(at, lease, 100).await.unwrap() {
            if !all.contains(&hint) {
                all.push(hint);
            }
        }
        if all.len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all
}

async fn nothing_due(world: &World, at: Timestamp) {
    poll::until(poll::SOON, "nothing is due", || async {
        world.store.due(at, at + secs(1), 100).await.unwrap().is_empty().then_some(())
    })
    .await;
}

fn waiting(blank: &Delivery) -> Delivery {
    Delivery { state: DeliveryState::Waiting, ..blank.clone() }
}

async fn an_accepted_event_stands_in_its_lines_by_its_number(world: &World) {
    let (tenant, a, b, c) = (tenant_id(), some_webhook(), some_webhook(), some_webhook());
    let (mine, start) = (line(&tenant, a, "1001#é/"), now());
    assert_eq!(world.store.first(&mine).await.unwrap(), None);
    let later = ordered(&tenant, &[a, b, c], &[a, b], "1001#é/", start + millis(5));
    accept(world, &later).await;
    assert_eq!(world.store.first(&mine).await.unwrap(), Some(later.uid));
    let first = ordered(&tenant, &[a], &[a], "1001#é/", start);
    accept(world, &first).await;
    // Keys that begin alike are others.
    accept(world, &ordered(&tenant, &[a], &[a], "1001", start - millis(5))).await;
    accept(world, &ordered(&tenant, &[a], &[a], "1001#é/#", start - millis(5))).await;
    accept(world, &Event { ordered: Vec::new(), ..ordered(&tenant, &[c], &[], "1001#é/", start) }).await;
    assert_eq!(world.store.first(&mine).await.unwrap(), Some(first.uid));
    assert_eq!(world.store.first(&line(&tenant, b, "1001#é/")).await.unwrap(), Some(later.uid));
    assert_eq!(world.store.first(&line(&tenant, c, "1001#é/")).await.unwrap(), None, "it wants no order");
    let kept = world.next_process().store.event(&tenant, &later.id).await.unwrap();
    assert_eq!(kept.as_deref(), Some(&later));
}

async fn what_is_accepted_again_stands_there_once(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let (mine, start) = (line(&tenant, a, "k"), now());
    let event = ordered(&tenant, &[a], &[a], "k", start);
    accept(world, &event).await;
    let again = Event { id: event.id.clone(), ..ordered(&tenant, &[a], &[a], "k", start - millis(9)) };
    let found = world.store.accept(&[Arc::new(again)]).await;
    assert_eq!(found, [Ok(Accepted::Already(Box::new(event.clone())))]);
    assert_eq!(world.store.first(&mine).await.unwrap(), Some(event.uid));
    assert_eq!(world.store.advance(&mine, Some(event.uid), start).await.unwrap(), None);
    assert_eq!(world.store.first(&mine).await.unwrap(), None);
}

async fn who_waits_is_woken_by_whoever_leaves(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let [x, y, z] = three(world, &tenant, a).await;
    let (mine, start) = (line(&tenant, a, "1001"), now());
    for one in [&z, &y] {
        let taken = world.store.claim(one, 1, start, start + secs(90)).await.unwrap();
        assert_eq!(taken, Claim::Taken(Box::new(one.clone())));
        assert_eq!(world.store.wait_behind(&waiting(one), 0, &mine, x.id.event).await.unwrap(), Turn::Waits);
        assert_eq!(world.store.delivery(&tenant, one.id).await.unwrap(), Some(waiting(one)));
        let claim = world.store.claim(one, 1, start + secs(200), start + secs(290)).await.unwrap();
        assert_eq!(claim, Claim::Done, "nobody attempts what waits");
    }
    let day = secs(86_400);
    assert_eq!(world.store.due(start + day, start + day, 10).await.unwrap(), [], "nor does it come due");
    assert_eq!(world.store.advance(&mine, None, start).await.unwrap(), None, "the first does not wait");
    let woken = world.store.advance(&mine, Some(x.id.event), start + secs(90)).await.unwrap();
    assert_eq!(woken, Some(Hint::next(&y)));
    assert_eq!(world.store.first(&mine).await.unwrap(), Some(y.id.event));
    assert_eq!(world.store.delivery(&tenant, z.id).await.unwrap(), Some(waiting(&z)));
    // Again, for who woke it may not know that he did.
    assert_eq!(world.store.advance(&mine, Some(x.id.event), start + secs(90)).await.unwrap(), None);
    let due = due_now(world, start + secs(100), start + secs(190), 1).await;
    assert_eq!(due, [Hint::next(&y)], "should the message get lost");
    let claim = world.store.claim(&y, 1, start + secs(100), start + secs(190)).await.unwrap();
    assert_eq!(claim, Claim::Taken(Box::new(y.clone())));
}

async fn nobody_waits_behind_one_that_has_left(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let [x, y, _] = three(world, &tenant, a).await;
    let (mine, start) = (line(&tenant, a, "1001"), now());
    world.store.advance(&mine, Some(x.id.event), start).await.unwrap();
    assert_eq!(world.store.wait_behind(&waiting(&y), 0, &mine, x.id.event).await.unwrap(), Turn::Moved);
    assert_eq!(world.store.delivery(&tenant, y.id).await.unwrap(), None);
    let tried = attempted(&y, DeliveryState::Pending, Some(start));
    assert!(world.store.record(&tried, Some(start)).await.unwrap());
    let more = three(world, &tenant, a).await;
    assert_eq!(world.store.wait_behind(&waiting(&y), 0, &mine, more[0].id.event).await.unwrap(), Turn::Lost);
    assert_eq!(world.store.delivery(&tenant, y.id).await.unwrap(), Some(tried.clone()));
    let late = Delivery { state: DeliveryState::Waiting, ..tried };
    assert_eq!(world.store.wait_behind(&late, 1, &mine, more[1].id.event).await.unwrap(), Turn::Waits);
    assert_eq!(world.store.delivery(&tenant, y.id).await.unwrap(), Some(late));
}

async fn who_has_left_does_not_wait(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let [x, y, _] = three(world, &tenant, a).await;
    let (mine, start) = (line(&tenant, a, "1001"), now());
    assert_eq!(world.store.advance(&mine, Some(y.id.event), start).await.unwrap(), None);
    assert_eq!(world.store.wait_behind(&waiting(&y), 0, &mine, x.id.event).await.unwrap(), Turn::Apart);
    assert_eq!(world.store.delivery(&tenant, y.id).await.unwrap(), None, "nobody would wake it");
}

async fn who_has_left_is_due_no_more(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let [x, y, _] = three(world, &tenant, a).await;
    let (mine, start) = (line(&tenant, a, "1001"), now());
    let done = attempted(&x, DeliveryState::Delivered, None);
    assert!(world.store.record(&done, Some(start)).await.unwrap());
    let due = due_now(world, start + secs(1), start + secs(1), 1).await;
    assert_eq!(due, [Hint::next(&done)], "until it has, it is");
    world.store.advance(&mine, Some(x.id.event), start).await.unwrap();
    nothing_due(world, start + secs(100)).await;
    assert_eq!(world.store.delivery(&tenant, x.id).await.unwrap(), Some(done));
    // What is not settled stays due, whoever takes it out.
    let retried = attempted(&y, DeliveryState::Pending, Some(start));
    assert!(world.store.record(&retried, Some(start)).await.unwrap());
    world.store.advance(&mine, Some(y.id.event), start).await.unwrap();
    assert_eq!(due_now(world, start + secs(1), start + secs(90), 1).await, [Hint::next(&retried)]);
}

async fn a_delivery_that_is_given_up_leaves_its_line(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let [x, y, z] = three(world, &tenant, a).await;
    let (mine, start) = (line(&tenant, a, "1001"), now());
    let failed = attempted(&x, DeliveryState::Failed, None);
    assert!(world.store.record(&failed, None).await.unwrap());
    assert_eq!(world.store.wait_behind(&waiting(&y), 0, &mine, x.id.event).await.unwrap(), Turn::Waits);
    for one in [&failed, &waiting(&y)] {
        assert!(world.store.give_up(&tenant, one.id, start).await.unwrap());
        let kept = world.store.delivery(&tenant, one.id).await.unwrap();
        assert_eq!(kept, Some(Delivery { state: DeliveryState::Discarded, ..one.clone() }));
    }
    let mut due = due_now(world, start, start, 2).await;
    due.sort_by_key(|hint| hint.delivery);
    assert_eq!(due, [Hint::next(&failed), Hint::next(&y)], "to leave");
    for one in [&x, &y] {
        world.store.advance(&mine, Some(one.id.event), start).await.unwrap();
    }
    nothing_due(world, start + secs(100)).await;
    assert_eq!(world.store.first(&mine).await.unwrap(), Some(z.id.event));
}

async fn what_is_delivered_or_being_attempted_is_not_given_up(world: &World) {
    let (tenant, a, start) = (tenant_id(), some_webhook(), now());
    let give_up = async |one: &Delivery, at| world.store.give_up(&tenant, one.id, at).await.unwrap();
    let unknown = blank_at(&tenant, a, start);
    assert!(!give_up(&unknown, start).await);
    let done = attempted(&blank_at(&tenant, a, start), DeliveryState::Delivered, None);
    assert!(world.store.record(&done, None).await.unwrap());
    assert!(!give_up(&done, start).await);
    assert_eq!(world.store.delivery(&tenant, done.id).await.unwrap(), Some(done));
    let claimed = blank_at(&tenant, a, start);
    world.store.claim(&claimed, 1, start, start + secs(90)).await.unwrap();
    assert!(!give_up(&claimed, start + secs(89)).await, "somebody makes it");
    assert!(give_up(&claimed, start + secs(91)).await);
    assert!(!give_up(&claimed, start + secs(91)).await, "it is already");
    let retried = attempted(&blank_at(&tenant, a, start), DeliveryState::Pending, Some(start + secs(5)));
    assert!(world.store.record(&retried, Some(start + secs(5))).await.unwrap());
    assert!(!world.store.give_up(&tenant_id(), retried.id, start).await.unwrap(), "it is another's");
    assert!(give_up(&retried, start).await);
    let expected = Delivery { state: DeliveryState::Discarded, next_attempt_at: None, ..retried };
    assert_eq!(world.store.delivery(&tenant, expected.id).await.unwrap(), Some(expected));
    nothing_due(world, start + secs(1000)).await;
}

async fn parked_deliveries_that_are_given_up_leave_their_lines(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let [x, ..] = three(world, &tenant, a).await;
    let start = now();
    let plain = blank_at(&tenant, a, start);
    for one in [&x, &plain] {
        let parked =
            Delivery { state: DeliveryState::Parked, parked_at: Some(one.created_at), ..one.clone() };
        assert!(world.store.park(&parked, 0).await.unwrap());
    }
    let gone = poll::until(poll::SOON, "the index tells of both", || async {
        (world.store.waiting(&tenant, a, 9).await.unwrap().len() == 2).then_some(())
    });
    gone.await;
    assert_eq!(world.store.discard(&tenant, a, 10).await.unwrap(), 2);
    let due = due_now(world, start, start + secs(90), 1).await;
    assert_eq!(due, [Hint::next(&x)], "one that stands in no line has none to leave");
    nothing_due(world, start + secs(1)).await;
}

async fn nobody_moves_anothers_line(world: &World) {
    let (tenant, a) = (tenant_id(), some_webhook());
    let [x, y, _] = three(world, &tenant, a).await;
    let (mine, start) = (line(&tenant, a, "1001"), now());
    assert_eq!(world.store.wait_behind(&waiting(&y), 0, &mine, x.id.event).await.unwrap(), Turn::Waits);
    let theirs = line(&tenant_id(), a, "1001");
    assert_eq!(world.store.advance(&theirs, Some(x.id.event), start).await.unwrap(), None);
    assert_eq!(world.store.delivery(&tenant, y.id).await.unwrap(), Some(waiting(&y)));
}

async fn who_wants_order_is_known_by_topic(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let mut ids = Vec::new();
    for (ordered, topics) in [
        (None, &["order.created"][..]),
        (Some(OnFailure::Skip), &["order.created", "*"]),
        (Some(OnFailure::Block), &["order.*"]),
    ] {
        let made = Webhook { ordered, ..webhook(&tenant, V1, topics) };
        let made = added(store.add_webhook(&made, false, MANY).await.unwrap());
        let kept = world.next_process().store.webhook(&tenant, made.id).await.unwrap().unwrap();
        assert_eq!(kept.ordered, ordered);
        ids.push(made.id);
    }
    let found = store.matching(&tenant, &topic("order.created")).await.unwrap().unwrap();
    let mut wanting = found.ordered.clone();
    wanting.sort_unstable();
    assert_eq!(wanting, ids[1..]);
    let found = store.matching(&tenant, &topic("cart.created")).await.unwrap().unwrap();
    assert_eq!(found.ordered, ids[1..2]);
}

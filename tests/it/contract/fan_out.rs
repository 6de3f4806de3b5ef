//! Events that go to more webhooks than one page of a fan-out has.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use postrider::{
    errand::Errand,
    fan_out::{self, PAGE},
    hint::Hint,
    model::{DeliveryId, Event},
    ports::{Policy, Ports},
};
use postrider_lambda::{SystemClock, SystemDice};
use postrider_tests::poll::SOON;

use super::{
    World,
    inbox::Body,
    on_every_engine,
    samples::{event, some_webhook, tenant_id},
};

on_every_engine!(
    a_publish_queues_one_page_and_the_queue_the_others,
    an_event_for_one_page_needs_no_errand,
    the_pages_of_a_batch_are_each_its_own,
);

fn ports(world: &World) -> Ports {
    Ports {
        store: world.store.clone(),
        queue: world.queue.clone(),
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
        policy: Policy::default(),
    }
}

fn wide(webhooks: usize) -> Arc<Event> {
    event(&tenant_id(), &(0..webhooks).map(|_| some_webhook()).collect::<Vec<_>>())
}

async fn accept(world: &World, events: &[Arc<Event>]) {
    for accepted in world.store.accept(events).await {
        assert_eq!(accepted.unwrap(), postrider::ports::Accepted::New);
    }
}

/// All that is in the queue, once it is so much: hints by delivery, and errands.
async fn queued(world: &World, count: usize) -> (BTreeMap<DeliveryId, Hint>, Vec<Errand>) {
    let (mut hints, mut errands) = (BTreeMap::new(), Vec::new());
    let end = Instant::now() + SOON;
    while hints.len() + errands.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", hints.len() + errands.len());
        for body in world.inbox.take(10).await {
            match body {
                Body::Hint(hint) => drop(hints.insert(hint.delivery, hint)),
                Body::Errand(errand) => errands.push(errand),
            }
        }
    }
    assert!(world.inbox.take(10).await.is_empty(), "and no more");
    (hints, errands)
}

fn rest(event: &Event, from: usize) -> Errand {
    Errand::FanOut { tenant: event.tenant.clone(), event: event.id.clone(), from }
}

async fn a_publish_queues_one_page_and_the_queue_the_others(world: &World) {
    let event = wide(250);
    accept(world, std::slice::from_ref(&event)).await;
    let (mut all, errands) = queued(world, PAGE + 1).await;
    let first: BTreeMap<_, _> = event.webhooks[..PAGE]
        .iter()
        .map(|&id| Hint::fresh(&event, id))
        .map(|hint| (hint.delivery, hint))
        .collect();
    assert_eq!((&all, errands), (&first, vec![rest(&event, PAGE)]));

    let ports = ports(world);
    for (from, left) in [(PAGE, 100), (2 * PAGE, 50)] {
        fan_out::go_on(&ports, &event.tenant, &event.id, from).await.unwrap();
        let next = (left == 100).then(|| rest(&event, from + PAGE));
        let (hints, errands) = queued(world, left + next.iter().count()).await;
        assert_eq!(errands, next.into_iter().collect::<Vec<_>>());
        assert_eq!(hints.len(), left);
        for (id, hint) in hints {
            assert_eq!(hint, Hint::again(&event, id.webhook), "it is claimed, for its page may come twice");
            assert!(all.insert(id, hint).is_none(), "each once");
        }
    }
    assert_eq!(all.len(), 250);
    fan_out::go_on(&ports, &event.tenant, &event.id, 300).await.unwrap();
    fan_out::go_on(&ports, &tenant_id(), &event.id, 0).await.unwrap();
    queued(world, 0).await;
}

async fn an_event_for_one_page_needs_no_errand(world: &World) {
    let event = wide(PAGE);
    accept(world, std::slice::from_ref(&event)).await;
    let (hints, errands) = queued(world, PAGE).await;
    assert_eq!((hints.len(), errands), (PAGE, vec![]));
}

async fn the_pages_of_a_batch_are_each_its_own(world: &World) {
    let events = [wide(PAGE + 1), wide(3), wide(PAGE + 7)];
    accept(world, &events).await;
    let (hints, mut errands) = queued(world, PAGE + 3 + PAGE + 2).await;
    assert_eq!(hints.len(), PAGE + 3 + PAGE);
    let mut expected = vec![rest(&events[0], PAGE), rest(&events[2], PAGE)];
    errands.sort_by_key(|errand| format!("{errand:?}"));
    expected.sort_by_key(|errand| format!("{errand:?}"));
    assert_eq!(errands, expected);
}

//! What is accepted and not delivered yet, as far as records show it.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use postrider::{
    error::Error,
    hint::Hint,
    model::{Delivery, DeliveryState, DeliverySummary, Event, Line, OrderingKey, TenantId},
    operation::PageRequest,
    ports::{Claim, Turn},
    undelivered::{Position, Undelivered, Whose},
};
use postrider_tests::poll;

use super::{
    Inbox, World, on_every_engine,
    samples::{all, attempted, blank, blank_at, event_at, millis, now, secs, some_webhook, tenant_id, topic},
};

on_every_engine!(
    what_is_pending_parked_or_waiting_is_listed,
    an_attempt_puts_it_there_and_a_success_takes_it_out,
    what_is_taken_up_again_is_there_again,
    what_is_given_up_or_acknowledged_is_not_there,
    who_waits_in_a_line_is_there,
    it_is_listed_by_tenant_webhook_and_age_page_by_page,
    it_is_narrowed_by_topic_and_age,
    few_among_many_others_are_found,
    what_is_past_its_time_is_not_listed,
    a_cursor_leads_to_nothing_of_anothers,
);

fn of(whose: Whose) -> Undelivered {
    Undelivered { whose, topic: None, accepted_before: None }
}

fn everything() -> Undelivered {
    of(Whose::All)
}

/// All that is listed, in pages of `limit`.
async fn listed(world: &World, sought: &Undelivered, limit: usize) -> Vec<DeliverySummary> {
    let mut page = PageRequest::first(limit);
    let mut found = Vec::new();
    for _ in 0..10_000 {
        let part = world.store.undelivered(sought, &page).await.unwrap();
        assert!(part.items.len() <= limit);
        found.extend(part.items);
        match part.next {
            Some(after) => page.after = Some(after),
            None => return found,
        }
    }
    panic!("the pages do not end")
}

fn shown(deliveries: &[&Delivery]) -> Vec<DeliverySummary> {
    deliveries.iter().map(|delivery| DeliverySummary::of(delivery)).collect()
}

/// The list shows just these; an index may be a moment behind.
#[track_caller]
fn shows<'a>(world: &'a World, expected: &[&Delivery]) -> impl Future<Output = ()> + 'a {
    let (expected, place) = (shown(expected), std::panic::Location::caller());
    async move {
        let what = format!("{place}: the list shows {expected:?}");
        poll::until(poll::SOON, &what, || async {
            (listed(world, &everything(), 100).await == expected).then_some(())
        })
        .await;
    }
}

fn parked(blank: &Delivery) -> Delivery {
    Delivery { state: DeliveryState::Parked, parked_at: Some(blank.created_at), ..blank.clone() }
}

fn again(kept: &Delivery, at: Timestamp) -> Delivery {
    Delivery { state: DeliveryState::Pending, next_attempt_at: Some(at), ..kept.clone() }
}

async fn what_is_pending_parked_or_waiting_is_listed(world: &World) {
    let (tenant, webhook, start) = (tenant_id(), some_webhook(), now());
    let mut open = Vec::new();
    for state in [
        DeliveryState::Waiting,
        DeliveryState::Delivered,
        DeliveryState::Parked,
        DeliveryState::Failed,
        DeliveryState::Discarded,
        DeliveryState::Pending,
    ] {
        let blank = blank_at(&tenant, webhook, start + millis(i64::try_from(open.len()).unwrap()));
        let kept = Delivery {
            ordering_key: Some("1001#é/".parse().unwrap()),
            ..attempted(&blank, state, Some(start + secs(60)))
        };
        assert!(world.store.park(&kept, 0).await.unwrap());
        if state.is_open() {
            open.push(kept);
        }
    }
    shows(world, &[&open[0], &open[1], &open[2]]).await;
    let summary = &listed(world, &everything(), 1).await[0];
    assert_eq!((summary.attempt_count, summary.last_status), (1, Some(500)), "it says why it waits");
    assert_eq!(
        open.iter().map(|one| one.state).collect::<Vec<_>>(),
        [DeliveryState::Waiting, DeliveryState::Parked, DeliveryState::Pending]
    );
}

async fn an_attempt_puts_it_there_and_a_success_takes_it_out(world: &World) {
    let (tenant, webhook, start) = (tenant_id(), some_webhook(), now());
    let blank = blank(&tenant, webhook);
    shows(world, &[]).await;
    assert!(matches!(world.store.claim(&blank, 1, start, start).await.unwrap(), Claim::Taken(_)));
    shows(world, &[&blank]).await;
    let retried = attempted(&blank, DeliveryState::Pending, Some(start + secs(5)));
    assert!(world.store.record(&retried, Some(start + secs(5))).await.unwrap());
    shows(world, &[&retried]).await;
    assert!(matches!(world.store.claim(&blank, 2, start, start).await.unwrap(), Claim::Taken(_)));
    shows(world, &[&retried]).await;
    let parked = parked(&retried);
    assert!(world.store.park(&parked, 1).await.unwrap());
    shows(world, &[&parked]).await;
    assert_eq!(world.store.release(&tenant, webhook, start, 10).await.unwrap().len(), 1);
    let released = Delivery { state: DeliveryState::Pending, ..parked.clone() };
    shows(world, &[&released]).await;
    assert_eq!(world.store.due(start + secs(9), start + secs(9), 10).await.unwrap().len(), 1);
    shows(world, &[&released]).await;
    let done = attempted(&released, DeliveryState::Delivered, None);
    assert!(world.store.record(&done, None).await.unwrap());
    shows(world, &[]).await;
    // Nor is one ever there that arrives at once.
    let at_once = attempted(&blank_at(&tenant, webhook, start), DeliveryState::Delivered, None);
    assert!(world.store.record(&at_once, None).await.unwrap());
    assert_eq!(listed(world, &everything(), 10).await, []);
}

async fn what_is_taken_up_again_is_there_again(world: &World) {
    let start = now();
    for state in [DeliveryState::Delivered, DeliveryState::Failed] {
        let kept = attempted(&blank(&tenant_id(), some_webhook()), state, None);
        assert!(world.store.record(&kept, None).await.unwrap());
        shows(world, &[]).await;
        let again = again(&kept, start);
        assert!(world.store.reopen(&kept, &again, start, start).await.unwrap());
        shows(world, &[&again]).await;
        let failed = attempted(&again, DeliveryState::Failed, None);
        assert!(world.store.record(&failed, None).await.unwrap());
        shows(world, &[]).await;
    }
}

async fn what_is_given_up_or_acknowledged_is_not_there(world: &World) {
    let (tenant, webhook, start) = (tenant_id(), some_webhook(), now());
    let retried = attempted(&blank(&tenant, webhook), DeliveryState::Pending, Some(start));
    assert!(world.store.record(&retried, Some(start)).await.unwrap());
    shows(world, &[&retried]).await;
    assert!(world.store.give_up(&tenant, retried.id, start).await.unwrap());
    shows(world, &[]).await;
    let park = async |ordering_key: Option<OrderingKey>| {
        let parked = Delivery { ordering_key, ..parked(&blank(&tenant, webhook)) };
        assert!(world.store.park(&parked, 0).await.unwrap());
        shows(world, &[&parked]).await;
        parked
    };
    for key in [None, Some("k".parse().unwrap())] {
        park(key.clone()).await;
        assert_eq!(world.store.discard(&tenant, webhook, 10).await.unwrap(), 1);
        shows(world, &[]).await;
        let one = park(key).await;
        assert!(world.store.give_up(&tenant, one.id, start).await.unwrap());
        shows(world, &[]).await;
    }
    let polled = park(None).await;
    let by = attempted(&polled, DeliveryState::Delivered, None).attempts.remove(0);
    world.store.acknowledge(&tenant, &[polled.id], &by).await.unwrap();
    shows(world, &[]).await;
}

async fn who_waits_in_a_line_is_there(world: &World) {
    let (tenant, webhook, start) = (tenant_id(), some_webhook(), now());
    let key: OrderingKey = "1001".parse().unwrap();
    let line = Line { tenant: tenant.clone(), webhook, key: key.clone() };
    let mut events = Vec::new();
    for at in 0..3 {
        let plain = event_at(&tenant, &[webhook], start + millis(at));
        let event = Event { ordering_key: Some(key.clone()), ordered: vec![webhook], ..plain };
        assert!(world.store.accept(&[event.clone().into()]).await.iter().all(Result::is_ok));
        events.push(event);
    }
    let wait = async |at: usize| {
        let blank = Hint::again(&events[at], webhook).blank(&events[at]);
        let waiting = Delivery { state: DeliveryState::Waiting, ..blank };
        let turn = world.store.wait_behind(&waiting, 0, &line, events[0].uid).await.unwrap();
        assert_eq!(turn, Turn::Waits);
        waiting
    };
    let (second, third) = (wait(1).await, wait(2).await);
    shows(world, &[&second, &third]).await;
    assert!(world.store.advance(&line, Some(events[0].uid), start).await.unwrap().is_some());
    let woken = Delivery { state: DeliveryState::Pending, ..second };
    shows(world, &[&woken, &third]).await;
    assert!(world.store.give_up(&tenant, third.id, start).await.unwrap());
    shows(world, &[&woken]).await;
}

/// So many deliveries to each of two webhooks of tenants whose names begin alike, in the order of the list.
async fn backlog(world: &World, each: i64) -> Vec<Delivery> {
    let start = now();
    let mut kept = Vec::new();
    for name in ["b", "a-b", "a", "a.b", "a0", "aa"] {
        let tenant: TenantId = name.parse().unwrap();
        for webhook in [some_webhook(), some_webhook()] {
            // Not in the order of their age.
            let blanks = (0..each).map(|n| blank_at(&tenant, webhook, start - millis(n * 3 % each)));
            kept.extend(blanks.map(|blank| parked(&blank)));
        }
    }
    let park = stream::iter(&kept).map(|one| world.store.park(one, 0)).buffer_unordered(32);
    assert!(park.all(async |is_new| is_new.unwrap()).await);
    kept.sort_by_key(|one| Position::of(&one.tenant, one.id));
    kept
}

async fn it_is_listed_by_tenant_webhook_and_age_page_by_page(world: &World) {
    let kept = backlog(world, 4).await;
    shows(world, &kept.iter().collect::<Vec<_>>()).await;
    let of_one = |name: &str| kept.iter().find(|one| one.tenant.as_str() == name).unwrap();
    let mut lists = vec![Whose::All, Whose::Tenant("nobody".parse().unwrap())];
    for one in ["a", "a-b", "b"].map(of_one) {
        lists.push(Whose::Tenant(one.tenant.clone()));
        lists.push(Whose::Webhook(one.tenant.clone(), one.id.webhook));
        // Another's webhook has nothing of its own.
        lists.push(Whose::Webhook("nobody".parse().unwrap(), one.id.webhook));
    }
    for whose in lists {
        let own: Vec<_> = kept.iter().filter(|one| whose.takes(&one.tenant, one.id.webhook)).collect();
        let expected = shown(&own);
        for limit in [1, 3, 4, 100] {
            assert_eq!(listed(world, &of(whose.clone()), limit).await, expected, "{whose:?} by {limit}");
        }
    }
}

async fn it_is_narrowed_by_topic_and_age(world: &World) {
    let (tenant, webhook, start) = (tenant_id(), some_webhook(), now());
    let mut kept = Vec::new();
    for age in (0..12).rev() {
        let name = if age % 3 == 0 { "order.paid" } else { "order.created" };
        let blank = Delivery { topic: topic(name), ..blank_at(&tenant, webhook, start - secs(age)) };
        let parked = parked(&blank);
        assert!(world.store.park(&parked, 0).await.unwrap());
        kept.push(parked);
    }
    shows(world, &kept.iter().collect::<Vec<_>>()).await;
    for wanted in [None, Some(topic("order.paid")), Some(topic("order.unheard"))] {
        let oldest =
            [None, Some(start), Some(start - secs(4)), Some(start - secs(11)), Some(start + secs(1))];
        for accepted_before in oldest {
            let is_sought = |one: &&Delivery| {
                wanted.as_ref().is_none_or(|wanted| one.topic == *wanted)
                    && accepted_before.is_none_or(|before| one.created_at < before)
            };
            let expected = shown(&kept.iter().filter(is_sought).collect::<Vec<_>>());
            for whose in [Whose::All, Whose::Webhook(tenant.clone(), webhook)] {
                let sought = Undelivered { whose, topic: wanted.clone(), accepted_before };
                for limit in [1, 5, 100] {
                    assert_eq!(listed(world, &sought, limit).await, expected, "{sought:?} by {limit}");
                }
            }
        }
    }
}

async fn few_among_many_others_are_found(world: &World) {
    let (tenant, webhook, start) = (tenant_id(), some_webhook(), now());
    let others = i64::try_from(Undelivered::PASSED_OVER).unwrap() + 50;
    let one = |n: i64| {
        let name = if n == others { "order.paid" } else { "order.created" };
        parked(&Delivery { topic: topic(name), ..blank_at(&tenant, webhook, start + millis(n)) })
    };
    let kept: Vec<_> = (0..=others).map(one).collect();
    let park = stream::iter(&kept).map(|one| world.store.park(one, 0)).buffer_unordered(64);
    assert!(park.all(async |is_new| is_new.unwrap()).await);
    let paid = Undelivered { topic: Some(topic("order.paid")), ..of(Whose::Tenant(tenant)) };
    let page = world.store.undelivered(&paid, &PageRequest::first(10)).await.unwrap();
    if !matches!(world.inbox, Inbox::Simulated(_)) {
        assert!(page.items.is_empty() && page.next.is_some(), "it looks at so many and no more");
    }
    assert_eq!(listed(world, &paid, 10).await, shown(&[&kept[kept.len() - 1]]));
    let created = Undelivered { topic: Some(topic("order.created")), ..paid };
    assert_eq!(
        listed(world, &created, 100).await,
        shown(&kept.iter().rev().skip(1).rev().collect::<Vec<_>>())
    );
}

async fn what_is_past_its_time_is_not_listed(world: &World) {
    let (tenant, webhook, days) = (tenant_id(), some_webhook(), secs(86_400));
    let old = parked(&blank_at(&tenant, webhook, now() - days * 31));
    let young = parked(&blank_at(&tenant, webhook, now() - days * 29));
    for one in [&old, &young] {
        assert!(world.store.park(one, 0).await.unwrap());
    }
    match &world.inbox {
        // Where it is deleted by and by, nobody is to see it before.
        Inbox::Aws { .. } => {}
        Inbox::Embedded(engine) => assert_eq!(engine.purge(now() - days * 30).await.unwrap(), 1),
        // There nothing lives so long.
        Inbox::Simulated(_) => return,
    }
    shows(world, &[&young]).await;
}

async fn a_cursor_leads_to_nothing_of_anothers(world: &World) {
    let kept = backlog(world, 2).await;
    let after = |one: &Delivery| PageRequest {
        limit: 100,
        after: Some(Position::of(&one.tenant, one.id).to_string()),
    };
    let (first, last) = (&kept[0], &kept[kept.len() - 1]);
    let of_first = of(Whose::Tenant(first.tenant.clone()));
    assert_eq!(world.store.undelivered(&of_first, &after(last)).await.unwrap().items, []);
    let of_last = of(Whose::Webhook(last.tenant.clone(), last.id.webhook));
    let found = world.store.undelivered(&of_last, &after(first)).await.unwrap().items;
    assert_eq!(found, shown(&[&kept[kept.len() - 2], last]));
    for odd in ["", "x", "a#b#c", "a##", "\u{0}"] {
        let page = PageRequest { limit: 1, after: Some(odd.into()) };
        let refused = world.store.undelivered(&everything(), &page).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{odd:?}: {refused:?}");
    }
    assert_eq!(world.store.undelivered(&everything(), &all()).await.unwrap().items.len(), kept.len());
}

//! Deliveries that are taken up again.

use futures::future::try_join_all;
use jiff::Timestamp;
use postrider::{
    hint::Hint,
    model::{Delivery, DeliveryState},
    ports::Claim,
};

use super::{
    World, on_every_engine,
    samples::{attempted, blank, now, secs, some_webhook, tenant_id},
};

on_every_engine!(
    what_is_taken_up_again_can_be_attempted_and_comes_due,
    what_is_taken_up_again_is_no_longer_parked,
    nothing_is_taken_up_that_is_not_as_it_was,
    of_many_that_take_it_up_one_does,
    what_is_being_attempted_is_not_taken_up,
    of_what_nothing_is_kept_is_put_on_record,
);

fn again(kept: &Delivery, at: Timestamp) -> Delivery {
    Delivery { state: DeliveryState::Pending, next_attempt_at: Some(at), probes: 1, ..kept.clone() }
}

async fn kept_as(world: &World, state: DeliveryState, next: Option<Timestamp>) -> Delivery {
    let kept = attempted(&blank(&tenant_id(), some_webhook()), state, next);
    assert!(world.store.record(&kept, next).await.unwrap());
    kept
}

async fn found(world: &World, delivery: &Delivery) -> Option<Delivery> {
    world.store.delivery(&delivery.tenant, delivery.id).await.unwrap()
}

async fn what_is_taken_up_again_can_be_attempted_and_comes_due(world: &World) {
    let start = now();
    for (state, next) in [
        (DeliveryState::Delivered, None),
        (DeliveryState::Failed, None),
        (DeliveryState::Pending, Some(start + secs(500))),
    ] {
        let kept = kept_as(world, state, next).await;
        let again = again(&kept, start);
        assert!(world.store.reopen(&kept, &again, start, start + secs(120)).await.unwrap(), "{state:?}");
        assert_eq!(found(world, &kept).await.as_ref(), Some(&again));
        assert_eq!(world.store.due(start + secs(119), start + secs(200), 10).await.unwrap(), []);
        let due = world.store.due(start + secs(121), start + secs(211), 10).await.unwrap();
        assert_eq!(due, [Hint::next(&again)]);
        let claim = world.store.claim(&kept, 2, start, start + secs(90)).await.unwrap();
        assert_eq!(claim, Claim::Taken(Box::new(again.clone())));
        let made = attempted(&again, DeliveryState::Delivered, None);
        assert!(world.store.record(&made, None).await.unwrap());
        assert_eq!(world.store.due(start + secs(900), start + secs(990), 10).await.unwrap(), []);
    }
}

async fn what_is_taken_up_again_is_no_longer_parked(world: &World) {
    let start = now();
    let blank = blank(&tenant_id(), some_webhook());
    let parked = Delivery { state: DeliveryState::Parked, parked_at: Some(blank.created_at), ..blank };
    assert!(world.store.park(&parked, 0).await.unwrap());
    assert!(world.store.reopen(&parked, &again(&parked, start), start, start + secs(120)).await.unwrap());
    let (tenant, webhook) = (&parked.tenant, parked.id.webhook);
    assert_eq!(world.store.release(tenant, webhook, start, 10).await.unwrap(), []);
    let parked_again = Delivery { probes: 1, ..parked.clone() };
    assert!(world.store.park(&parked_again, 0).await.unwrap(), "it may be parked once more");
    assert_eq!(found(world, &parked).await, Some(parked_again));
}

async fn nothing_is_taken_up_that_is_not_as_it_was(world: &World) {
    let start = now();
    let reopen = async |kept: &Delivery| {
        world.store.reopen(kept, &again(kept, start), start, start + secs(120)).await.unwrap()
    };
    let kept = kept_as(world, DeliveryState::Pending, Some(start + secs(500))).await;
    let stale = [
        Delivery { state: DeliveryState::Failed, ..kept.clone() },
        Delivery { attempt_count: 0, ..kept.clone() },
        Delivery { attempt_count: 2, ..kept.clone() },
        Delivery { next_attempt_at: None, ..kept.clone() },
        Delivery { next_attempt_at: Some(start), ..kept.clone() },
        Delivery { tenant: tenant_id(), ..kept.clone() },
    ];
    for (at, stale) in stale.iter().enumerate() {
        assert!(!reopen(stale).await, "{at}");
    }
    assert_eq!(found(world, &kept).await.as_ref(), Some(&kept));
    assert!(reopen(&kept).await);
    let later = again(&kept, start + secs(1));
    assert!(!world.store.reopen(&kept, &later, start, start + secs(120)).await.unwrap(), "once");
}

async fn of_many_that_take_it_up_one_does(world: &World) {
    let start = now();
    let kept = kept_as(world, DeliveryState::Failed, None).await;
    let all: Vec<_> = (0..20).map(|n| again(&kept, start + secs(n))).collect();
    let taken = all.iter().map(|again| world.store.reopen(&kept, again, start, start + secs(120)));
    let taken = try_join_all(taken).await.unwrap();
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
    let one = taken.iter().position(|taken| *taken).unwrap();
    assert_eq!(found(world, &kept).await.as_ref(), Some(&all[one]));
}

async fn what_is_being_attempted_is_not_taken_up(world: &World) {
    let (start, lease) = (now(), now() + secs(90));
    let kept = kept_as(world, DeliveryState::Pending, Some(start)).await;
    assert!(matches!(world.store.claim(&kept, 2, start, lease).await.unwrap(), Claim::Taken(_)));
    let reopen =
        async |now| world.store.reopen(&kept, &again(&kept, start + secs(9)), now, lease).await.unwrap();
    assert!(!reopen(start).await);
    assert!(!reopen(lease - secs(1)).await);
    assert!(reopen(lease).await, "its claimer is dead");
    let claim = world.store.claim(&kept, 2, start, lease).await.unwrap();
    assert!(matches!(claim, Claim::Taken(_)), "the dead one's lease holds nobody up: {claim:?}");
}

async fn of_what_nothing_is_kept_is_put_on_record(world: &World) {
    let start = now();
    let blank = blank(&tenant_id(), some_webhook());
    let again = Delivery { probes: 0, ..again(&blank, start) };
    assert!(world.store.reopen(&blank, &again, start, start + secs(120)).await.unwrap());
    assert_eq!(found(world, &blank).await.as_ref(), Some(&again));
    let later = Delivery { next_attempt_at: Some(start + secs(1)), ..again.clone() };
    assert!(!world.store.reopen(&blank, &later, start, start + secs(120)).await.unwrap(), "once");
    let due = world.store.due(start + secs(121), start + secs(211), 10).await.unwrap();
    assert_eq!(due, [Hint::next(&again)]);
}

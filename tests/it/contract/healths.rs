//! How receivers do.

use futures::future::try_join_all;
use postrider::model::Health;

use super::{
    World, on_every_engine,
    samples::{kept_tenant, kept_webhook, now, secs, some_webhook},
};

on_every_engine!(
    failures_are_counted_from_the_first,
    failures_at_once_are_all_counted,
    of_many_that_would_try_one_does,
    what_recovered_is_as_good_as_new,
    a_removed_webhook_has_no_health,
);

async fn failures_are_counted_from_the_first(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let (webhook, other) = (some_webhook(), some_webhook());
    assert_eq!(store.health(&tenant, webhook).await.unwrap(), Health::default());
    let start = now();
    for failures in 1..=3 {
        let at = start + secs(i64::from(failures));
        let health = store.strain(&tenant, webhook, at).await.unwrap();
        assert_eq!(health, Health { failures, since: Some(start + secs(1)), probe_at: None });
        assert_eq!(store.health(&tenant, webhook).await.unwrap(), health);
    }
    let next = world.next_process();
    assert_eq!(next.store.health(&tenant, webhook).await.unwrap().failures, 3);
    assert_eq!(store.health(&tenant, other).await.unwrap(), Health::default());
}

async fn failures_at_once_are_all_counted(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    let strains = (0..20).map(|_| store.strain(&tenant, webhook, now()));
    let mut counts: Vec<_> =
        try_join_all(strains).await.unwrap().iter().map(|health| health.failures).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    assert_eq!(world.next_process().store.health(&tenant, webhook).await.unwrap().failures, 20);
}

async fn of_many_that_would_try_one_does(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    let start = now();
    assert!(!store.put_off(&tenant, webhook, None, start).await.unwrap(), "it never failed");
    store.strain(&tenant, webhook, start).await.unwrap();
    let mut from = None;
    for round in 1..=3 {
        let to = start + secs(round * 10);
        let tries = (0..5).map(|_| store.put_off(&tenant, webhook, from, to));
        let taken = try_join_all(tries).await.unwrap();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
        from = Some(to);
        let health = world.next_process().store.health(&tenant, webhook).await.unwrap();
        assert_eq!(health, Health { failures: 1, since: Some(start), probe_at: from });
    }
    assert_eq!(store.strain(&tenant, webhook, now()).await.unwrap().probe_at, from);
}

async fn what_recovered_is_as_good_as_new(world: &World) {
    let store = &*world.store;
    let (tenant, webhook) = (kept_tenant(store).await, some_webhook());
    assert!(!store.relieve(&tenant, webhook).await.unwrap());
    store.strain(&tenant, webhook, now()).await.unwrap();
    assert!(store.put_off(&tenant, webhook, None, now()).await.unwrap());
    assert!(store.relieve(&tenant, webhook).await.unwrap());
    assert!(!store.relieve(&tenant, webhook).await.unwrap());
    assert_eq!(store.health(&tenant, webhook).await.unwrap(), Health::default());
    assert_eq!(world.next_process().store.health(&tenant, webhook).await.unwrap(), Health::default());
    let at = now();
    let again = store.strain(&tenant, webhook, at).await.unwrap();
    assert_eq!(again, Health { failures: 1, since: Some(at), probe_at: None });
}

async fn a_removed_webhook_has_no_health(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let webhook = kept_webhook(store, &tenant, &["order.created"]).await;
    store.strain(&tenant, webhook.id, now()).await.unwrap();
    assert!(store.remove_webhook(&tenant, webhook.id).await.unwrap());
    assert_eq!(world.next_process().store.health(&tenant, webhook.id).await.unwrap(), Health::default());
}

//! Walking through lists page by page.

use postrider::{
    error::Error,
    model::{DeliveryState, TenantId},
    operation::{Page, PageRequest, Sought},
};

use super::{
    World, on_every_engine,
    samples::{
        MANY, TIKI, V1, added, all, attempted, blank_at, kept_tenant, kept_webhook, key, now, secs,
        some_webhook, tenant, tenant_id, webhook,
    },
};

on_every_engine!(
    tenants_come_by_id,
    keys_come_each_once,
    webhooks_come_by_age,
    webhooks_of_a_dialect_come_by_age,
    deliveries_come_newest_first,
    what_is_removed_between_pages_does_not_end_the_walk,
    an_odd_cursor_is_no_fault_of_the_store,
);

/// Walks with each limit, and sees that every walk finds just what is expected.
async fn walks<T, F>(expected: &[T], list: impl Fn(PageRequest) -> F)
where
    T: PartialEq + std::fmt::Debug,
    F: Future<Output = Result<Page<T>, Error>>,
{
    let whole = list(all()).await.unwrap();
    assert_eq!((&whole.items[..], whole.next), (expected, None));
    for limit in [1, 2, 3, expected.len() - 1, expected.len(), expected.len() + 1] {
        let mut page = PageRequest::first(limit);
        let mut found = Vec::new();
        loop {
            let part = list(page.clone()).await.unwrap();
            assert!(part.items.len() <= limit);
            let more = found.len() + part.items.len() < expected.len();
            assert_eq!(part.next.is_some(), more, "after {} of {} by {limit}", found.len(), expected.len());
            assert!(!more || part.items.len() == limit, "a page that is not the last one is full");
            found.extend(part.items);
            match part.next {
                Some(after) => page.after = Some(after),
                None => break,
            }
        }
        assert_eq!(found, expected, "by {limit}");
    }
}

async fn tenants_come_by_id(world: &World) {
    let mut expected = Vec::new();
    for id in ["b", "a-2", "a", "9", "a.1", "zz", "a_b"] {
        let tenant = tenant(&id.parse().unwrap());
        assert!(world.store.add_tenant(&tenant).await.unwrap());
        expected.push(tenant);
    }
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    walks(&expected, async |page| world.store.tenants(&page).await).await;
}

async fn keys_come_each_once(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(key(Some(&tenant)));
    }
    for key in expected.iter().rev() {
        world.store.add_key(key).await.unwrap();
    }
    walks(&expected, async |page| world.store.keys(&tenant, &page).await).await;
}

async fn webhooks_come_by_age(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(kept_webhook(&*world.store, &tenant, &["order.created", "*"]).await);
    }
    walks(&expected, async |page| world.store.webhooks(&tenant, None, &page).await).await;
}

async fn webhooks_of_a_dialect_come_by_age(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let mut expected = Vec::new();
    for dialect in [TIKI, V1, V1, TIKI, TIKI, V1, TIKI, TIKI, V1, V1] {
        let asked = webhook(&tenant, dialect, &["order.created"]);
        let made = added(world.store.add_webhook(&asked, false, MANY).await.unwrap());
        expected.extend((dialect == TIKI).then_some(made));
    }
    walks(&expected, async |page| world.store.webhooks(&tenant, Some(TIKI), &page).await).await;
    assert_eq!(world.store.webhooks(&tenant, Some("centry"), &all()).await.unwrap().items, []);
}

async fn deliveries_come_newest_first(world: &World) {
    let (tenant, webhook) = (tenant_id(), some_webhook());
    let mut expected = Vec::new();
    for age in 0..7 {
        let blank = blank_at(&tenant, webhook, now() - secs(age));
        expected.push(attempted(&blank, DeliveryState::Delivered, None));
    }
    // Recorded in another order than that of their events.
    for at in [3, 0, 6, 1, 5, 2, 4] {
        assert!(world.store.record(&expected[at], None).await.unwrap());
    }
    let other = attempted(&blank_at(&tenant, some_webhook(), now()), DeliveryState::Delivered, None);
    assert!(world.store.record(&other, None).await.unwrap());
    walks(&expected, async |page| world.store.deliveries(&tenant, webhook, &Sought::default(), &page).await)
        .await;
    assert_eq!(
        world.store.deliveries(&tenant, some_webhook(), &Sought::default(), &all()).await.unwrap().items,
        []
    );
}

async fn what_is_removed_between_pages_does_not_end_the_walk(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let mut webhooks = Vec::new();
    for _ in 0..4 {
        webhooks.push(kept_webhook(store, &tenant, &["order.created"]).await);
    }
    let first = store.webhooks(&tenant, None, &PageRequest::first(2)).await.unwrap();
    assert_eq!(first.items, webhooks[..2]);
    // The very one where the page ended.
    assert!(store.remove_webhook(&tenant, webhooks[1].id).await.unwrap());
    let second = PageRequest { after: first.next, ..PageRequest::first(2) };
    assert_eq!(store.webhooks(&tenant, None, &second).await.unwrap().items, webhooks[2..]);
}

async fn an_odd_cursor_is_no_fault_of_the_store(world: &World) {
    let tenant: TenantId = kept_tenant(&*world.store).await;
    let webhook = kept_webhook(&*world.store, &tenant, &["order.created"]).await.id;
    let (long, other) = ("x".repeat(3000), some_webhook().to_string());
    for cursor in ["", "x", "wh_", "~", "é", "#", "\0", "0", "-1", "99999999999999999999", &long, &other] {
        let page = PageRequest { limit: 10, after: Some(cursor.to_owned()) };
        let store = &*world.store;
        let results = [
            store.tenants(&page).await.map(drop),
            store.keys(&tenant, &page).await.map(drop),
            store.webhooks(&tenant, None, &page).await.map(drop),
            store.deliveries(&tenant, webhook, &Sought::default(), &page).await.map(drop),
        ];
        for (at, result) in results.iter().enumerate() {
            assert!(
                matches!(result, Ok(()) | Err(Error::Invalid { .. })),
                "list {at}, {cursor:.20?}: {result:?}"
            );
        }
    }
}

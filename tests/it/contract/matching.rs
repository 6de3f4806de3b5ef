//! Which webhooks an event goes to.

use postrider::{
    filter::Filter,
    model::{TenantId, Webhook, WebhookId},
};

use super::{
    World, on_every_engine,
    samples::{
        MANY, TIKI, V1, added, filter, kept_tenant, kept_webhook, patterns, secs, subscribers, tenant,
        tenant_id, topic, webhook,
    },
};

on_every_engine!(
    webhooks_match_by_topic_and_by_star,
    webhooks_match_by_what_is_above_a_topic,
    a_webhook_matches_once,
    a_topic_is_not_its_beginning,
    whatever_their_state_or_dialect,
    an_unknown_tenant_is_told_apart,
    matching_follows_each_write,
    a_filter_comes_with_its_webhook,
    a_filter_of_a_hundred_topics_changes_for_all_of_them,
);

async fn matching(world: &World, tenant: &TenantId, name: &str) -> Option<Vec<WebhookId>> {
    subscribers(&*world.store, tenant, name).await
}

async fn webhooks_match_by_topic_and_by_star(world: &World) {
    let store = &*world.store;
    let (tenant, other) = (kept_tenant(store).await, kept_tenant(store).await);
    let created = kept_webhook(store, &tenant, &["order.created"]).await.id;
    let both = kept_webhook(store, &tenant, &["order.created", "order.updated"]).await.id;
    let star = kept_webhook(store, &tenant, &["*"]).await.id;
    kept_webhook(store, &other, &["order.created", "*"]).await;
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), [created, both, star]);
    assert_eq!(matching(world, &tenant, "order.updated").await.unwrap(), [both, star]);
    assert_eq!(matching(world, &tenant, "order.deleted").await.unwrap(), [star]);
}

async fn webhooks_match_by_what_is_above_a_topic(world: &World) {
    let store = &*world.store;
    let (tenant, other) = (kept_tenant(store).await, kept_tenant(store).await);
    let orders = kept_webhook(store, &tenant, &["order.*"]).await;
    let items = kept_webhook(store, &tenant, &["order.item.*", "stock.*"]).await.id;
    let every = kept_webhook(store, &tenant, &["*", "order.*", "order.item.*", "order.item.added"]).await.id;
    kept_webhook(store, &other, &["order.*"]).await;
    for (topic, ids) in [
        ("order.created", &[orders.id, every][..]),
        ("order.item.added", &[orders.id, items, every]),
        ("order.item.added.again", &[orders.id, items, every]),
        ("order_return.created", &[every]),
        ("orders.created", &[every]),
        ("stock.changed", &[items, every]),
        ("a.order.created", &[every]),
    ] {
        assert_eq!(matching(world, &tenant, topic).await.unwrap(), ids, "{topic}");
    }
    assert_eq!(store.webhook(&tenant, orders.id).await.unwrap(), Some(orders.clone()));

    let fewer = Webhook {
        topics: patterns(&["order.item.*"]),
        updated_at: orders.updated_at + secs(1),
        ..orders.clone()
    };
    assert!(store.replace_webhook(&orders, &fewer).await.unwrap());
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), [every]);
    assert_eq!(matching(world, &tenant, "order.item.added").await.unwrap(), [orders.id, items, every]);
    assert!(store.remove_webhook(&tenant, orders.id).await.unwrap());
    assert_eq!(matching(world, &tenant, "order.item.added").await.unwrap(), [items, every]);
}

async fn a_webhook_matches_once(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let id =
        kept_webhook(&*world.store, &tenant, &["*", "order.*", "order.created", "order.created"]).await.id;
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), [id]);
}

async fn a_topic_is_not_its_beginning(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let whole = kept_webhook(&*world.store, &tenant, &["order.created"]).await.id;
    let longer = kept_webhook(&*world.store, &tenant, &["order.created.twice"]).await.id;
    let alike = kept_webhook(&*world.store, &tenant, &["order.created_"]).await.id;
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), [whole]);
    assert_eq!(matching(world, &tenant, "order.created.twice").await.unwrap(), [longer]);
    assert_eq!(matching(world, &tenant, "order.created_").await.unwrap(), [alike]);
}

async fn whatever_their_state_or_dialect(world: &World) {
    use postrider::model::State::{Active, Disabled, Paused};
    let tenant = kept_tenant(&*world.store).await;
    let mut ids = Vec::new();
    for (state, dialect) in [(Active, V1), (Paused, TIKI), (Disabled { reason: "gone".into() }, V1)] {
        let asked = Webhook { state, ..webhook(&tenant, dialect, &["order.created"]) };
        ids.push(added(world.store.add_webhook(&asked, dialect == TIKI, MANY).await.unwrap()).id);
    }
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), ids);
}

async fn an_unknown_tenant_is_told_apart(world: &World) {
    let id = tenant_id();
    assert_eq!(matching(world, &id, "order.created").await, None);
    assert!(world.store.add_tenant(&tenant(&id)).await.unwrap());
    assert_eq!(matching(world, &id, "order.created").await.unwrap(), []);
}

async fn matching_follows_each_write(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), []);
    let old = kept_webhook(store, &tenant, &["order.created"]).await;
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), [old.id]);
    assert_eq!(matching(world, &tenant, "order.updated").await.unwrap(), []);
    let new =
        Webhook { topics: patterns(&["order.updated"]), updated_at: old.updated_at + secs(1), ..old.clone() };
    assert!(store.replace_webhook(&old, &new).await.unwrap());
    assert_eq!(matching(world, &tenant, "order.created").await.unwrap(), []);
    assert_eq!(matching(world, &tenant, "order.updated").await.unwrap(), [old.id]);
    assert!(store.remove_webhook(&tenant, old.id).await.unwrap());
    assert_eq!(matching(world, &tenant, "order.updated").await.unwrap(), []);
    assert!(store.remove_tenant(&tenant).await.unwrap());
    assert_eq!(matching(world, &tenant, "order.updated").await, None);
}

/// The filters of a topic's webhooks, by age; none: it gets all.
async fn filters(world: &World, tenant: &TenantId, name: &str) -> Vec<Option<Filter>> {
    let found = world.store.matching(tenant, &topic(name)).await.unwrap().unwrap();
    let all = found.all.iter().map(|id| (*id, None));
    let mut filters: Vec<_> =
        all.chain(found.choosy.iter().map(|(id, filter)| (*id, Some(filter.clone())))).collect();
    filters.sort_unstable_by_key(|(id, _)| *id);
    filters.into_iter().map(|(_, filter)| filter).collect()
}

async fn a_filter_comes_with_its_webhook(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    kept_webhook(store, &tenant, &["order.created"]).await;
    let asked = Webhook {
        filter: Some(filter("paid")),
        ..webhook(&tenant, V1, &["order.created", "order.*", "order.updated", "*"])
    };
    let mut webhook = added(store.add_webhook(&asked, false, MANY).await.unwrap());
    assert_eq!(store.webhook(&tenant, webhook.id).await.unwrap(), Some(webhook.clone()));
    assert_eq!(store.target(&tenant, webhook.id).await.unwrap().unwrap().webhook, webhook);
    // Each change shows at once in what was matched a moment before.
    for (filter, topics) in [
        (Some(filter("paid")), &["order.created", "order.*", "order.updated", "*"][..]),
        (Some(filter("shipped")), &["order.created", "order.*", "order.updated", "*"]),
        (None, &["order.created", "order.*", "order.updated", "*"]),
        (Some(filter("paid")), &["order.updated", "order.*"]),
        (Some(filter("paid")), &["order.*", "order.created", "a.b"]),
        (Some(filter("lost")), &["order.*"]),
    ] {
        let new = Webhook {
            filter: filter.clone(),
            topics: patterns(topics),
            updated_at: webhook.updated_at + secs(1),
            ..webhook.clone()
        };
        assert!(store.replace_webhook(&webhook, &new).await.unwrap());
        webhook = new;
        for next in [world, &world.next_process()] {
            assert_eq!(filters(next, &tenant, "order.created").await, [None, filter.clone()]);
            assert_eq!(filters(next, &tenant, "order.updated").await, std::slice::from_ref(&filter));
            assert_eq!(next.store.webhook(&tenant, webhook.id).await.unwrap(), Some(webhook.clone()));
        }
    }
    // A change of something else leaves it.
    let new = Webhook { name: None, updated_at: webhook.updated_at + secs(1), ..webhook.clone() };
    assert!(store.replace_webhook(&webhook, &new).await.unwrap());
    assert_eq!(filters(world, &tenant, "order.updated").await, [Some(filter("lost"))]);
    assert!(store.remove_webhook(&tenant, webhook.id).await.unwrap());
    assert_eq!(filters(world, &tenant, "order.updated").await, []);
}

async fn a_filter_of_a_hundred_topics_changes_for_all_of_them(world: &World) {
    let store = &*world.store;
    let tenant = kept_tenant(store).await;
    let names: Vec<_> = (0..100).map(|n| format!("order.n{n}")).collect();
    let old = kept_webhook(store, &tenant, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let long = Filter::of_events(&serde_json::json!({ "payload": { "a": ["x".repeat(4000)] } })).unwrap();
    let new = Webhook { filter: Some(long.clone()), updated_at: old.updated_at + secs(1), ..old.clone() };
    assert!(store.replace_webhook(&old, &new).await.unwrap());
    for name in &names {
        assert_eq!(filters(world, &tenant, name).await, [Some(long.clone())], "{name}");
    }
}

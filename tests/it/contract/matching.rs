//! Which webhooks an event goes to.

use postrider::model::{Webhook, WebhookId};

use super::{
    World, on_every_engine,
    samples::{
        MANY, TIKI, V1, added, kept_tenant, kept_webhook, patterns, secs, tenant, tenant_id, topic, webhook,
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
);

async fn matching(world: &World, tenant: &postrider::model::TenantId, name: &str) -> Option<Vec<WebhookId>> {
    let mut found = world.store.matching(tenant, &topic(name)).await.unwrap()?.to_vec();
    found.sort_unstable();
    Some(found)
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

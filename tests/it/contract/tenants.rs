//! Tenants, what they grant us, and what goes with them.

use postrider::model::{Credentials, Secret};

use super::{
    World, on_every_engine,
    samples::{
        MANY, TIKI, added, all, kept_tenant, kept_webhook, key, subscribers, tenant, tenant_id, topic,
        webhook,
    },
};

on_every_engine!(
    a_tenant_is_found_as_it_was_added,
    there_is_one_tenant_of_an_id,
    of_many_that_add_one_tenant_one_does,
    a_removed_tenant_takes_everything_along,
    a_tenant_of_a_removed_ones_id_begins_empty,
    a_grant_is_in_force_at_once,
    nobody_grants_for_a_tenant_that_is_not_there,
);

async fn a_tenant_is_found_as_it_was_added(world: &World) {
    let id = tenant_id();
    assert_eq!(world.store.tenant(&id).await.unwrap(), None);
    let made = tenant(&id);
    assert!(world.store.add_tenant(&made).await.unwrap());
    assert_eq!(world.store.tenant(&id).await.unwrap(), Some(made.clone()));
    let found = world.store.tenants(&all()).await.unwrap();
    assert_eq!((found.items, found.next), (vec![made], None));
}

async fn there_is_one_tenant_of_an_id(world: &World) {
    let id = kept_tenant(&*world.store).await;
    let first = world.store.tenant(&id).await.unwrap();
    let mut second = tenant(&id);
    second.name = "second".into();
    assert!(!world.store.add_tenant(&second).await.unwrap());
    assert_eq!(world.store.tenant(&id).await.unwrap(), first);
    assert_eq!(world.store.tenants(&all()).await.unwrap().items, Vec::from_iter(first));
}

async fn of_many_that_add_one_tenant_one_does(world: &World) {
    let made = tenant(&tenant_id());
    let adding = (0..20).map(|_| world.store.add_tenant(&made));
    let added = futures::future::try_join_all(adding).await.unwrap();
    assert_eq!(added.iter().filter(|added| **added).count(), 1);
}

async fn a_removed_tenant_takes_everything_along(world: &World) {
    let store = &*world.store;
    let (id, other) = (kept_tenant(store).await, kept_tenant(store).await);
    let (stays, others_key) = (kept_webhook(store, &other, &["order.created"]).await, key(Some(&other)));
    let mut gone = vec![kept_webhook(store, &id, &["order.created", "*"]).await];
    gone.push(added(store.add_webhook(&webhook(&id, TIKI, &["order.created"]), true, MANY).await.unwrap()));
    let mut keys = Vec::new();
    for _ in 0..30 {
        keys.push(key(Some(&id)));
    }
    for key in keys.iter().chain([&others_key]) {
        store.add_key(key).await.unwrap();
    }
    let granted = Credentials { id: "me".into(), secret: Secret::new("hush") };
    assert!(store.grant(&id, &granted).await.unwrap());
    // What is read here may not be answered from a cache below.
    assert_eq!(subscribers(store, &id, "order.created").await.unwrap().len(), 2);
    assert!(store.target(&id, gone[0].id).await.unwrap().is_some());
    assert!(store.key(&keys[0].id).await.unwrap().is_some());

    assert!(store.remove_tenant(&id).await.unwrap());
    assert_eq!(store.tenant(&id).await.unwrap(), None);
    assert_eq!(store.matching(&id, &topic("order.created")).await.unwrap(), None);
    assert_eq!(store.webhooks(&id, None, &all()).await.unwrap().items, []);
    assert_eq!(store.holder(&id, TIKI, &topic("order.created")).await.unwrap(), None);
    for webhook in &gone {
        assert_eq!(store.webhook(&id, webhook.id).await.unwrap(), None);
        assert_eq!(store.target(&id, webhook.id).await.unwrap(), None);
    }
    assert_eq!(store.keys(&id, &all()).await.unwrap().items, []);
    for key in &keys {
        assert_eq!(store.key(&key.id).await.unwrap(), None);
    }
    assert!(!store.grant(&id, &granted).await.unwrap());
    assert!(!store.remove_tenant(&id).await.unwrap(), "there is none any more");

    let left: Vec<_> = store.tenants(&all()).await.unwrap().items.into_iter().map(|t| t.id).collect();
    assert_eq!(left[..], *std::slice::from_ref(&other));
    assert_eq!(store.webhook(&other, stays.id).await.unwrap(), Some(stays));
    assert_eq!(store.key(&others_key.id).await.unwrap(), Some(others_key));
}

async fn a_tenant_of_a_removed_ones_id_begins_empty(world: &World) {
    let store = &*world.store;
    let id = kept_tenant(store).await;
    let old = added(store.add_webhook(&webhook(&id, TIKI, &["order.created"]), true, 1).await.unwrap());
    store.add_key(&key(Some(&id))).await.unwrap();
    assert!(store.grant(&id, &Credentials { id: "me".into(), secret: Secret::new("hush") }).await.unwrap());
    assert!(store.remove_tenant(&id).await.unwrap());

    assert!(store.add_tenant(&tenant(&id)).await.unwrap());
    assert_eq!(subscribers(store, &id, "order.created").await.as_deref(), Some(&[][..]));
    assert_eq!(store.webhooks(&id, None, &all()).await.unwrap().items, []);
    assert_eq!(store.webhook(&id, old.id).await.unwrap(), None);
    assert_eq!(store.keys(&id, &all()).await.unwrap().items, []);
    // Neither the quota nor the topic is taken, and nothing is granted.
    let new = added(store.add_webhook(&webhook(&id, TIKI, &["order.created"]), true, 1).await.unwrap());
    assert_eq!(store.target(&id, new.id).await.unwrap().unwrap().credentials, None);
}

async fn a_grant_is_in_force_at_once(world: &World) {
    let store = &*world.store;
    let id = kept_tenant(store).await;
    let webhook = kept_webhook(store, &id, &["order.created"]).await;
    assert_eq!(store.target(&id, webhook.id).await.unwrap().unwrap().credentials, None);
    for secret in ["first", "sécond ☃"] {
        let granted = Credentials { id: format!("user of {secret}"), secret: Secret::new(secret) };
        assert!(store.grant(&id, &granted).await.unwrap());
        let target = store.target(&id, webhook.id).await.unwrap().unwrap();
        assert_eq!((&target.webhook, &target.credentials), (&webhook, &Some(granted.clone())));
        let target = world.next_process().store.target(&id, webhook.id).await.unwrap().unwrap();
        assert_eq!(target.credentials, Some(granted));
    }
}

async fn nobody_grants_for_a_tenant_that_is_not_there(world: &World) {
    let granted = Credentials { id: "me".into(), secret: Secret::new("hush") };
    let id = tenant_id();
    assert!(!world.store.grant(&id, &granted).await.unwrap());
    // Nor is it kept for one that comes later.
    assert!(world.store.add_tenant(&tenant(&id)).await.unwrap());
    let webhook = kept_webhook(&*world.store, &id, &["*"]).await;
    assert_eq!(world.store.target(&id, webhook.id).await.unwrap().unwrap().credentials, None);
}

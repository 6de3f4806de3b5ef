//! What is another tenant's is not there.

use postrider::{
    model::{Credentials, DeliveryState, Secret, TenantId},
    operation::Sought,
};

use super::{
    World, on_every_engine,
    samples::{
        MANY, TIKI, added, all, attempted, blank, event_at, kept_tenant, key, now, subscribers, tenant,
        topic, webhook,
    },
};

on_every_engine!(a_foreign_tenant_sees_nothing, a_foreign_tenant_changes_nothing);

async fn a_foreign_tenant_sees_nothing(world: &World) {
    let store = &*world.store;
    let mine = kept_tenant(store).await;
    let held = added(store.add_webhook(&webhook(&mine, TIKI, &["order.created"]), true, MANY).await.unwrap());
    store.add_key(&key(Some(&mine))).await.unwrap();
    let event = std::sync::Arc::new(event_at(&mine, &[held.id], now()));
    assert!(store.accept(std::slice::from_ref(&event)).await.iter().all(Result::is_ok));
    let delivery = attempted(&blank(&mine, held.id), DeliveryState::Delivered, None);
    assert!(store.record(&delivery, None).await.unwrap());
    assert!(store.target(&mine, held.id).await.unwrap().is_some());

    // One that is there with a name that begins alike, and one that is not there.
    let alike: TenantId = format!("{mine}0").parse().unwrap();
    assert!(store.add_tenant(&tenant(&alike)).await.unwrap());
    let nobody: TenantId = format!("{mine}.1").parse().unwrap();
    for (foreign, is_there) in [(alike, true), (nobody, false)] {
        assert_eq!(store.webhook(&foreign, held.id).await.unwrap(), None);
        assert_eq!(store.webhooks(&foreign, None, &all()).await.unwrap().items, []);
        assert_eq!(store.webhooks(&foreign, Some(TIKI), &all()).await.unwrap().items, []);
        assert_eq!(store.holder(&foreign, TIKI, &topic("order.created")).await.unwrap(), None);
        let found = subscribers(store, &foreign, "order.created").await;
        assert_eq!(found.as_deref(), is_there.then_some(&[][..]));
        assert_eq!(store.target(&foreign, held.id).await.unwrap(), None);
        assert_eq!(store.keys(&foreign, &all()).await.unwrap().items, []);
        assert_eq!(store.event(&foreign, &event.id).await.unwrap(), None);
        assert_eq!(store.delivery(&foreign, delivery.id).await.unwrap(), None);
        assert_eq!(store.deliveries(&foreign, held.id, &Sought::default(), &all()).await.unwrap().items, []);
        assert_eq!(store.waiting(&foreign, held.id, 10).await.unwrap(), []);
    }
    assert_eq!(store.delivery(&mine, delivery.id).await.unwrap(), Some(delivery));
}

async fn a_foreign_tenant_changes_nothing(world: &World) {
    let store = &*world.store;
    let (mine, foreign) = (kept_tenant(store).await, kept_tenant(store).await);
    let held = added(store.add_webhook(&webhook(&mine, TIKI, &["order.created"]), true, MANY).await.unwrap());
    assert!(!store.remove_webhook(&foreign, held.id).await.unwrap());
    assert!(
        store.grant(&foreign, &Credentials { id: "me".into(), secret: Secret::new("hush") }).await.unwrap()
    );
    assert!(store.remove_tenant(&foreign).await.unwrap());
    assert_eq!(store.webhook(&mine, held.id).await.unwrap(), Some(held.clone()));
    assert_eq!(store.holder(&mine, TIKI, &topic("order.created")).await.unwrap(), Some(held.clone()));
    let found = subscribers(store, &mine, "order.created").await;
    assert_eq!(found.as_deref(), Some(&[held.id][..]));
    assert_eq!(store.target(&mine, held.id).await.unwrap().unwrap().credentials, None);
}

//! API keys.

use postrider::{
    bucket::{Bucket, Poured},
    model::{KeyId, Scope},
};

use super::{
    World, on_every_engine,
    samples::{all, kept_tenant, key, now, tenant_id},
};

on_every_engine!(
    a_keys_bucket_fills_and_leaks,
    a_key_is_found_as_it_was_added,
    an_operators_key_is_nobodys,
    a_tenants_keys_are_listed,
    a_removed_key_is_gone_at_once,
    a_key_is_found_although_it_was_asked_for_before_it_was_added,
    only_its_tenant_removes_a_key,
);

async fn a_key_is_found_as_it_was_added(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let mut forever = key(Some(&tenant));
    forever.expires_at = None;
    forever.scopes = vec![Scope::Admin];
    for record in [key(Some(&tenant)), forever] {
        world.store.add_key(&record).await.unwrap();
        assert_eq!(world.store.key(&record.id).await.unwrap(), Some(record.clone()));
        assert_eq!(world.next_process().store.key(&record.id).await.unwrap(), Some(record));
    }
    assert_eq!(world.store.key(&key(None).id).await.unwrap(), None);
}

async fn an_operators_key_is_nobodys(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let record = key(None);
    world.store.add_key(&record).await.unwrap();
    assert_eq!(world.store.key(&record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(world.store.keys(&tenant, &all()).await.unwrap().items, []);
    assert!(!world.store.remove_key(&tenant, &record.id).await.unwrap());
    assert_eq!(world.next_process().store.key(&record.id).await.unwrap(), Some(record));
}

async fn a_tenants_keys_are_listed(world: &World) {
    let (tenant, other) = (kept_tenant(&*world.store).await, kept_tenant(&*world.store).await);
    let records = [key(Some(&tenant)), key(Some(&tenant))];
    for record in &records {
        world.store.add_key(record).await.unwrap();
    }
    world.store.add_key(&key(Some(&other))).await.unwrap();
    let found = world.store.keys(&tenant, &all()).await.unwrap();
    assert_eq!((found.items, found.next), (records.to_vec(), None));
    assert_eq!(world.store.keys(&tenant_id(), &all()).await.unwrap().items, []);
}

async fn a_removed_key_is_gone_at_once(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let (gone, stays) = (key(Some(&tenant)), key(Some(&tenant)));
    for record in [&gone, &stays] {
        world.store.add_key(record).await.unwrap();
        assert!(world.store.key(&record.id).await.unwrap().is_some());
    }
    assert!(world.store.remove_key(&tenant, &gone.id).await.unwrap());
    assert_eq!(world.store.key(&gone.id).await.unwrap(), None);
    assert_eq!(world.store.keys(&tenant, &all()).await.unwrap().items, [stays]);
    assert!(!world.store.remove_key(&tenant, &gone.id).await.unwrap(), "it has no such key any more");
}

async fn a_key_is_found_although_it_was_asked_for_before_it_was_added(world: &World) {
    let record = key(None);
    assert_eq!(world.store.key(&record.id).await.unwrap(), None);
    world.store.add_key(&record).await.unwrap();
    assert_eq!(world.store.key(&record.id).await.unwrap(), Some(record));
}

async fn only_its_tenant_removes_a_key(world: &World) {
    let (tenant, other) = (kept_tenant(&*world.store).await, kept_tenant(&*world.store).await);
    let record = key(Some(&tenant));
    world.store.add_key(&record).await.unwrap();
    assert!(!world.store.remove_key(&other, &record.id).await.unwrap());
    assert_eq!(world.next_process().store.key(&record.id).await.unwrap(), Some(record));
}

async fn a_keys_bucket_fills_and_leaks(world: &World) {
    let store = &*world.store;
    let bucket = Bucket { capacity: 3, leak: 2 };
    let (ours, other) = (key(None).id, key(None).id);
    let start = now();
    let level = async |id: &KeyId, millis: i64| {
        let at = start + jiff::SignedDuration::from_millis(millis);
        match store.pour(id, bucket, at).await.unwrap() {
            Poured::In { level, .. } => Ok(level),
            Poured::Full { wait } => Err(wait.as_millis()),
        }
    };
    for n in 1..=3 {
        assert_eq!(level(&ours, 0).await, Ok(n));
    }
    assert_eq!(level(&ours, 100).await, Err(400));
    assert_eq!(level(&other, 100).await, Ok(1), "each key has its own");
    assert_eq!(level(&ours, 500).await, Ok(3));
    assert_eq!(level(&ours, 60_000).await, Ok(1));
}

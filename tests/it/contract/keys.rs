//! API keys.

use postrider::{
    bucket::{Bucket, Poured},
    model::{Challenge, Code, Grant, KeyHash, KeyId, KeyRecord, Scope, Secret, TenantId},
};

use super::{
    World, on_every_engine,
    samples::{all, kept_tenant, key, now, secs, tenant_id},
};

on_every_engine!(
    a_keys_bucket_fills_and_leaks,
    a_key_is_found_as_it_was_added,
    an_operators_key_is_nobodys,
    a_tenants_keys_are_listed,
    a_removed_key_is_gone_at_once,
    a_key_is_found_although_it_was_asked_for_before_it_was_added,
    only_its_tenant_removes_a_key,
    a_session_is_in_no_list_and_can_be_removed,
    a_secret_is_swapped_for_another_once,
    what_another_process_swapped_is_seen_when_it_matters,
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

/// A grant with something in every field.
fn grant(tenant: &TenantId) -> KeyRecord {
    let code = Code {
        redirect_uri: "https://app.example/callback?a=b".into(),
        challenge: Some(Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into())),
    };
    let grant = Grant {
        client: key(None).id,
        dialect: "centry".into(),
        scope: "public read_webhook".into(),
        code: Some(code),
        access: Some(key(None).id),
    };
    KeyRecord {
        session_of: Some(key(None).id),
        scopes: vec![Scope::Read],
        redirect_uris: Vec::new(),
        grant: Some(Box::new(grant)),
        ..key(Some(tenant))
    }
}

/// The same grant with its next secret.
fn next(old: &KeyRecord, secret: &str) -> KeyRecord {
    let mut new = old.clone();
    new.hash = KeyHash::of(&Secret::new(secret));
    new.expires_at = Some(now() + secs(7_776_000));
    let grant = new.grant.as_mut().unwrap();
    (grant.code, grant.access) = (None, Some(key(None).id));
    new
}

async fn a_session_is_in_no_list_and_can_be_removed(world: &World) {
    let (tenant, other) = (kept_tenant(&*world.store).await, kept_tenant(&*world.store).await);
    let (record, listed) = (grant(&tenant), key(Some(&tenant)));
    for record in [&record, &listed] {
        world.store.add_key(record).await.unwrap();
        assert_eq!(world.store.key(&record.id).await.unwrap().as_ref(), Some(record));
    }
    assert_eq!(world.store.keys(&tenant, &all()).await.unwrap().items, [listed]);
    assert!(!world.store.remove_key(&other, &record.id).await.unwrap());
    assert!(world.store.remove_key(&tenant, &record.id).await.unwrap());
    assert_eq!(world.store.key(&record.id).await.unwrap(), None);
    assert!(!world.store.remove_key(&tenant, &record.id).await.unwrap());
}

async fn a_secret_is_swapped_for_another_once(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let old = grant(&tenant);
    let (first, second) = (next(&old, "first"), next(&old, "second"));
    assert!(!world.store.swap_key(&old, &first).await.unwrap(), "there is nothing to be swapped");
    assert_eq!(world.store.key(&old.id).await.unwrap(), None);
    world.store.add_key(&old).await.unwrap();
    assert_eq!(world.store.key(&old.id).await.unwrap(), Some(old.clone()));
    let process = world.next_process();
    let (one, other) =
        futures::join!(world.store.swap_key(&old, &first), process.store.swap_key(&old, &second));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one != other, "one is faster");
    let kept = if one { &first } else { &second };
    assert_eq!(world.store.key_now(&old.id).await.unwrap().as_ref(), Some(kept));
    assert!(!world.store.swap_key(&old, &first).await.unwrap());
    assert!(world.store.swap_key(kept, &next(kept, "third")).await.unwrap());
    assert_eq!(world.store.keys(&tenant, &all()).await.unwrap().items, []);
    assert!(world.store.remove_key(&tenant, &old.id).await.unwrap());
    assert!(!world.store.swap_key(&next(kept, "third"), kept).await.unwrap(), "what is removed stays so");
}

async fn what_another_process_swapped_is_seen_when_it_matters(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let old = grant(&tenant);
    let process = world.next_process();
    world.store.add_key(&old).await.unwrap();
    assert!(process.store.key(&old.id).await.unwrap().is_some(), "its cache has it");
    let new = next(&old, "new");
    assert!(world.store.swap_key(&old, &new).await.unwrap());
    assert_eq!(world.store.key(&old.id).await.unwrap().as_ref(), Some(&new), "our own is void");
    assert_eq!(process.store.key_now(&old.id).await.unwrap(), Some(new));
}

async fn a_keys_bucket_fills_and_leaks(world: &World) {
    let store = &*world.store;
    let bucket = Bucket { capacity: 3, leak: 2 };
    let (ours, other) = (key(None).id, key(None).id);
    let start = now();
    let level = async |id: &KeyId, millis: i64| {
        let at = start + jiff::SignedDuration::from_millis(millis);
        match store.pour(id.as_str(), bucket, at).await.unwrap() {
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

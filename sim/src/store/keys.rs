//! Keys, and what operators say of topics.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use postrider::{
    bucket::{Bucket, Poured},
    catalogue::Catalogue,
    error::Error,
    model::{CustomTopic, KeyId, KeyRecord, TenantId, Topic},
    operation::{Page, PageRequest},
    ports::{Keys, Topics},
};

use super::{SimStore, page};
use crate::{trace::About, world::Core};

#[async_trait]
impl Keys for SimStore {
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error> {
        self.key_now(id).await
    }

    async fn key_now(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error> {
        self.call("key", About::Deliveries(Vec::new()), |core| Ok(core.tables.keys.get(id).cloned())).await
    }

    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error> {
        let add = |core: &mut Core| {
            core.tables.keys.insert(key.id.clone(), key.clone());
            Ok(())
        };
        self.call("add_key", About::World, add).await
    }

    async fn swap_key(&self, old: &KeyRecord, new: &KeyRecord) -> Result<bool, Error> {
        let swap = |core: &mut Core| {
            let kept = core.tables.keys.get_mut(&old.id).filter(|kept| kept.hash == old.hash);
            Ok(kept.map(|kept| kept.clone_from(new)).is_some())
        };
        self.call("swap_key", About::World, swap).await
    }

    async fn keys(&self, tenant: &TenantId, request: &PageRequest) -> Result<Page<KeyRecord>, Error> {
        let list = |core: &mut Core| {
            let after = request.after.as_deref().unwrap_or_default();
            let own = |key: &&KeyRecord| {
                key.tenant.as_ref() == Some(tenant) && key.session_of.is_none() && key.id.as_str() > after
            };
            Ok(page(core.tables.keys.values().filter(own).cloned(), request, |key| key.id.to_string()))
        };
        self.call("keys", About::World, list).await
    }

    async fn pour(&self, name: &str, bucket: Bucket, now: Timestamp) -> Result<Poured, Error> {
        let pour = |core: &mut Core| {
            let poured = bucket.pour(core.tables.buckets.get(name).copied(), now);
            if let Poured::In { empty_at, .. } = poured {
                core.tables.buckets.insert(name.to_owned(), empty_at);
            }
            Ok(poured)
        };
        self.call("pour", About::World, pour).await
    }

    async fn remove_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, Error> {
        let remove = |core: &mut Core| {
            let own = core.tables.keys.get(id).is_some_and(|key| key.tenant.as_ref() == Some(tenant));
            Ok(own && core.tables.keys.remove(id).is_some())
        };
        self.call("remove_key", About::World, remove).await
    }
}

#[async_trait]
impl Topics for SimStore {
    async fn catalogue(&self) -> Result<Arc<Catalogue>, Error> {
        let read = |core: &mut Core| Ok(Arc::new(Catalogue::new(core.tables.topics.values().cloned())));
        self.call("catalogue", About::Deliveries(Vec::new()), read).await
    }

    async fn put_topic(&self, topic: &CustomTopic) -> Result<(), Error> {
        let put = |core: &mut Core| {
            core.tables.topics.insert(topic.topic.clone(), topic.clone());
            Ok(())
        };
        self.call("put_topic", About::World, put).await
    }

    async fn remove_topic(&self, topic: &Topic) -> Result<bool, Error> {
        self.call("remove_topic", About::World, |core| Ok(core.tables.topics.remove(topic).is_some())).await
    }
}

//! Tenants and webhooks.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use postrider::{
    error::Error,
    model::{Credentials, State, Tally, Tenant, TenantId, Topic, TopicPattern, Webhook, WebhookId},
    operation::{Page, PageRequest},
    ports::{Added, Subscribers, Target, Webhooks},
};

use super::{KeptTenant, SimStore, Tables, odd_cursor, page};
use crate::{
    trace::About,
    world::{Core, World},
};

impl Tables {
    fn add_webhook(&mut self, webhook: &Webhook, exclusive: bool, quota: usize) -> Added {
        let Some(tenant) = self.tenants.get_mut(&webhook.tenant) else { return Added::NoTenant };
        if self.webhooks.keys().filter(|(of, _)| *of == webhook.tenant).count() >= quota {
            return Added::OverQuota;
        }
        let holder = |topic: &TopicPattern| {
            (webhook.tenant.clone(), webhook.dialect.clone(), topic.as_str().to_owned())
        };
        if exclusive {
            if webhook.topics.iter().any(|topic| self.holders.contains_key(&holder(topic))) {
                return Added::TopicTaken;
            }
            self.holders.extend(webhook.topics.iter().map(|topic| (holder(topic), webhook.id)));
        }
        tenant.last_number += 1;
        let added = Webhook { number: tenant.last_number, tally: Tally::default(), ..webhook.clone() };
        self.webhooks.insert((webhook.tenant.clone(), webhook.id), added.clone());
        Added::Webhook(Box::new(added))
    }

    fn remove_webhook(&mut self, tenant: &TenantId, id: WebhookId) -> bool {
        let is_there = self.webhooks.remove(&(tenant.clone(), id)).is_some();
        if is_there {
            self.holders.retain(|_, holder| *holder != id);
            self.sequences.retain(|delivery, _| delivery.webhook != id);
            self.tallies.remove(&id);
            self.healths.remove(&id);
            self.looks.remove(&id);
            self.lines.retain(|(webhook, _), _| *webhook != id);
        }
        is_there
    }

    /// The webhooks that an event of this topic goes to; none: there is no such tenant.
    pub fn matching(&self, tenant: &TenantId, topic: &Topic) -> Option<Arc<Subscribers>> {
        self.tenants.get(tenant)?;
        let own = self.webhooks.values().filter(|webhook| webhook.tenant == *tenant);
        let found = own.filter(|webhook| webhook.topics.iter().any(|pattern| pattern.takes(topic)));
        Some(Arc::new(
            found.map(|webhook| (webhook.id, webhook.filter.clone(), webhook.ordered.is_some())).collect(),
        ))
    }
}

impl SimStore {
    /// A write to webhooks: what this process read before is void, whatever came of it.
    async fn write<T: Send>(
        &self,
        verb: &'static str,
        about: About,
        effect: impl FnOnce(&mut Core) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let written = self.call(verb, about, effect).await;
        self.void();
        written
    }
}

/// Until when an answer may be given again.
fn kept_until(world: &World) -> i64 {
    let core = world.lock();
    core.now + core.faults.stale
}

#[async_trait]
impl Webhooks for SimStore {
    async fn add_tenant(&self, tenant: &Tenant) -> Result<bool, Error> {
        let add = |core: &mut Core| {
            if core.tables.tenants.contains_key(&tenant.id) {
                return Ok(false);
            }
            let kept = KeptTenant { tenant: tenant.clone(), last_number: 0, credentials: None };
            core.tables.tenants.insert(tenant.id.clone(), kept);
            Ok(true)
        };
        self.write("add_tenant", About::World, add).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error> {
        let find = |core: &mut Core| Ok(core.tables.tenants.get(id).map(|kept| kept.tenant.clone()));
        self.call("tenant", About::World, find).await
    }

    async fn tenants(&self, request: &PageRequest) -> Result<Page<Tenant>, Error> {
        let list = |core: &mut Core| {
            let after = request.after.as_deref().unwrap_or_default();
            let tenants = core.tables.tenants.values().map(|kept| kept.tenant.clone());
            let beyond = tenants.filter(|tenant| tenant.id.as_str() > after);
            Ok(page(beyond, request, |tenant| tenant.id.to_string()))
        };
        self.call("tenants", About::World, list).await
    }

    async fn remove_tenant(&self, id: &TenantId) -> Result<bool, Error> {
        let remove = |core: &mut Core| {
            let own: Vec<_> =
                core.tables.webhooks.keys().filter(|(of, _)| of == id).map(|(_, id)| *id).collect();
            for webhook in own {
                core.tables.remove_webhook(id, webhook);
            }
            core.tables.keys.retain(|_, key| key.tenant.as_ref() != Some(id));
            Ok(core.tables.tenants.remove(id).is_some())
        };
        self.write("remove_tenant", About::World, remove).await
    }

    async fn add_webhook(&self, webhook: &Webhook, exclusive: bool, quota: usize) -> Result<Added, Error> {
        let add = |core: &mut Core| {
            let added = core.tables.add_webhook(webhook, exclusive, quota);
            if let Added::Webhook(added) = &added {
                let added: &Webhook = added;
                core.now_is(added);
            }
            Ok(added)
        };
        self.write("add_webhook", About::Webhook(webhook.id), add).await
    }

    async fn webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Webhook>, Error> {
        let find = |core: &mut Core| Ok(core.tables.webhooks.get(&(tenant.clone(), id)).cloned());
        self.call("webhook", About::Webhook(id), find).await
    }

    async fn state(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<State>, Error> {
        let find = |core: &mut Core| {
            let found = core.tables.webhooks.get(&(tenant.clone(), id));
            Ok(found.map(|webhook| webhook.state.clone()))
        };
        self.call("state", About::Webhook(id), find).await
    }

    async fn numbered(&self, tenant: &TenantId, number: u64) -> Result<Option<Webhook>, Error> {
        let find = |core: &mut Core| {
            let own = |webhook: &&Webhook| webhook.tenant == *tenant && webhook.number == number;
            Ok(core.tables.webhooks.values().find(own).cloned())
        };
        self.call("numbered", About::World, find).await
    }

    async fn holder(
        &self,
        tenant: &TenantId,
        dialect: &str,
        topic: &Topic,
    ) -> Result<Option<Webhook>, Error> {
        let find = |core: &mut Core| {
            let held = (tenant.clone(), dialect.to_owned(), topic.as_str().to_owned());
            let id = core.tables.holders.get(&held).copied();
            Ok(id.and_then(|id| core.tables.webhooks.get(&(tenant.clone(), id)).cloned()))
        };
        self.call("holder", About::World, find).await
    }

    async fn webhooks(
        &self,
        tenant: &TenantId,
        dialect: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Webhook>, Error> {
        let list = |core: &mut Core| {
            let after = request.after.as_deref().map(str::parse::<WebhookId>).transpose();
            let after = after.map_err(|_| odd_cursor())?;
            let own = |webhook: &&Webhook| {
                webhook.tenant == *tenant
                    && dialect.is_none_or(|dialect| webhook.dialect == dialect)
                    && after.is_none_or(|after| webhook.id > after)
            };
            Ok(page(core.tables.webhooks.values().filter(own).cloned(), request, |w| w.id.to_string()))
        };
        self.call("webhooks", About::World, list).await
    }

    async fn replace_webhook(&self, old: &Webhook, new: &Webhook) -> Result<bool, Error> {
        let replace = |core: &mut Core| {
            let kept = core.tables.webhooks.get_mut(&(old.tenant.clone(), old.id));
            let Some(kept) = kept.filter(|kept| kept.updated_at == old.updated_at) else {
                core.say("somebody else was faster");
                return Ok(false);
            };
            kept.clone_from(new);
            core.now_is(new);
            core.say(format!("{:?}", new.state));
            Ok(true)
        };
        self.write("replace_webhook", About::Webhook(old.id), replace).await
    }

    async fn remove_webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<bool, Error> {
        let remove = |core: &mut Core| {
            let removed = core.tables.remove_webhook(tenant, id);
            if removed {
                core.is_gone(id);
                core.say("it is gone");
            }
            Ok(removed)
        };
        self.write("remove_webhook", About::Webhook(id), remove).await
    }

    async fn matching(&self, tenant: &TenantId, topic: &Topic) -> Result<Option<Arc<Subscribers>>, Error> {
        let asked = (tenant.clone(), topic.clone());
        let now = self.world.lock().now;
        let generation = self.caches().generation;
        if let Some((until, known)) = self.caches().matching.get(&asked)
            && now < *until
        {
            return Ok(known.clone());
        }
        let find = |core: &mut Core| Ok(core.tables.matching(tenant, topic));
        let found = self.call("matching", About::World, find).await?;
        let until = kept_until(&self.world);
        let mut caches = self.caches();
        if caches.generation == generation {
            caches.matching.insert(asked, (until, found.clone()));
        }
        Ok(found)
    }

    async fn dialects(&self, tenant: &TenantId, ids: &[WebhookId]) -> Result<BTreeSet<String>, Error> {
        let find = |core: &mut Core| {
            let of = |id: &WebhookId| core.tables.webhooks.get(&(tenant.clone(), *id));
            Ok(ids.iter().filter_map(of).map(|webhook| webhook.dialect.clone()).collect())
        };
        self.call("dialects", About::World, find).await
    }

    async fn target(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Arc<Target>>, Error> {
        let asked = (tenant.clone(), id);
        let now = self.world.lock().now;
        let generation = self.caches().generation;
        if let Some((until, known)) = self.caches().targets.get(&asked)
            && now < *until
        {
            return Ok(known.clone());
        }
        let find = |core: &mut Core| {
            let credentials = core.tables.tenants.get(tenant).and_then(|kept| kept.credentials.clone());
            let webhook = core.tables.webhooks.get(&asked).cloned();
            if webhook.as_ref().is_none_or(|webhook| webhook.state != State::Active) {
                core.say("it gets no deliveries");
            }
            Ok(webhook.map(|webhook| Arc::new(Target { webhook, credentials })))
        };
        let found = self.call("target", About::Webhook(id), find).await?;
        let until = kept_until(&self.world);
        let mut caches = self.caches();
        if caches.generation == generation {
            caches.targets.insert(asked, (until, found.clone()));
        }
        Ok(found)
    }

    async fn grant(&self, tenant: &TenantId, credentials: &Credentials) -> Result<bool, Error> {
        let grant = |core: &mut Core| {
            let kept = core.tables.tenants.get_mut(tenant);
            Ok(kept.map(|kept| kept.credentials = Some(credentials.clone())).is_some())
        };
        self.write("grant", About::World, grant).await
    }
}

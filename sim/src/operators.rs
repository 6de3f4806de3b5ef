//! Who keeps webhooks: they register, pause, resume, change and delete them, at any time.

use std::sync::Arc;

use postrider::{
    access::Principal,
    error::Error,
    lines,
    model::{OnFailure, State, TenantId, Topic, TopicPattern, Webhook, WebhookId},
    operation::{Asked, Change, Draft, Outcome, PageRequest, Selector},
    ports::Ports,
    webhooks,
};

use crate::{executor::Who, faults::MINUTE, fleet::Fleet, world::World};

/// The dialects of a run's webhooks: v1 above all, one that numbers, one that tallies and has patience, and others.
const DIALECTS: &[&str] =
    &["v1", "v1", "v1", "shipstream", "shipstream", "ultimate-multisite", "sapo", "tiki"];

/// Whose webhooks, and for what.
#[derive(Debug, Clone)]
pub struct Keeper {
    /// The tenant.
    pub tenant: TenantId,
    /// What its webhooks subscribe to.
    pub topic: Topic,
}

impl Keeper {
    fn asked(&self) -> Asked {
        Asked { tenant: Some(self.tenant.clone()), dialect: None }
    }

    /// Registers a webhook at a path of its own.
    pub async fn register(&self, world: &World, ports: &Ports) -> Result<WebhookId, Error> {
        let (dialect, number, all) = {
            let chance = &mut world.lock().chance;
            // Centry's 576 attempts take long to simulate.
            let dialect = if chance.in_1000(8) { "centry" } else { chance.pick(DIALECTS) };
            (dialect, chance.number() >> 32, chance.in_1000(200))
        };
        let url = format!("https://hooks.example.com/{}/{number:08x}", self.tenant);
        let topic =
            if all && dialect == "v1" { TopicPattern::All } else { TopicPattern::One(self.topic.clone()) };
        let policies = &[None, Some(OnFailure::Skip), Some(OnFailure::Skip), Some(OnFailure::Block)];
        let ordered = if dialect == "v1" { world.lock().chance.pick(policies) } else { None };
        let draft = Draft { signed: dialect == "v1", ordered, ..Draft::new(dialect, url, vec![topic]) };
        match webhooks::create(ports, &Principal::operator(), &self.asked(), draft).await? {
            Outcome::WebhookCreated(webhook) => Ok(webhook.id),
            other => Err(Error::Internal(format!("{other:?}"))),
        }
    }

    /// Does one thing or another to any of the tenant's webhooks.
    async fn meddle(&self, world: &World, ports: &Ports, webhook: &Webhook) -> Result<(), Error> {
        let (asked, which) = (self.asked(), Selector::Id(webhook.id));
        let operator = Principal::operator();
        let (what, version) = {
            let chance = &mut world.lock().chance;
            (chance.index(14), chance.number() >> 48)
        };
        let change = match what {
            0..3 => Change { active: Some(false), ..Change::default() },
            3..7 => Change { active: Some(true), ..Change::default() },
            7..9 => {
                let Some(url) = &webhook.url else { return Ok(()) };
                let url = format!("https://hooks.example.com{}?v={version}", url.shared().path());
                Change { url: Some(url), ..Change::default() }
            }
            9 => return webhooks::rotate(ports, &operator, &asked, &which).await.map(drop),
            10..12 => return self.give_up(world, ports, webhook.id).await,
            12 => return webhooks::delete(ports, &operator, &asked, &which).await.map(drop),
            _ => return self.register(world, ports).await.map(drop),
        };
        webhooks::update(ports, &operator, &asked, &which, change).await.map(drop)
    }

    /// Gives up any of a webhook's deliveries.
    async fn give_up(&self, world: &World, ports: &Ports, webhook: WebhookId) -> Result<(), Error> {
        let all = ports.store.deliveries(&self.tenant, webhook, &PageRequest::all()).await?.items;
        let at = world.lock().chance.index(all.len());
        let Some(one) = all.get(at) else { return Ok(()) };
        // Noted before, for the answer may get lost.
        world.lock().ledger.given_up.insert(one.id);
        lines::give_up(ports, &Principal::operator(), &self.asked(), one.id).await.map(drop)
    }

    async fn all(&self, ports: &Ports) -> Result<Vec<Webhook>, Error> {
        Ok(ports.store.webhooks(&self.tenant, None, &PageRequest::all()).await?.items)
    }
}

/// Meddles until the faults stop. What fails, fails: somebody may try it again later.
pub async fn meddle(world: World, fleet: Arc<Fleet>, keeper: Keeper) {
    loop {
        let wait = world.lock().chance.between(0, 12 * MINUTE);
        world.sleep(wait).await;
        if world.lock().faults.is_calm {
            return;
        }
        let Some(ports) = fleet.ports(Who("registration", 0)) else { continue };
        let Ok(all) = keeper.all(&ports).await else { continue };
        let at = world.lock().chance.index(all.len());
        if let Some(webhook) = all.get(at) {
            let _ = keeper.meddle(&world, &ports, webhook).await;
        }
    }
}

/// When all is calm, resumes most of what is stopped.
pub async fn settle(world: &World, fleet: &Fleet, keeper: &Keeper) {
    let Some(ports) = fleet.ports(Who("registration", 0)) else { return };
    for webhook in keeper.all(&ports).await.unwrap_or_default() {
        if webhook.state != State::Active && world.lock().chance.in_1000(700) {
            let change = Change { active: Some(true), ..Change::default() };
            let which = Selector::Id(webhook.id);
            let _ = webhooks::update(&ports, &Principal::operator(), &keeper.asked(), &which, change).await;
        }
    }
}

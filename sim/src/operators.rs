//! Who keeps webhooks: they register, pause, resume, change and delete them, at any time.

use std::sync::Arc;

use jiff::SignedDuration;
use postrider::{
    access::Principal,
    again,
    error::Error,
    lines,
    model::{
        InFlight, Limits, OnFailure, OwnRules, Rate, Signature, State, Statuses, TenantId, Topic,
        TopicPattern, Wanted, Webhook, WebhookId,
    },
    operation::{Asked, Change, Draft, Outcome, PageRequest, Selector, Sought},
    ports::Ports,
    replay, webhooks,
};

use crate::{chance::Chance, executor::Who, faults::MINUTE, fleet::Fleet, world::World};

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
    /// Whether its webhooks are all alike, with nothing of their own.
    pub is_plain: bool,
}

impl Keeper {
    fn asked(&self) -> Asked {
        Asked { tenant: Some(self.tenant.clone()), dialect: None }
    }

    /// Registers a webhook at a path of its own.
    pub async fn register(&self, world: &World, ports: &Ports) -> Result<WebhookId, Error> {
        let (dialect, number, all, rules) = {
            let chance = &mut world.lock().chance;
            // Centry's 576 attempts take long to simulate.
            let dialect = if chance.in_1000(8) { "centry" } else { chance.pick(DIALECTS) };
            (dialect, chance.number() >> 32, chance.in_1000(200), rules(chance))
        };
        // One in four takes so few that most of its deliveries wait for their turn, or are parked; another so few at once.
        let limits = {
            let chance = &mut world.lock().chance;
            let rate = if chance.in_1000(250) { chance.pick(&[0.1, 0.1, 0.5, 10.0]) } else { 0.0 };
            let most = if chance.in_1000(250) { chance.pick(&[1, 1, 3, 20]) } else { 0 };
            Limits { max_per_second: Rate::try_from(rate).ok(), max_in_flight: InFlight::try_from(most).ok() }
        };
        let url = format!("https://hooks.example.com/{}/{number:08x}", self.tenant);
        let topic =
            if all && dialect == "v1" { TopicPattern::All } else { TopicPattern::One(self.topic.clone()) };
        let policies = &[None, Some(OnFailure::Skip), Some(OnFailure::Skip), Some(OnFailure::Block)];
        let ordered = if dialect == "v1" { world.lock().chance.pick(policies) } else { None };
        let signed = (dialect == "v1").then_some(Signature::Hmac);
        let plain = Draft::new("v1", url.clone(), vec![TopicPattern::One(self.topic.clone())]);
        let varied = Draft { signed, rules, limits, ordered, ..Draft::new(dialect, url, vec![topic]) };
        let draft = if self.is_plain { Draft { signed: Some(Signature::Hmac), ..plain } } else { varied };
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
            (chance.index(17), chance.number() >> 48)
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
            10 => return webhooks::delete(ports, &operator, &asked, &which).await.map(drop),
            11 => return self.register(world, ports).await.map(drop),
            12..14 => return self.retry(world, ports, webhook.id).await,
            14 => return self.replay(world, ports, webhook.id).await,
            _ => return self.give_up(world, ports, webhook.id).await,
        };
        webhooks::update(ports, &operator, &asked, &which, change).await.map(drop)
    }

    /// Has one of a webhook's newest deliveries attempted again, however it stands.
    async fn retry(&self, world: &World, ports: &Ports, webhook: WebhookId) -> Result<(), Error> {
        let newest = ports
            .store
            .deliveries(&self.tenant, webhook, &Sought::default(), &PageRequest::first(20))
            .await?
            .items;
        let at = world.lock().chance.index(newest.len());
        match newest.get(at) {
            Some(one) => again::retry(ports, &Principal::operator(), &self.asked(), one.id).await.map(drop),
            None => Ok(()),
        }
    }

    /// Takes what lately failed or is missing up again, or what was delivered, of one webhook or of all.
    async fn replay(&self, world: &World, ports: &Ports, webhook: WebhookId) -> Result<(), Error> {
        let now = ports.clock.now();
        let draft = {
            let chance = &mut world.lock().chance;
            replay::Draft {
                webhook: chance.in_1000(600).then_some(webhook),
                topic: chance.in_1000(300).then(|| TopicPattern::One(self.topic.clone())),
                wanted: chance.pick(&[
                    Wanted::Failed,
                    Wanted::Missing,
                    Wanted::Missing,
                    Wanted::Delivered,
                    Wanted::Any,
                ]),
                since: now - SignedDuration::from_mins(chance.between(1, 90)),
                until: None,
                per_second: Some(chance.pick(&[1, 10, 1000])),
            }
        };
        let cancels = world.lock().chance.in_1000(100);
        let operator = Principal::operator();
        match replay::start(ports, &operator, &self.asked(), draft).await? {
            Outcome::ReplayStarted(started) if cancels => {
                let wait = world.lock().chance.between(0, MINUTE);
                world.sleep(wait).await;
                replay::cancel(ports, &operator, &self.asked(), started.id).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Gives up any of a webhook's deliveries.
    async fn give_up(&self, world: &World, ports: &Ports, webhook: WebhookId) -> Result<(), Error> {
        let (all, page) = (Sought::default(), PageRequest::all());
        let all = ports.store.deliveries(&self.tenant, webhook, &all, &page).await?.items;
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

/// What an owner says of his webhook's delivery: most say nothing.
fn rules(chance: &mut Chance) -> OwnRules {
    if !chance.in_1000(300) {
        return OwnRules::default();
    }
    let number = |chance: &mut Chance, most| u32::try_from(chance.between(1, most)).unwrap_or(1);
    let waits: Vec<_> = (0..chance.between(0, 6)).map(|_| number(chance, 7200)).collect();
    let most = i64::try_from(waits.len()).unwrap_or_default() + 1;
    OwnRules {
        attempts: chance.in_1000(300).then(|| number(chance, most)),
        schedule: Some(waits),
        timeout: Some(number(chance, 30)),
        success: Some(vec![Statuses::OK]),
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

//! Where deliveries go: receivers that do well, badly, or not at all, and change their ways with time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, join, ready, select};
use http::{HeaderMap, HeaderValue, header::RETRY_AFTER};
use postrider::{
    model::{DeliveryId, Failure, KeptHeaders, Phases, Reply, TenantId, Webhook, WebhookId},
    ports::{LATE, Outgoing, Post},
    verdict::{Answer, Broken, Exchange},
};

use crate::{
    chance::Chance,
    executor::Who,
    faults::{HOUR, MINUTE, SECOND},
    ledger::Arrival,
    world::World,
};

/// What a receiver does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Answers so.
    Answers(u16),
    /// Answers 429, and asks for so many seconds.
    Asks(i64),
    /// Takes it after so long.
    Dawdles(i64),
    /// Does not answer; it may have taken it.
    Hangs,
    /// Takes it, and breaks off.
    BreaksOff,
    /// Is not there.
    Refuses,
    /// Any of these.
    Moody,
}

const MANNERS: &[Manner] = &[
    Manner::Takes,
    Manner::Takes,
    Manner::Takes,
    Manner::Answers(500),
    Manner::Answers(302),
    Manner::Answers(410),
    Manner::Asks(90),
    Manner::Asks(4000),
    Manner::Dawdles(4 * SECOND),
    Manner::Dawdles(14 * SECOND),
    Manner::Hangs,
    Manner::BreaksOff,
    Manner::Refuses,
    Manner::Moody,
];

/// A receiver.
pub struct Receiver {
    webhook: WebhookId,
    tenant: TenantId,
    is_counted: bool,
    /// Its manners, each until a moment.
    ways: Vec<(i64, Manner)>,
}

impl Receiver {
    /// That of a webhook, with these manners; some dialects number their messages.
    pub fn new(webhook: &Webhook, is_counted: bool, ways: Vec<(i64, Manner)>) -> Self {
        Self { webhook: webhook.id, tenant: webhook.tenant.clone(), is_counted, ways }
    }
}

/// All receivers, by the path of their URLs.
#[derive(Default)]
pub struct Receivers {
    by_path: BTreeMap<String, Receiver>,
    /// URLs that answered 410.
    gone: BTreeSet<String>,
    /// The manner of those that are opened from now on, if the run says so.
    pub always: Option<Manner>,
}

impl Receivers {
    /// Opens one.
    pub fn open(&mut self, path: &str, receiver: Receiver) {
        self.by_path.insert(path.to_owned(), receiver);
    }

    /// Whether there is one.
    pub fn is_open(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// Whether a URL ever answered 410.
    pub fn was_gone(&self, url: &str) -> bool {
        self.gone.contains(url)
    }
}

/// Manners that a seed gives a receiver.
pub fn ways(chance: &mut Chance, now: i64, calm: i64) -> Vec<(i64, Manner)> {
    let mut ways = Vec::new();
    let mut until = now;
    while until < calm && ways.len() < 8 {
        until += chance.between(MINUTE, HOUR);
        ways.push((until, chance.pick(MANNERS)));
    }
    // Most come to their senses in the end, some after a day.
    if chance.in_1000(300) {
        ways.push((calm + chance.between(HOUR, 30 * HOUR), chance.pick(MANNERS)));
    }
    let last = if chance.in_1000(850) { Manner::Takes } else { chance.pick(MANNERS) };
    ways.push((i64::MAX, last));
    ways
}

/// The text in a payload that says whose event it is.
pub fn mark(tenant: &TenantId, event: &str) -> String {
    format!("mark:{tenant}:{event}:")
}

/// Reads it back.
fn marked(body: &str) -> Option<(String, String)> {
    let mut parts = body.split_once("mark:")?.1.splitn(3, ':');
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

/// The number in a message of a dialect that counts.
fn numbered(body: &str) -> Option<u64> {
    let rest = body.split_once("\"webhook_increment_id\":")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The way out of one process.
pub struct SimPost {
    world: World,
    who: Who,
}

/// A POST under way: when it ends, or its process does, the receiver knows.
struct Posting {
    world: World,
    delivery: DeliveryId,
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.world.lock().ledger.ends(self.delivery);
    }
}

impl SimPost {
    /// A way out.
    pub fn new(world: World, who: Who) -> Self {
        Self { world, who }
    }

    /// What comes to a receiver, and how he will take it.
    fn arrive(&self, message: &Outgoing) -> Option<(Posting, Manner)> {
        let mut core = self.world.lock();
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let (tenant, event) = marked(&body)?;
        let header = message.headers.get("webhook-id").and_then(|value| value.to_str().ok());
        let (now, path) = (core.now, message.url.path().to_owned());
        let Some(receiver) = core.receivers.by_path.get(&path) else {
            core.violated("a delivery goes to a URL that somebody registered", None, message.url.to_string());
            return None;
        };
        let (webhook, is_counted) = (receiver.webhook, receiver.is_counted);
        let way = receiver.ways.iter().find(|(until, _)| now < *until).map_or(Manner::Takes, |(_, way)| *way);
        if receiver.tenant.as_str() != tenant || header != Some(&*event) {
            let detail = format!("{tenant}'s {event} ({header:?}) went to {path}");
            core.violated("an event goes to no other tenant's webhook", None, detail);
            return None;
        }
        let name = (receiver.tenant.clone(), event.parse().ok()?);
        let delivery = DeliveryId { event: core.tables.events.get(&name)?.uid, webhook };
        let number = if is_counted { numbered(&body) } else { None };
        core.begins(self.who, delivery, number);
        let moods = &MANNERS[..MANNERS.len() - 1];
        let manner = if way == Manner::Moody { core.chance.pick(moods) } else { way };
        Some((Posting { world: self.world.clone(), delivery }, manner))
    }

    /// Has the receiver take or refuse it, and comes back with what is heard of that.
    async fn exchange(&self, url: &str, delivery: DeliveryId, manner: Manner) -> Result<Answer, Broken> {
        let wait = |world: &World| {
            let mut core = world.lock();
            core.chance.between(1000, 300_000)
        };
        self.world.sleep(wait(&self.world)).await;
        if let Manner::Dawdles(how_long) = manner {
            self.world.sleep(how_long).await;
        }
        let (status, asked) = match manner {
            Manner::Refuses => return Err(broken(Failure::Refused)),
            Manner::Answers(status) => (Some(status), None),
            Manner::Asks(seconds) => (Some(429), Some(seconds)),
            Manner::Takes | Manner::Dawdles(_) => (Some(200), None),
            Manner::Hangs | Manner::BreaksOff | Manner::Moody => (None, None),
        };
        {
            let mut core = self.world.lock();
            let at = core.now;
            core.ledger.arrives(delivery, Arrival { at, status });
            if status == Some(410) {
                core.receivers.gone.insert(url.to_owned());
            }
            core.note(self.who, &delivery.into(), || format!("the receiver {manner:?}"));
        }
        self.world.sleep(wait(&self.world)).await;
        match status {
            Some(status) => {
                let body = asked.map(|seconds| seconds.to_string()).unwrap_or_default();
                let headers = asked.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
                let reply = Reply { status, body, truncated: false, headers: KeptHeaders::default() };
                Ok(Answer { reply, headers: headers.into_iter().collect() })
            }
            None if manner == Manner::Hangs => std::future::pending().await,
            None => Err(broken(Failure::Protocol)),
        }
    }
}

fn broken(failure: Failure) -> Broken {
    Broken { failure, detail: "simulated".into() }
}

#[async_trait]
impl Post for SimPost {
    async fn post(&self, message: Outgoing, late: BoxFuture<'_, ()>) -> Exchange {
        let began = self.world.lock().now;
        let Some((posting, manner)) = self.arrive(&message) else {
            let (phases, sent) = (Phases::default(), HeaderMap::new());
            return Exchange { phases, address: None, sent, result: Err(broken(Failure::Message)) };
        };
        let exchange = Box::pin(self.exchange(message.url.as_str(), posting.delivery, manner));
        let soon = message.timeout.min(LATE);
        let exchange = match select(exchange, self.world.sleep(micros(soon))).await {
            Either::Left((result, _)) => Box::pin(ready(result)) as BoxFuture<'_, _>,
            Either::Right(((), exchange)) => Box::pin(async { join(late, exchange).await.1 }),
        };
        let deadline = self.world.sleep(micros(message.timeout.saturating_sub(soon)));
        let result = match select(exchange, deadline).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(broken(Failure::Timeout)),
        };
        let total_us = (self.world.lock().now - began).unsigned_abs();
        let phases = Phases { total_us, ..Phases::default() };
        Exchange { phases, address: Some("192.0.2.1:443".into()), sent: message.headers, result }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

//! One attempt of a delivery: from a hint in the queue to a record in the store.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use crate::{
    authentication,
    dialect::{self, Dialect, Message, Posting},
    error::Error,
    health::{self, Admission},
    hint::{Hint, Lane},
    in_force::InForce,
    lines,
    model::{Delivery, DeliveryState, Event, Failure, State},
    parked,
    ports::{Claim, Outgoing, Place, Ports, Post, Sending},
    publish::AGAIN_AFTER,
    signing, telemetry,
    turn::{self, Turn},
    verdict::{Broken, Exchange},
};

mod settle;

pub(crate) use self::settle::attempt;
use self::settle::{Made, settle};

/// How long a claimed attempt is its claimer's: longer than any timeout, a dialect's or a webhook's own.
pub const LEASE: SignedDuration = SignedDuration::from_secs(90);
/// After what time a sweep takes up a retry whose queue message got lost.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_secs(120);

/// How long after its decision to wait a delivery may be parked without a note that somebody looks after it.
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// What marks a test event, in every dialect.
const TEST: HeaderName = HeaderName::from_static("webhook-test");
/// Who asked for a test waits for it: an HTTP API gives up after 30 s.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A delivery with nobody to go to any more, or all that became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// There is nothing to do: its event is gone, or somebody did it.
    Nothing,
    /// An attempt was made, and is on record.
    Attempted(DeliveryState),
    /// It waits for its webhook to be resumed, or its webhook is gone.
    Parked,
    /// Nothing yet: it goes on by the slow lane, for its receiver is slow, or it is not its turn yet.
    Forwarded,
}

/// Makes the attempt that a hint asks for. `received` is how often the queue has handed it out, this time
/// included. An error means that nothing is on record: the message must come again.
#[tracing::instrument(skip_all, fields(tenant = %hint.tenant, event = %hint.event, delivery = %hint.delivery, attempt = hint.attempt))]
pub async fn deliver(
    ports: &Ports,
    post: &dyn Post,
    hint: &Hint,
    inline: Option<Arc<Event>>,
    received: u32,
) -> Result<Done, Error> {
    let event = match inline {
        Some(event) => Some(event),
        None => ports.store.event(&hint.tenant, &hint.event).await?,
    };
    let target = ports.store.target(&hint.tenant, hint.delivery.webhook).await?;
    let Some(event) = event else { return Ok(Done::Nothing) };
    let health = ports.store.health(&hint.tenant, hint.delivery.webhook).await?;

    let now = ports.clock.now();
    if hint.lane() == Lane::Fast && health.is_slow(now) {
        // What is parked for want of room goes on after it.
        let released = hint.released.or(Some(parked::STEADY));
        return Box::pin(forward(ports, Hint { released, ..hint.clone() }, Duration::ZERO, event)).await;
    }
    let turn = match &target {
        Some(target) => turn::judge(ports, post, hint, target, &health, now).await?,
        None => Turn::Go(None),
    };
    if let Turn::Later(hint, delay) = turn {
        return Box::pin(forward(ports, *hint, delay, event)).await;
    }
    let blank = hint.blank(&event);
    let most = target.as_ref().and_then(|target| target.webhook.limits.max_in_flight);
    // In a line two at once would be two too many, and where places are counted a doubled one may be, so each is claimed.
    let delivery = if blank.ordering_key.is_none() && most.is_none() && is_first_hand(hint, received, now) {
        blank
    } else {
        match ports.store.claim(&blank, hint.attempt, now, now + LEASE).await? {
            Claim::Taken(delivery) => *delivery,
            Claim::Done => {
                Box::pin(lines::pass(ports, &blank, target.as_ref().map(|target| &target.webhook))).await?;
                return Ok(Done::Nothing);
            }
            Claim::Busy => return Ok(Done::Nothing),
        }
    };
    // What is pending of a webhook that is gone would come due until its record expires.
    let Some(target) = target.filter(|target| target.webhook.state == State::Active) else {
        return park(ports, delivery, now).await;
    };
    if delivery.ordering_key.is_some() && Box::pin(lines::waits(ports, &delivery, hint)).await? {
        return Ok(Done::Parked);
    }
    let admission = health::admit(ports, &hint.tenant, target.webhook.id, &health, now).await?;
    if admission == Admission::Wait {
        return park(ports, delivery, now).await;
    }
    if matches!(turn, Turn::Full) {
        // Before it is parked: whatever goes out, or a sweep, sees to it from then on.
        parked::note(ports, &hint.tenant, target.webhook.id).await?;
        return park(ports, delivery, now).await;
    }
    let dialect = dialect::named(&target.webhook.dialect)?;
    let catalogue = ports.store.catalogue().await?;
    let sequence = if dialect.is_counted() { Some(ports.store.sequence(delivery.id).await?) } else { None };
    let posting = Posting {
        target: &target,
        event: &event,
        topic: catalogue.own_name(dialect, &event.topic).unwrap_or(event.topic.as_str()),
        payload: event.payload_for(dialect.name()),
        is_test: false,
        delivery: delivery.id,
        attempt: hint.attempt,
        sequence,
        now,
    };
    let place =
        most.map(|_| Place { tenant: hint.tenant.clone(), delivery: delivery.id, until: now + LEASE });
    if let Some((place, most)) = place.as_ref().zip(most)
        && !ports.store.enter(place, most, now).await?
    {
        return Box::pin(turn::crowded(ports, delivery, place, most, now)).await;
    }
    let exchange = exchange(post, dialect, &posting, Box::pin(health::is_late(ports, &target.webhook))).await;
    drop(turn);
    if let Some(place) = &place {
        turn::leave(ports, place).await;
    }
    let made =
        Made { hint, target: &target, dialect, health, is_probe: admission == Admission::Probe, began: now };
    settle(ports, delivery, exchange, &made).await
}

/// Whether nobody else can be making this attempt, so that it need not be claimed with a write: it comes
/// straight from the publish that accepted the event, and the queue hands it out for the first time.
fn is_first_hand(hint: &Hint, received: u32, now: Timestamp) -> bool {
    let age = |at: Timestamp| now.duration_since(at).unsigned_abs();
    received <= 1 && hint.fresh_at.is_some_and(|at| age(at) + Duration::from_mins(1) < AGAIN_AFTER)
}

/// Lets an attempt go on by the slow lane. It is claimed there, for the message about it may have been doubled here.
async fn forward(ports: &Ports, hint: Hint, delay: Duration, event: Arc<Event>) -> Result<Done, Error> {
    let hint = Hint { fresh_at: None, ..hint };
    ports.queue.send(vec![Sending { hint, delay, event: Some(event) }]).await?;
    Ok(Done::Forwarded)
}

pub(crate) async fn park(ports: &Ports, mut delivery: Delivery, decided: Timestamp) -> Result<Done, Error> {
    delivery.state = DeliveryState::Parked;
    delivery.next_attempt_at = None;
    delivery.parked_at = delivery.parked_at.or(Some(delivery.created_at));
    ports.store.park(&delivery, delivery.attempt_count).await?;
    telemetry::parked();
    // By now its webhook may have been resumed, and its backlog gone out.
    if ports.clock.now().duration_since(decided) > LATE {
        parked::note(ports, &delivery.tenant, delivery.id.webhook).await?;
    }
    Ok(Done::Parked)
}

pub(crate) async fn exchange(
    post: &dyn Post,
    dialect: &dyn Dialect,
    posting: &Posting<'_>,
    late: BoxFuture<'_, ()>,
) -> Exchange {
    match outgoing(dialect, posting) {
        Ok(message) => post.post(message, late).await,
        Err(error) => {
            let detail = error.fault().map_or_else(|| error.to_string(), str::to_owned);
            let broken = Broken { failure: Failure::Message, detail };
            let phases = crate::model::Phases::default();
            Exchange { phases, address: None, sent: HeaderMap::new(), result: Err(broken) }
        }
    }
}

fn outgoing(dialect: &dyn Dialect, posting: &Posting<'_>) -> Result<Outgoing, Error> {
    let webhook = &posting.target.webhook;
    let Message { mut headers, body } = dialect.message(posting)?;
    for header in &webhook.headers {
        let unsendable = |_| Error::Internal("a kept header that cannot be sent".into());
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|e| unsendable(e.to_string()))?;
        let mut value = HeaderValue::from_str(&header.value).map_err(|e| unsendable(e.to_string()))?;
        // It may be a secret: only its owner knows.
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let token = authentication::of(webhook, &mut headers)?;
    let signs = webhook.secrets.iter().chain(&webhook.key_pairs);
    signing::sign(&mut headers, &posting.event.id, posting.now, &body, signs)?;
    let rules = InForce::new(dialect, &webhook.rules);
    let (mut timeout, connect_timeout) = (rules.timeout(), rules.connect_timeout());
    if posting.is_test {
        headers.insert(TEST, HeaderValue::from_static("true"));
        timeout = timeout.min(TEST_TIMEOUT);
    }
    let url =
        webhook.url.as_ref().ok_or_else(|| Error::Internal("a message to a webhook without a URL".into()))?;
    let (url, certificate) = (url.shared(), webhook.certificate.clone());
    Ok(Outgoing { url, headers, body, timeout, connect_timeout, token, certificate })
}

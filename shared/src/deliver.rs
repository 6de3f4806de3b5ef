//! One attempt of a delivery: from a hint in the queue to a record in the store.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use crate::{
    announce::{News, announce},
    authentication,
    dialect::{self, Dialect, Message, Posting},
    error::Error,
    health::{self, Admission},
    hint::{Hint, Lane},
    in_force::InForce,
    lines,
    model::{Attempt, BREAKER, Delivery, DeliveryState, Event, Failure, Health, KeptHeaders, State, Tally},
    parked,
    ports::{Claim, MAX_DELAY, Outgoing, Place, Ports, Post, Sending, Target},
    publish::AGAIN_AFTER,
    retry, signing, telemetry,
    turn::{self, Turn},
    verdict::{Answer, Broken, Exchange, Verdict, judge},
    webhooks,
};

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
        return forward(ports, Hint { released, ..hint.clone() }, Duration::ZERO, event).await;
    }
    let turn = match &target {
        Some(target) => turn::judge(ports, post, hint, target, &health, now).await?,
        None => Turn::Go(None),
    };
    if let Turn::Later(hint, delay) = turn {
        return forward(ports, *hint, delay, event).await;
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
                lines::pass(ports, &blank, target.as_ref().map(|target| &target.webhook)).await?;
                return Ok(Done::Nothing);
            }
            Claim::Busy => return Ok(Done::Nothing),
        }
    };
    // What is pending of a webhook that is gone would come due until its record expires.
    let Some(target) = target.filter(|target| target.webhook.state == State::Active) else {
        return park(ports, delivery, now).await;
    };
    if lines::waits(ports, &delivery, hint).await? {
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
    let place = Place { tenant: hint.tenant.clone(), delivery: delivery.id, until: now + LEASE };
    if let Some(most) = most
        && !ports.store.enter(&place, most, now).await?
    {
        return turn::crowded(ports, delivery, &place, most, now).await;
    }
    let exchange = exchange(post, dialect, &posting, Box::pin(health::is_late(ports, &target.webhook))).await;
    drop(turn);
    if most.is_some() {
        turn::leave(ports, &place).await;
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

/// An attempt that was made.
struct Made<'a> {
    hint: &'a Hint,
    target: &'a Target,
    dialect: &'a dyn Dialect,
    /// How its receiver did before it.
    health: Health,
    /// Whether it only asked whether the receiver is back.
    is_probe: bool,
    began: Timestamp,
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

/// Puts the attempt on record, and sees to the next one.
async fn settle(
    ports: &Ports,
    mut delivery: Delivery,
    exchange: Exchange,
    made: &Made<'_>,
) -> Result<Done, Error> {
    let (now, webhook) = (ports.clock.now(), &made.target.webhook);
    let rules = InForce::new(made.dialect, &webhook.rules);
    let verdict = judge(&exchange, &rules, now);
    // A success needs no explanation, and its record is to stay one write unit of DynamoDB's.
    let with_headers = verdict != Verdict::Delivered;
    delivery.add(attempt(exchange, verdict, made.hint.attempt, made.began, with_headers));
    let failed = delivery.attempts.last().and_then(|attempt| attempt.failure);
    // What we could not even write says nothing of the receiver.
    let strains = matches!(verdict, Verdict::Retry { .. }) && failed != Some(Failure::Message);
    if strains {
        let health = ports.store.strain(&webhook.tenant, webhook.id, now).await?;
        if health.failures == BREAKER {
            announce(ports, webhook, News::Failing(&health)).await;
        }
        if health.is_failing() {
            return wait(ports, delivery, made, &health).await;
        }
        if let Some(asked) = rest_asked_for(&delivery, verdict) {
            health::rest(ports, webhook, &health, asked).await?;
        }
    }
    let tried = made.hint.attempt.saturating_sub(delivery.probes).max(1);
    let delay = match verdict {
        Verdict::Delivered | Verdict::Gone => None,
        Verdict::Retry { asked } => {
            rules.wait_after(tried).map(|wait| retry::spread(wait, asked, ports.dice.unit()))
        }
    };
    let due = delay.map(|delay| now + SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX));
    delivery.next_attempt_at = due;
    delivery.state = match (verdict, delay) {
        (Verdict::Delivered, _) => DeliveryState::Delivered,
        (_, Some(_)) => DeliveryState::Pending,
        (_, None) => DeliveryState::Failed,
    };
    // A short delay rides on the queue; the sweep takes it up only if that message gets lost.
    let rides = delay.filter(|delay| *delay <= MAX_DELAY);
    let swept_at = if rides.is_some() { due.map(|due| due + GRACE) } else { due };
    let leaves = lines::leaves(&delivery, webhook);
    let swept_at = if leaves { Some(now + GRACE) } else { swept_at };
    if verdict == Verdict::Gone {
        // Before the record: of an attempt on record nobody hears again, should this fail.
        webhooks::disable(ports, webhook, "the receiver answered 410 Gone").await?;
    }
    if !ports.store.record(&delivery, swept_at).await? {
        return Ok(Done::Nothing);
    }
    log(&delivery, verdict, now);
    if made.dialect.is_tallied() {
        tally(ports, &delivery).await;
    }
    match delivery.state {
        DeliveryState::Delivered => arrived(ports, made).await,
        DeliveryState::Failed => announce(ports, webhook, News::Exhausted(&delivery)).await,
        _ => {}
    }
    if delivery.state != DeliveryState::Delivered && webhook.limits.max_in_flight.is_some() {
        turn::made_room(ports, made.hint).await;
    }
    if leaves && let Err(error) = lines::leave(ports, &delivery).await {
        tracing::warn!(%error, delivery = %delivery.id, "a line did not go on; the sweep will see to it");
    }
    if let Some(delay) = rides {
        let hint = Hint { released: made.hint.released, ..Hint::next(&delivery) };
        let sending = Sending { hint, delay, event: None };
        if let Err(error) = ports.queue.send(vec![sending]).await {
            tracing::warn!(%error, delivery = %delivery.id, "a retry was not queued; the sweep will find it");
        }
    }
    Ok(Done::Attempted(delivery.state))
}

/// Too many requests, or no service for now: what a receiver says with these is of all its requests, not of this one.
fn rest_asked_for(delivery: &Delivery, verdict: Verdict) -> Option<Duration> {
    let status = delivery.attempts.last()?.reply.as_ref()?.status;
    match verdict {
        Verdict::Retry { asked } if matches!(status, 429 | 503) => asked,
        _ => None,
    }
}

/// A failing receiver's delivery waits with the others. Its schedule stands still: what asked whether the receiver is
/// back does not count, and goes behind those that wait, so that one event which no receiver takes is not asked for ever.
async fn wait(
    ports: &Ports,
    mut delivery: Delivery,
    made: &Made<'_>,
    health: &Health,
) -> Result<Done, Error> {
    delivery.state = DeliveryState::Parked;
    delivery.next_attempt_at = None;
    delivery.probes += u32::from(made.is_probe);
    let place = if made.is_probe { made.began } else { delivery.created_at };
    delivery.parked_at = Some(place);
    // Of those under way when the breaker opened, one sees to the next try: before it is parked, or nobody might.
    let webhook = &made.target.webhook;
    let sees_to_it = made.is_probe || health.probe_at.is_none();
    let next = if sees_to_it { health::next_try(ports, webhook, health).await? } else { None };
    if !ports.store.park(&delivery, made.hint.attempt.saturating_sub(1)).await? {
        return Ok(Done::Nothing);
    }
    log(&delivery, Verdict::Retry { asked: None }, ports.clock.now());
    telemetry::parked();
    if made.dialect.is_tallied() {
        tally(ports, &delivery).await;
    }
    if let Some(after) = next
        && let Err(error) = parked::probe(ports, &webhook.tenant, webhook.id, after).await
    {
        tracing::warn!(%error, webhook = %webhook.id, "a next try was not queued; the sweep will see to it");
    }
    Ok(Done::Parked)
}

/// After a success: its receiver is back, if it was failing, and what was parked goes on.
async fn arrived(ports: &Ports, made: &Made<'_>) {
    let webhook = &made.target.webhook;
    if made.health.has_failed()
        && let Err(error) = health::recover(ports, webhook, &made.health).await
    {
        tracing::warn!(%error, webhook = %webhook.id, "that a receiver is back was not noted");
    }
    // Whatever leaves its place leaves it to one that is parked for want of it.
    let counted = webhook.limits.max_in_flight.map(|_| parked::STEADY);
    let hint = Hint { released: made.hint.released.or(counted), ..made.hint.clone() };
    if let Err(error) = parked::go_on(ports, &hint).await {
        tracing::warn!(%error, webhook = %webhook.id, "a backlog stopped going out; the sweep will see to it");
    }
}

/// Counts the event at its receiver's first answer, and notes a failure. A count is not worth an attempt: what cannot
/// be counted is only logged.
async fn tally(ports: &Ports, delivery: &Delivery) {
    let Some((last, before)) = delivery.attempts.split_last() else { return };
    let first_answer = last.reply.is_some() && before.iter().all(|attempt| attempt.reply.is_none());
    let more = Tally { sent: u64::from(first_answer), failed_at: last.failure.map(|_| last.at) };
    if more == Tally::default() {
        return;
    }
    if let Err(error) = ports.store.add_to_tally(delivery.id.webhook, more).await {
        tracing::warn!(%error, fault = error.fault(), delivery = %delivery.id, "an event was not counted");
    }
}

/// An exchange as it is kept, or shown.
pub(crate) fn attempt(
    exchange: Exchange,
    verdict: Verdict,
    number: u32,
    at: Timestamp,
    with_headers: bool,
) -> Attempt {
    let Exchange { phases, address, sent, result } = exchange;
    let headers = |all: &HeaderMap| if with_headers { KeptHeaders::of(all) } else { KeptHeaders::default() };
    let (failure, detail, reply) = match result {
        Ok(Answer { mut reply, headers: received }) => {
            reply.headers = headers(&received);
            let failed = verdict != Verdict::Delivered;
            let detail = failed.then(|| format!("the receiver answered {}", reply.status));
            (failed.then_some(Failure::Status), detail, Some(reply))
        }
        Err(broken) => (Some(broken.failure), Some(broken.detail), None),
    };
    Attempt { number, at, phases, address, sent_headers: headers(&sent), failure, detail, reply }
}

/// One wide line for each attempt, and its figures.
fn log(delivery: &Delivery, verdict: Verdict, now: Timestamp) {
    telemetry::attempted(delivery, now);
    let Some(attempt) = delivery.attempts.last() else { return };
    let status = attempt.reply.as_ref().map(|reply| reply.status);
    let (tenant, event, total_us) = (&delivery.tenant, &delivery.event, attempt.phases.total_us);
    if verdict == Verdict::Delivered {
        tracing::debug!(%tenant, %event, delivery = %delivery.id, attempt.number, status, total_us, "delivered");
    } else {
        let (failure, next) = (attempt.failure, delivery.next_attempt_at.map(|at| at.to_string()));
        tracing::info!(
            %tenant, %event, delivery = %delivery.id, attempt.number, status, total_us, ?failure,
            detail = attempt.detail, next, "not delivered"
        );
    }
}

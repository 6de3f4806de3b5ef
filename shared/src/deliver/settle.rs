//! What becomes of an attempt that was made: its record, the next one, and what its receiver's health says to it.

use std::time::Duration;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::{Done, GRACE};
use crate::{
    announce::{News, announce},
    dialect::Dialect,
    error::Error,
    health,
    hint::Hint,
    in_force::InForce,
    lines,
    model::{Attempt, BREAKER, Delivery, DeliveryState, Failure, Health, KeptHeaders, Tally},
    parked,
    ports::{MAX_DELAY, Ports, Sending, Target},
    retry, telemetry, turn,
    verdict::{Answer, Exchange, Verdict, judge},
    webhooks,
};

/// An attempt that was made.
pub(super) struct Made<'a> {
    pub(super) hint: &'a Hint,
    pub(super) target: &'a Target,
    pub(super) dialect: &'a dyn Dialect,
    /// How its receiver did before it.
    pub(super) health: Health,
    /// Whether it only asked whether the receiver is back.
    pub(super) is_probe: bool,
    pub(super) began: Timestamp,
}

/// Puts the attempt on record, and sees to the next one. What few attempts need is boxed: the future of each is moved when it is
/// made, and is as long as its longest way.
pub(super) async fn settle(
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
            Box::pin(announce(ports, webhook, News::Failing(&health))).await;
        }
        if health.is_failing() {
            return Box::pin(wait(ports, delivery, made, &health)).await;
        }
        if let Some(asked) = rest_asked_for(&delivery, verdict) {
            Box::pin(health::rest(ports, webhook, &health, asked)).await?;
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
        Box::pin(webhooks::disable(ports, webhook, "the receiver answered 410 Gone")).await?;
    }
    if !ports.store.record(&delivery, swept_at).await? {
        return Ok(Done::Nothing);
    }
    log(&delivery, verdict, now);
    if made.dialect.is_tallied() {
        Box::pin(tally(ports, &delivery)).await;
    }
    match delivery.state {
        DeliveryState::Delivered => arrived(ports, made).await,
        DeliveryState::Failed => Box::pin(announce(ports, webhook, News::Exhausted(&delivery))).await,
        _ => {}
    }
    if delivery.state != DeliveryState::Delivered && webhook.limits.max_in_flight.is_some() {
        Box::pin(turn::made_room(ports, made.hint)).await;
    }
    if leaves && let Err(error) = Box::pin(lines::leave(ports, &delivery)).await {
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

/// A failing receiver's delivery waits with the others. Its schedule stands still: neither what was under way when the breaker
/// opened counts, nor what asked whether the receiver is back; that one goes behind those that wait, so that one event which no
/// receiver takes is not asked for ever.
async fn wait(
    ports: &Ports,
    mut delivery: Delivery,
    made: &Made<'_>,
    health: &Health,
) -> Result<Done, Error> {
    delivery.state = DeliveryState::Parked;
    delivery.next_attempt_at = None;
    delivery.probes += 1;
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
        && let Err(error) = Box::pin(health::recover(ports, webhook, &made.health)).await
    {
        tracing::warn!(%error, webhook = %webhook.id, "that a receiver is back was not noted");
    }
    // Whatever leaves its place leaves it to one that is parked for want of it.
    let counted = webhook.limits.max_in_flight.map(|_| parked::STEADY);
    let Some(led) = made.hint.released.or(counted) else { return };
    let hint = Hint { released: Some(led), ..made.hint.clone() };
    if let Err(error) = Box::pin(parked::go_on(ports, &hint)).await {
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

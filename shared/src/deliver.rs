//! One attempt of a delivery: from a hint in the queue to a record in the store.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use crate::{
    dialect::{self, Dialect, Message, Posting},
    error::Error,
    hint::Hint,
    model::{Attempt, Delivery, DeliveryState, Event, Failure, State, Tally},
    ports::{Claim, MAX_DELAY, Outgoing, Ports, Post, Sending, Target},
    publish::AGAIN_AFTER,
    retry, signing,
    verdict::{Broken, Exchange, Rules, Verdict, judge},
    webhooks,
};

/// How long a claimed attempt is its claimer's: longer than any dialect's timeout.
pub const LEASE: SignedDuration = SignedDuration::from_secs(90);
/// After what time a sweep takes up a retry whose queue message got lost.
const GRACE: SignedDuration = SignedDuration::from_secs(120);

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
}

/// Makes the attempt that a hint asks for. `received` is how often the queue has handed it out, this time
/// included. An error means that nothing is on record: the message must come again.
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

    let now = ports.clock.now();
    let blank = hint.blank(&event);
    let delivery = if is_first_hand(hint, received, now) {
        blank
    } else {
        match ports.store.claim(&blank, hint.attempt, now, now + LEASE).await? {
            Claim::Taken(delivery) => *delivery,
            Claim::Done | Claim::Busy => return Ok(Done::Nothing),
        }
    };
    // What is pending of a webhook that is gone would come due until its record expires.
    let Some(target) = target.filter(|target| target.webhook.state == State::Active) else {
        return park(ports, delivery).await;
    };
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
    let exchange = exchange(post, dialect, &posting).await;
    settle(ports, delivery, &target, exchange, dialect, hint.attempt, now).await
}

/// Whether nobody else can be making this attempt, so that it need not be claimed with a write: it comes
/// straight from the publish that accepted the event, and the queue hands it out for the first time.
fn is_first_hand(hint: &Hint, received: u32, now: Timestamp) -> bool {
    let age = |at: Timestamp| now.duration_since(at).unsigned_abs();
    received <= 1 && hint.fresh_at.is_some_and(|at| age(at) + Duration::from_mins(1) < AGAIN_AFTER)
}

async fn park(ports: &Ports, mut delivery: Delivery) -> Result<Done, Error> {
    delivery.state = DeliveryState::Parked;
    delivery.next_attempt_at = None;
    ports.store.record(&delivery, None).await?;
    Ok(Done::Parked)
}

pub(crate) async fn exchange(post: &dyn Post, dialect: &dyn Dialect, posting: &Posting<'_>) -> Exchange {
    match outgoing(dialect, posting) {
        Ok(message) => post.post(message).await,
        Err(error) => {
            let detail = error.fault().map_or_else(|| error.to_string(), str::to_owned);
            let broken = Broken { failure: Failure::Message, detail };
            Exchange { phases: crate::model::Phases::default(), address: None, result: Err(broken) }
        }
    }
}

fn outgoing(dialect: &dyn Dialect, posting: &Posting<'_>) -> Result<Outgoing, Error> {
    let webhook = &posting.target.webhook;
    let Message { mut headers, body } = dialect.message(posting)?;
    for header in &webhook.headers {
        let unsendable = |_| Error::Internal("a kept header that cannot be sent".into());
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|e| unsendable(e.to_string()))?;
        let value = HeaderValue::from_str(&header.value).map_err(|e| unsendable(e.to_string()))?;
        headers.insert(name, value);
    }
    signing::sign(&mut headers, &posting.event.id, posting.now, &body, &webhook.secrets)?;
    let Rules { mut timeout, connect_timeout, .. } = *dialect.rules();
    if posting.is_test {
        headers.insert(TEST, HeaderValue::from_static("true"));
        timeout = timeout.min(TEST_TIMEOUT);
    }
    Ok(Outgoing { url: webhook.url.shared(), headers, body, timeout, connect_timeout })
}

/// Puts the attempt on record, and sees to the next one.
async fn settle(
    ports: &Ports,
    mut delivery: Delivery,
    target: &Target,
    exchange: Exchange,
    dialect: &dyn Dialect,
    number: u32,
    began: Timestamp,
) -> Result<Done, Error> {
    let (now, rules) = (ports.clock.now(), dialect.rules());
    let verdict = judge(&exchange, rules.success, now);
    delivery.add(attempt(exchange, verdict, number, began));
    let delay = match verdict {
        Verdict::Delivered | Verdict::Gone => None,
        Verdict::Retry { asked } => retry::delay_after(rules.schedule, number, asked, ports.dice.unit()),
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
    if verdict == Verdict::Gone {
        // Before the record: of an attempt on record nobody hears again, should this fail.
        let webhook = &target.webhook;
        webhooks::disable(ports, &webhook.tenant, webhook.id, "the receiver answered 410 Gone").await?;
    }
    if !ports.store.record(&delivery, swept_at).await? {
        return Ok(Done::Nothing);
    }
    log(&delivery, verdict);
    if dialect.is_tallied() {
        tally(ports, &delivery).await;
    }
    if let Some(delay) = rides {
        let sending = Sending { hint: Hint::next(&delivery), delay, event: None };
        if let Err(error) = ports.queue.send(vec![sending]).await {
            tracing::warn!(%error, delivery = %delivery.id, "a retry was not queued; the sweep will find it");
        }
    }
    Ok(Done::Attempted(delivery.state))
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

/// An exchange as it is kept.
pub(crate) fn attempt(exchange: Exchange, verdict: Verdict, number: u32, at: Timestamp) -> Attempt {
    let Exchange { phases, address, result } = exchange;
    let (failure, detail, reply) = match result {
        Ok(answer) if verdict == Verdict::Delivered => (None, None, Some(answer.reply)),
        Ok(answer) => {
            let detail = format!("the receiver answered {}", answer.reply.status);
            (Some(Failure::Status), Some(detail), Some(answer.reply))
        }
        Err(broken) => (Some(broken.failure), Some(broken.detail), None),
    };
    Attempt { number, at, phases, address, failure, detail, reply }
}

/// One wide line for each attempt.
fn log(delivery: &Delivery, verdict: Verdict) {
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

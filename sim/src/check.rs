//! What must hold in the end: the faults are over, and all has come to rest.

use jiff::{SignedDuration, Timestamp};
use postrider::{
    in_force::InForce,
    model::{Attempt, Delivery, DeliveryId, DeliveryState, Event, State, Webhook},
};

use crate::{
    ledger::{Standing, Violation},
    world::Core,
};

/// What became of a run's deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that publishers were told of.
    pub promised: usize,
    /// Deliveries that a receiver took.
    pub delivered: usize,
    /// Deliveries that used up their schedules, or got a 410.
    pub failed: usize,
    /// Deliveries that wait for their webhook.
    pub parked: usize,
    /// Deliveries that waited for their turn at some time.
    pub waited: usize,
    /// Deliveries whose webhook is deleted.
    pub orphaned: usize,
    /// POSTs that came to a receiver.
    pub arrivals: usize,
    /// POSTs that began while another of the same delivery was under way.
    pub overlaps: usize,
    /// Messages that died.
    pub dead_letters: usize,
}

fn violation(invariant: &'static str, delivery: DeliveryId, detail: impl Into<String>) -> Violation {
    Violation { invariant, delivery: Some(delivery), detail: detail.into() }
}

/// Looks at everything.
pub fn check(core: &Core) -> Result<Tally, Violation> {
    let ledger = &core.ledger;
    let mut tally = Tally {
        promised: ledger.promised.len(),
        arrivals: ledger.arrivals.values().map(Vec::len).sum(),
        overlaps: ledger.overlaps,
        dead_letters: core.messages.dead(),
        waited: ledger.waited.len(),
        ..Tally::default()
    };
    if let Some(name) = ledger.promised.keys().find(|name| !core.tables.events.contains_key(name)) {
        let detail = format!("{}'s {}", name.0, name.1);
        return Err(Violation { invariant: "an accepted event is kept", delivery: None, detail });
    }
    // Those too that no publisher was told of: the sweep finds them.
    for event in core.tables.events.values() {
        for &webhook in &*event.webhooks {
            let id = DeliveryId { event: event.uid, webhook };
            match core.tables.webhooks.get(&(event.tenant.clone(), webhook)) {
                Some(webhook) => became(core, event, webhook, id, &mut tally)?,
                None => tally.orphaned += 1,
            }
        }
    }
    // What a replay took up goes to webhooks too that were not there when its event was published.
    for kept in core.tables.deliveries.values() {
        let Delivery { id, tenant, event, .. } = &kept.delivery;
        let event = core.tables.events.get(&(tenant.clone(), event.clone()));
        let webhook = core.tables.webhooks.get(&(tenant.clone(), id.webhook));
        if let (Some(event), Some(webhook)) = (event, webhook)
            && !event.webhooks.contains(&id.webhook)
        {
            became(core, event, webhook, *id, &mut tally)?;
        }
    }
    match core.tables.replays.values().find(|(replay, due)| due.is_some() || replay.stage.is_running()) {
        None => Ok(tally),
        Some((replay, due)) => {
            let detail = format!("{replay:?}, due {due:?}");
            Err(Violation { invariant: "a replay comes to an end", delivery: None, detail })
        }
    }
}

/// What became of one delivery.
fn became(
    core: &Core,
    event: &Event,
    webhook: &Webhook,
    id: DeliveryId,
    tally: &mut Tally,
) -> Result<(), Violation> {
    let Some(kept) = core.tables.deliveries.get(&id) else {
        return Err(violation("no delivery is lost", id, format!("there is no record of {}", event.id)));
    };
    let delivery = &kept.delivery;
    let rules = InForce::of(webhook).map_err(|error| violation("a dialect", id, error.to_string()))?;
    match delivery.state {
        DeliveryState::Pending => {
            return Err(violation("nothing is pending for ever", id, format!("due {:?}", kept.due)));
        }
        DeliveryState::Delivered => tally.delivered += 1,
        DeliveryState::Failed => {
            tally.failed += 1;
            is_exhausted(core, delivery, &rules)?;
        }
        DeliveryState::Parked if webhook.state == State::Active => {
            return Err(violation("what waits goes out", id, "its webhook is active"));
        }
        DeliveryState::Waiting => {
            stands_behind(core, delivery)?;
            tally.parked += 1;
        }
        DeliveryState::Parked | DeliveryState::Discarded => tally.parked += 1,
    }
    if delivery.next_attempt_at.is_some() || kept.due.is_some() {
        return Err(violation("what is settled is never due", id, format!("{:?}", kept.due)));
    }
    // What was parked goes out when its webhook takes it again, not by its schedule.
    let by_schedule = !core.ledger.released.contains(&id);
    for pair in delivery.attempts.windows(2).filter(|_| by_schedule) {
        is_patient(core, id, &pair[0], &pair[1], &rules)?;
    }
    Ok(())
}

/// Whoever waits for his turn in the end waits for one that is parked, or that failed and blocks the line.
fn stands_behind(core: &Core, delivery: &Delivery) -> Result<(), Violation> {
    let key = delivery.ordering_key.clone().map(|key| (delivery.id.webhook, key));
    let first = key.and_then(|line| core.tables.lines.get(&line)?.first().copied());
    let first = first.map(|event| DeliveryId { event, webhook: delivery.id.webhook });
    let state = first.and_then(|first| Some(core.tables.deliveries.get(&first)?.delivery.state));
    if matches!(state, Some(DeliveryState::Parked | DeliveryState::Failed)) {
        return Ok(());
    }
    Err(violation("a line goes on", delivery.id, format!("its first is {first:?}, {state:?}")))
}

fn status(attempt: &Attempt) -> Option<u16> {
    attempt.reply.as_ref().map(|reply| reply.status)
}

/// A failed delivery used up its schedule, or its receiver said that it is gone; and then its webhook was stopped.
fn is_exhausted(core: &Core, delivery: &Delivery, rules: &InForce<'_>) -> Result<(), Violation> {
    let (id, last) = (delivery.id, delivery.attempts.last());
    let Some(last) = last else { return Err(violation("a failed delivery was tried", id, "no attempt")) };
    if status(last) == Some(410) {
        let (from, until) = (micros(last.at), i64::MAX);
        let stopped = |standing| standing != Standing::Active;
        return if core.ledger.stood(id.webhook, from, until, stopped) {
            Ok(())
        } else {
            Err(violation("a webhook whose receiver is gone is disabled", id, "it was active ever after"))
        };
    }
    let schedule = rules.attempts();
    if usize::try_from(delivery.attempt_count - delivery.probes) == Ok(schedule) {
        return Ok(());
    }
    let detail = format!("{} attempts of {schedule}", delivery.attempt_count);
    Err(violation("a failed delivery has used up its schedule", id, detail))
}

/// Between two attempts lies what the schedule says, but for its jitter, and what the receiver asked for.
fn is_patient(
    core: &Core,
    id: DeliveryId,
    one: &Attempt,
    next: &Attempt,
    rules: &InForce<'_>,
) -> Result<(), Violation> {
    let planned = rules.wait_after(one.number).unwrap_or_default().mul_f64(0.8);
    let asked = one.reply.as_ref().filter(|reply| reply.status == 429).map(|reply| reply.body.parse::<i64>());
    let asked = SignedDuration::from_secs(asked.and_then(Result::ok).unwrap_or_default());
    let least = SignedDuration::try_from(planned).unwrap_or(SignedDuration::MAX).max(asked);
    let ended = micros(one.at) + i64::try_from(one.phases.total_us).unwrap_or(i64::MAX);
    let waited = SignedDuration::from_micros(micros(next.at) - ended);
    let tolerance = SignedDuration::from_micros(2 * core.faults.skew + 1000);
    if waited + tolerance < least {
        let detail = format!("{waited:?} after attempt {}, not {least:?}", one.number);
        return Err(violation("no attempt comes too early", id, detail));
    }
    Ok(())
}

fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

//! Whether it is a delivery's turn: whether its webhook, and its receiver's host, have room for one more at the moment.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    deliver::{self, Done},
    error::Error,
    hint::Hint,
    model::{Delivery, Health, InFlight, Rate, State},
    parked,
    ports::{Place, Ports, Post, Room, Target},
};

/// After what time, give or take a half, there may be room for what found none.
const CROWDED: Duration = Duration::from_secs(4);
/// When a sweep looks after what is parked for want of a place, if nobody who left one saw it.
const LOOK: SignedDuration = SignedDuration::from_mins(1);

/// What came of asking.
pub(crate) enum Turn {
    /// It is, and there is room for it.
    Go(#[expect(dead_code, reason = "it is held")] Option<Room>),
    /// Not yet: this is to come then.
    Later(Box<Hint>, Duration),
    /// So much waits already that it had better be parked.
    Full,
}

/// Judges, before the attempt is claimed: who has to wait for his turn must not hold it meanwhile.
pub(crate) async fn judge(
    ports: &Ports,
    post: &dyn Post,
    hint: &Hint,
    target: &Target,
    health: &Health,
    now: Timestamp,
) -> Result<Turn, Error> {
    let webhook = &target.webhook;
    if webhook.state != State::Active || health.probe_at.is_some_and(|at| now < at) {
        // It waits for something else.
        return Ok(Turn::Go(None));
    }
    // The first to wait sees to it that what is parked meanwhile goes on after it.
    let again = || Hint { released: hint.released.or(Some(parked::STEADY)), ..hint.clone() };
    let Some(room) = post.enter(webhook).await else {
        let delay = CROWDED.mul_f64(0.5 + ports.dice.unit());
        return Ok(if hint.released.is_some() { Turn::Full } else { Turn::Later(Box::new(again()), delay) });
    };
    let Some(rate) = webhook.limits.max_per_second.filter(|_| !Rate::holds(hint.slot, now)) else {
        return Ok(Turn::Go(Some(room)));
    };
    Ok(match ports.store.reserve(&hint.tenant, webhook.id, rate, now).await? {
        Some(slot) if slot <= now => Turn::Go(Some(room)),
        Some(slot) => {
            let delay = Duration::try_from(slot.duration_since(now)).unwrap_or_default();
            Turn::Later(Box::new(Hint { slot: Some(slot), ..again() }), delay)
        }
        None => Turn::Full,
    })
}

/// Leaves a place. One that nobody leaves is free when its time is over.
pub(crate) async fn leave(ports: &Ports, place: &Place) {
    if let Err(error) = ports.store.leave(place).await {
        tracing::warn!(%error, delivery = %place.delivery, "a place was not left");
    }
}

/// Parks a delivery that found no place.
pub(crate) async fn crowded(
    ports: &Ports,
    delivery: Delivery,
    place: &Place,
    most: InFlight,
    now: Timestamp,
) -> Result<Done, Error> {
    let (tenant, webhook) = (&place.tenant, place.delivery.webhook);
    // Before it is parked: whoever leaves a place, or a sweep, sees to it from then on.
    ports.store.look_at(tenant, webhook, now + LOOK).await?;
    let done = deliver::park(ports, delivery, now).await?;
    // Whoever left one in between did not see it.
    if ports.store.enter(place, most, ports.clock.now()).await? {
        leave(ports, place).await;
        parked::begin(ports, tenant, webhook).await;
    }
    Ok(done)
}

/// After a delivery that failed left its place: one that is parked for want of it may have it.
pub(crate) async fn made_room(ports: &Ports, hint: &Hint) {
    let released = hint.released.or(Some(parked::STEADY));
    if let Err(error) = parked::instead(ports, &Hint { released, ..hint.clone() }).await {
        tracing::warn!(%error, delivery = %hint.delivery, "a place stays empty; the sweep will see to it");
    }
}

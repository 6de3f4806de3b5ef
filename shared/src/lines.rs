//! Deliveries that go out one after the other ([decision 14](../../docs/decisions/0014-order-is-kept-by-the-store.md)).
//!
//! A line is what the store says: each delivery in it was put there as its event was accepted. Its turn comes when it is the
//! first. One that comes up before waits; who leaves the line wakes the next. Who is settled stays due until it has left, so
//! that a sweep goes on where somebody broke off.

use crate::{
    access::Principal,
    deliver::LEASE,
    error::Error,
    hint::Hint,
    model::{Delivery, DeliveryId, DeliveryState, Line, OnFailure, Webhook},
    operation::{Asked, Outcome},
    parked,
    ports::{Ports, Sending, Turn},
};

/// How often it is looked anew who comes before a delivery, as those leave.
const LOOKS: usize = 5;

/// Whether a delivery, claimed, must wait for its turn: then it is on record that it does.
pub(crate) async fn waits(ports: &Ports, delivery: &Delivery, hint: &Hint) -> Result<bool, Error> {
    let Some(line) = Line::of(delivery) else { return Ok(false) };
    let waiting = Delivery { state: DeliveryState::Waiting, next_attempt_at: None, ..delivery.clone() };
    for _ in 0..LOOKS {
        let before = ports.store.first(&line).await?.filter(|first| *first < delivery.id.event);
        let Some(before) = before else { return Ok(false) };
        match ports.store.wait_behind(&waiting, delivery.attempt_count, &line, before).await? {
            Turn::Waits => {
                // What was to show whether a receiver keeps up shows nothing: another does in its place.
                if let Err(error) = parked::instead(ports, hint).await {
                    tracing::warn!(%error, webhook = %line.webhook, "a backlog stopped going out; the sweep will see to it");
                }
                return Ok(true);
            }
            Turn::Moved => {}
            // It was given up, and somebody asked for it again.
            Turn::Apart => return Ok(false),
            Turn::Lost => return Ok(true),
        }
    }
    Err(Error::Unavailable("a line that moves on and on".into()))
}

/// Whether a delivery, as it is about to be put on record, is to leave its line.
pub(crate) fn leaves(delivery: &Delivery, webhook: &Webhook) -> bool {
    let lets_go = |policy: OnFailure| policy.lets_go(delivery.state);
    delivery.ordering_key.is_some() && webhook.ordered.is_some_and(lets_go)
}

/// Takes a delivery that lets the others go out of its line, and sends for the next.
pub(crate) async fn leave(ports: &Ports, delivery: &Delivery) -> Result<(), Error> {
    match Line::of(delivery) {
        Some(line) => go_on(ports, &line, Some(delivery.id)).await,
        None => Ok(()),
    }
}

/// Sees to the line of a delivery that there is nothing more to do of: perhaps who did it did not come so far.
pub(crate) async fn pass(ports: &Ports, blank: &Delivery, webhook: Option<&Webhook>) -> Result<(), Error> {
    let Some(line) = Line::of(blank) else { return Ok(()) };
    let kept = ports.store.delivery(&blank.tenant, blank.id).await?;
    let is_gone = |kept: &Delivery| match webhook {
        Some(webhook) => leaves(kept, webhook),
        // Nobody waits for a turn at a webhook that is gone.
        None => kept.is_settled(),
    };
    go_on(ports, &line, kept.filter(is_gone).map(|kept| kept.id)).await
}

async fn go_on(ports: &Ports, line: &Line, gone: Option<DeliveryId>) -> Result<(), Error> {
    let due = ports.clock.now() + LEASE;
    let Some(hint) = ports.store.advance(line, gone.map(|id| id.event), due).await? else { return Ok(()) };
    ports.queue.send(vec![Sending { hint, delay: std::time::Duration::ZERO, event: None }]).await
}

/// Gives up a delivery, as its webhook's owner wishes; if it stood in a line, that goes on.
pub async fn give_up(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    id: DeliveryId,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let Some(kept) = ports.store.delivery(&tenant, id).await? else {
        return Err(Error::NotFound("delivery"));
    };
    if !ports.store.give_up(&tenant, id, ports.clock.now()).await? {
        let why = "this delivery is delivered or given up already, or is being attempted just now";
        return Err(Error::Conflict(why.into()));
    }
    // Should this fail, it is due.
    if let Err(error) = leave(ports, &kept).await {
        tracing::warn!(%error, delivery = %id, "a line did not go on; the sweep will see to it");
    }
    Ok(Outcome::Deleted)
}

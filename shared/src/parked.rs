//! What was parked while its webhook was paused or disabled, and goes out again, or is given up.
//!
//! A resumed webhook gets its backlog gently, oldest event first: one delivery is released, and each success releases the
//! next, at first two. So the rate rises as long as the receiver keeps up with it, is bounded by how quick it is, and ends
//! when it fails. No count is kept of what is under way: a message carries how many releases led to it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    access::Principal,
    deliver::LEASE,
    error::Error,
    hint::Hint,
    model::{State, TenantId, WebhookId},
    operation::{Asked, Outcome, Selector},
    ports::{Ports, Sending},
    webhooks,
};

/// Releases from which on a success releases one delivery in the place of two: 32 are under way by then.
const DOUBLINGS: u32 = 5;
/// As many releases as have led to a delivery that waited for its slot: its success releases one, if anything is parked.
pub(crate) const STEADY: u32 = DOUBLINGS;
/// How often it is looked after a webhook with a backlog: where a release broke off, it begins anew.
pub(crate) const LOOK: SignedDuration = SignedDuration::from_mins(5);
/// One release in so many notes that all goes well, so that nobody begins anew beside it.
const NOTED: u32 = 16;
/// Deliveries that one request gives up at most: each is a write.
const DISCARDED: usize = 1000;
/// How far parked deliveries are counted: it is a read of each.
pub const COUNTED: usize = 10_000;
/// Webhooks of one look at most.
const STEP: usize = 100;

/// Notes that a webhook is about to be resumed: from here on whatever breaks off is seen to.
pub async fn note(ports: &Ports, tenant: &TenantId, webhook: WebhookId) -> Result<(), Error> {
    ports.store.look_at(tenant, webhook, ports.clock.now() + LOOK).await
}

/// Begins to send what was parked.
pub async fn begin(ports: &Ports, tenant: &TenantId, webhook: WebhookId) {
    if let Err(error) = release(ports, tenant, webhook, 0, 1).await {
        tracing::warn!(%error, %webhook, "a backlog did not begin to go out; the sweep will see to it");
    }
}

/// Releases one delivery, to be tried after a while: whether its receiver is back then.
pub async fn probe(
    ports: &Ports,
    tenant: &TenantId,
    webhook: WebhookId,
    after: Duration,
) -> Result<(), Error> {
    let at = ports.clock.now() + SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    let hints = ports.store.release(tenant, webhook, at + LEASE, 1).await?;
    let sending = |hint| Sending { hint: Hint { released: Some(0), ..hint }, delay: after, event: None };
    ports.queue.send(hints.into_iter().map(sending).collect()).await
}

/// Goes on after a delivery that was parked has arrived.
pub async fn go_on(ports: &Ports, hint: &Hint) -> Result<(), Error> {
    let Some(led) = hint.released.map(|led| led.saturating_add(1)) else { return Ok(()) };
    let (tenant, webhook) = (&hint.tenant, hint.delivery.webhook);
    let released = release(ports, tenant, webhook, led, if led <= DOUBLINGS { 2 } else { 1 }).await?;
    if released > 0 && led.is_multiple_of(NOTED) {
        ports.store.look_at(tenant, webhook, ports.clock.now() + LOOK).await?;
    }
    Ok(())
}

/// Releases another delivery in the place of one that was released and is not sent now.
pub(crate) async fn instead(ports: &Ports, hint: &Hint) -> Result<(), Error> {
    let Some(led) = hint.released else { return Ok(()) };
    release(ports, &hint.tenant, hint.delivery.webhook, led, 1).await.map(drop)
}

async fn release(
    ports: &Ports,
    tenant: &TenantId,
    webhook: WebhookId,
    led: u32,
    count: usize,
) -> Result<usize, Error> {
    let due = ports.clock.now() + LEASE;
    let hints = ports.store.release(tenant, webhook, due, count).await?;
    let released = hints.len();
    if released > 0 {
        let sending =
            |hint| Sending { hint: Hint { released: Some(led), ..hint }, delay: Duration::ZERO, event: None };
        ports.queue.send(hints.into_iter().map(sending).collect()).await?;
    }
    Ok(released)
}

/// Looks after webhooks with a backlog; how many deliveries that set going.
pub async fn look(ports: &Ports, now: Timestamp) -> Result<usize, Error> {
    let mut set_going = 0;
    loop {
        let webhooks = ports.store.to_look_at(now, now + LOOK, STEP).await?;
        if webhooks.is_empty() {
            return Ok(set_going);
        }
        for (tenant, webhook) in webhooks {
            let is_active = ports.store.state(&tenant, webhook).await? == Some(State::Active);
            let released = if is_active { release(ports, &tenant, webhook, 0, 1).await? } else { 0 };
            if released == 0 {
                look_again_or_no_more(ports, &tenant, webhook, now).await?;
            }
            set_going += released;
        }
    }
}

/// What comes to be parked while its receiver rests counts on somebody's looking after it when that is over.
async fn look_again_or_no_more(
    ports: &Ports,
    tenant: &TenantId,
    webhook: WebhookId,
    now: Timestamp,
) -> Result<(), Error> {
    match ports.store.health(tenant, webhook).await?.probe_at.filter(|at| now < *at) {
        Some(at) => ports.store.look_at(tenant, webhook, at + LOOK).await,
        None => ports.store.look_no_more(webhook).await,
    }
}

/// How many deliveries of a webhook are parked.
pub async fn count(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let webhook = webhooks::find(ports, &tenant, asked, which).await?;
    ports.store.parked(webhook.id, COUNTED).await.map(Outcome::Parked)
}

/// Gives up what is parked, as its webhook's owner wishes.
pub async fn discard(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let webhook = webhooks::find(ports, &tenant, asked, which).await?;
    ports.store.discard(&tenant, webhook.id, DISCARDED).await.map(Outcome::Discarded)
}

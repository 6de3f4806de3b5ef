//! Receivers that fail: after ten failures in a row a webhook's deliveries wait, but for one at a time that finds out
//! whether it is back; when it is, what waited goes out gently. After days of nothing but failures it is disabled.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    access::Principal,
    announce::{News, announce},
    deliver::LEASE,
    error::Error,
    model::{Health, TenantId, Webhook, WebhookId},
    operation::{Asked, Outcome, Selector},
    parked,
    ports::{MAX_DELAY, Ports},
    retry::MAX_RETRY_AFTER,
    webhooks,
};

/// For how long a receiver counts as slow: it is noted anew while half of it is left at most, so seldom for any one delivery.
const SLOW_FOR: SignedDuration = SignedDuration::from_mins(5);

/// By how much a queue may hand a message out too early.
const EARLY: Duration = Duration::from_secs(1);

/// Tells how a webhook's receiver does.
pub async fn get(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let webhook = webhooks::find(ports, &tenant, asked, which).await?;
    ports.store.health(&tenant, webhook.id).await.map(Outcome::Health)
}

/// Whether a delivery may be attempted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Its receiver does well, for all we know.
    Go,
    /// As the one that finds out whether its receiver is back.
    Probe,
    /// No: it waits.
    Wait,
}

/// Judges whether a delivery may be attempted.
pub async fn admit(
    ports: &Ports,
    tenant: &TenantId,
    webhook: WebhookId,
    health: &Health,
    now: Timestamp,
) -> Result<Admission, Error> {
    if !health.holds_back() {
        return Ok(Admission::Go);
    }
    if health.probe_at.is_some_and(|at| now < at) {
        return Ok(Admission::Wait);
    }
    // Whoever takes the probe and dies leaves it to the next, when its lease is over.
    let taken = hold_back(ports, tenant, webhook, health.probe_at, now + LEASE).await?;
    Ok(if taken { Admission::Probe } else { Admission::Wait })
}

/// Holds a webhook's deliveries back until `to`; false: somebody else did since `from` was read. First it is noted that
/// somebody must look after them: what is parked from here on must not be forgotten, whatever breaks off.
async fn hold_back(
    ports: &Ports,
    tenant: &TenantId,
    webhook: WebhookId,
    from: Option<Timestamp>,
    to: Timestamp,
) -> Result<bool, Error> {
    ports.store.look_at(tenant, webhook, to + parked::LOOK).await?;
    ports.store.put_off(tenant, webhook, from, to).await
}

/// Takes note of a receiver that lets wait for its answer: what goes to it goes by the slow lane, for a while.
pub(crate) async fn is_late(ports: &Ports, webhook: &Webhook) {
    if let Err(error) = slow_down(ports, webhook).await {
        tracing::warn!(%error, webhook = %webhook.id, "that a receiver is slow was not noted");
    }
}

async fn slow_down(ports: &Ports, webhook: &Webhook) -> Result<(), Error> {
    let now = ports.clock.now();
    let known = ports.store.health(&webhook.tenant, webhook.id).await?;
    if known.is_slow(now + SLOW_FOR / 2) {
        return Ok(());
    }
    if !known.is_slow(now) {
        tracing::info!(tenant = %webhook.tenant, webhook = %webhook.id, "a receiver is slow");
    }
    ports.store.slow_down(&webhook.tenant, webhook.id, now + SLOW_FOR).await
}

/// Gives a receiver the rest that it asked for: nothing of its webhook's is sent before that is over. The delivery that was
/// answered so comes due then, and finds out whether it is.
pub async fn rest(ports: &Ports, webhook: &Webhook, health: &Health, asked: Duration) -> Result<(), Error> {
    let rest = SignedDuration::try_from(asked.min(MAX_RETRY_AFTER)).unwrap_or(SignedDuration::MAX);
    let until = ports.clock.now() + rest;
    hold_back(ports, &webhook.tenant, webhook.id, health.probe_at, until).await.map(drop)
}

/// Plans the next try of a receiver that has just failed again, or disables its webhook. After what time it is to be tried;
/// none: by nobody, or somebody else sees to it.
pub async fn next_try(ports: &Ports, webhook: &Webhook, health: &Health) -> Result<Option<Duration>, Error> {
    let now = ports.clock.now();
    let (tenant, id) = (&webhook.tenant, webhook.id);
    let too_long = |since: &Timestamp| now.duration_since(*since) >= ports.policy.disabled_after;
    if let Some(since) = health.since.filter(too_long) {
        let reason = format!("nothing but failures since {since:.0}");
        webhooks::disable(ports, webhook, &reason).await?;
        return Ok(None);
    }
    // Those that fail together are not tried together again; nor does the spread outgrow what rides on a queue.
    let pause = health.pause(now).mul_f64(0.8 + 0.2 * ports.dice.unit());
    let until = now + SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    let first = hold_back(ports, tenant, id, health.probe_at, until).await?;
    // SQS counts whole seconds: a message that came too early would find nothing to do.
    Ok(first.then(|| pause.saturating_add(EARLY).min(MAX_DELAY)))
}

/// Notes that a receiver took something; if it was failing, what waited for it begins to go out.
pub async fn recover(ports: &Ports, webhook: &Webhook, health: &Health) -> Result<(), Error> {
    let (tenant, id) = (&webhook.tenant, webhook.id);
    if health.holds_back() {
        parked::note(ports, tenant, id).await?;
    }
    if ports.store.relieve(tenant, id).await? && health.holds_back() {
        tracing::info!(%tenant, webhook = %id, "a receiver is back");
        parked::begin(ports, tenant, id).await;
        if health.is_failing() {
            announce(ports, webhook, News::Recovered(health)).await;
        }
    }
    Ok(())
}

//! Replays: a job takes up again what failed or is missing, step by step, at a pace (decision 13).
//!
//! Each step walks through a page of deliveries or events, takes up those that are wanted and marks them as the job's,
//! and is done when the job's row has moved on by one. A step that breaks off is made again: what bears the job's mark is
//! not taken up twice. When the walk is over, the job walks through what it took up, and counts what became of it.

mod walk;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    access::Principal,
    deliver::{GRACE, LEASE},
    errand::Errand,
    error::Error,
    model::{
        Counts, Place, Question, Replay, ReplayId, Stage, TenantId, TopicPattern, Wanted, WebhookId, Window,
    },
    operation::{Asked, Outcome, PageRequest},
    ports::{MAX_DELAY, Ports},
};

/// How long events and their deliveries are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Deliveries that a replay takes up in a second, unless its owner says how many.
const PER_SECOND: u32 = 10;
/// Replays of a tenant that may be under way at once.
const AT_ONCE: usize = 5;
/// How often a job is changed anew when a step of it is made meanwhile.
const TRIES: usize = 5;
/// How often what became of its deliveries is counted at most: the last time is 80 minutes after the first.
const LOOKS: u32 = 12;
/// When it is counted first, after the last of them was due.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Jobs of one look at most.
const STEP: usize = 100;

/// A replay to be.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Of which webhook.
    pub webhook: Option<WebhookId>,
    /// Of which topics.
    pub topic: Option<TopicPattern>,
    /// Of deliveries that stand how.
    pub wanted: Wanted,
    /// Of events accepted from then on.
    pub since: Timestamp,
    /// Of events accepted before that; none: up to now.
    pub until: Option<Timestamp>,
    /// How many in a second.
    pub per_second: Option<u32>,
}

/// Starts a replay.
pub async fn start(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    draft: Draft,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let now = ports.clock.now();
    let webhooks = match draft.webhook {
        Some(id) => ports.store.state(&tenant, id).await?.map(|_| 1).ok_or(Error::NotFound("webhook"))?,
        None if ports.store.tenant(&tenant).await?.is_none() => return Err(Error::NotFound("tenant")),
        None => ports.store.webhooks(&tenant, None, &PageRequest::all()).await?.items.len(),
    };
    let newest = ports.store.replays(&tenant, &PageRequest::first(PageRequest::MAX)).await?.items;
    if newest.iter().filter(|replay| replay.stage.is_running()).count() >= AT_ONCE {
        return Err(Error::Quota(format!("a tenant may have {AT_ONCE} replays under way")));
    }
    let question = Question {
        webhook: draft.webhook,
        topic: draft.topic,
        wanted: draft.wanted,
        window: window(draft.since, draft.until, now)?,
    };
    let mut replay = Replay {
        id: ReplayId(ports.dice.uuid(now)),
        tenant,
        question,
        per_second: draft.per_second.unwrap_or(PER_SECOND),
        stage: Stage::Queueing,
        step: 0,
        place: Place::default(),
        webhooks: u32::try_from(webhooks).unwrap_or(u32::MAX),
        queued: 0,
        looks: 0,
        counting: Counts::default(),
        counted: None,
        created_at: now,
        updated_at: now,
    };
    replay.place = replay.start();
    ports.store.add_replay(&replay, now + GRACE).await?;
    next(ports, &replay, Duration::ZERO).await;
    Ok(Outcome::ReplayStarted(Box::new(replay)))
}

fn window(since: Timestamp, until: Option<Timestamp>, now: Timestamp) -> Result<Window, Error> {
    let until = until.map_or(now, |until| until.min(now));
    if since < now - KEPT {
        return Err(Error::invalid("since", "must be within the last 30 days: events are not kept longer"));
    }
    if since >= until {
        return Err(Error::invalid("since", "must be before until, and before now"));
    }
    Ok(Window { since, until })
}

/// Reads a replay.
pub async fn get(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    id: ReplayId,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    find(ports, &tenant, id).await.map(Box::new).map(Outcome::Replay)
}

async fn find(ports: &Ports, tenant: &TenantId, id: ReplayId) -> Result<Replay, Error> {
    ports.store.replay(tenant, id).await?.ok_or(Error::NotFound("replay"))
}

/// Lists a tenant's replays, newest first.
pub async fn list(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    page: &PageRequest,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    ports.store.replays(&tenant, page).await.map(Outcome::Replays)
}

/// Stops a replay. What it has taken up goes out all the same.
pub async fn cancel(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    id: ReplayId,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    for _ in 0..TRIES {
        let kept = find(ports, &tenant, id).await?;
        if !kept.stage.is_running() {
            return Ok(Outcome::Replay(Box::new(kept)));
        }
        let updated_at = ports.clock.now();
        let stopped = Replay { stage: Stage::Cancelled, step: kept.step + 1, updated_at, ..kept };
        if ports.store.advance_replay(&stopped, None).await? {
            return Ok(Outcome::Replay(Box::new(stopped)));
        }
    }
    Err(Error::Conflict("this replay is moving on; try again".into()))
}

/// Makes a step of a replay, unless it was made.
pub async fn step(ports: &Ports, tenant: &TenantId, id: ReplayId, step: u32) -> Result<(), Error> {
    let Some(mut replay) = ports.store.replay(tenant, id).await? else { return Ok(()) };
    if replay.step != step {
        return Ok(());
    }
    let wait = match replay.stage {
        Stage::Queueing => queue(ports, &mut replay).await?,
        Stage::Counting => count(ports, &mut replay).await?,
        Stage::Finished | Stage::Cancelled => return Ok(()),
    };
    let now = ports.clock.now();
    (replay.step, replay.updated_at) = (step + 1, now);
    let wait = wait.min(MAX_DELAY);
    let is_running = replay.stage.is_running();
    let due = now + SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX) + GRACE;
    // Whoever makes the same step at the same time commits it, or we do.
    if ports.store.advance_replay(&replay, is_running.then_some(due)).await? && is_running {
        next(ports, &replay, wait).await;
    }
    Ok(())
}

async fn next(ports: &Ports, replay: &Replay, wait: Duration) {
    let errand = Errand::Replay { tenant: replay.tenant.clone(), replay: replay.id, step: replay.step };
    if let Err(error) = ports.queue.charge(&errand, wait).await {
        tracing::warn!(%error, replay = %replay.id, "a replay's next step was not queued; the sweep will see to it");
    }
}

/// Takes deliveries up; how long until the last of them is due.
async fn queue(ports: &Ports, replay: &mut Replay) -> Result<Duration, Error> {
    let taken = walk::take_up(ports, replay).await?;
    replay.queued += taken.count;
    let pace = Duration::from_secs(1) / replay.per_second.max(1);
    let wait = pace.saturating_mul(u32::try_from(taken.count).unwrap_or(u32::MAX));
    if !taken.is_all {
        return Ok(wait);
    }
    (replay.stage, replay.place) = (Stage::Counting, replay.start());
    if replay.queued == 0 {
        replay.counted = Some((Counts::default(), ports.clock.now()));
        replay.stage = Stage::Finished;
    }
    Ok(wait + FIRST_LOOK)
}

/// Counts what became of them; how long until it is to be counted again.
async fn count(ports: &Ports, replay: &mut Replay) -> Result<Duration, Error> {
    if !walk::count(ports, replay).await? {
        return Ok(Duration::ZERO);
    }
    let counts = std::mem::take(&mut replay.counting);
    replay.counted = Some((counts, ports.clock.now()));
    replay.looks += 1;
    replay.place = replay.start();
    if counts.pending == 0 || replay.looks >= LOOKS {
        replay.stage = Stage::Finished;
    }
    Ok(Duration::from_secs(5 << (replay.looks - 1).min(8)))
}

/// Queues the next step of replays whose message got lost; how many.
pub async fn look(ports: &Ports, now: Timestamp) -> Result<usize, Error> {
    let mut found = 0;
    loop {
        let due = ports.store.due_replays(now, now + LEASE, STEP).await?;
        if due.is_empty() {
            return Ok(found);
        }
        found += due.len();
        for (tenant, id) in due {
            if let Some(replay) = ports.store.replay(&tenant, id).await? {
                next(ports, &replay, Duration::ZERO).await;
            }
        }
    }
}

//! A replay's walk: through the deliveries of one webhook after the other, or through the events of a tenant.

use std::time::Duration;

use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};

use crate::{
    again::reopened,
    deliver::GRACE,
    error::Error,
    hint::Hint,
    model::{Delivery, DeliveryId, Event, Replay, TopicPattern, Wanted, Webhook, WebhookId},
    operation::PageRequest,
    ports::{MAX_DELAY, Ports, Sending},
    publish,
    sweep::STRANDED_AFTER,
};

/// Deliveries of one page; a step that finds nothing in one looks at a few more.
const PAGE: usize = 100;
/// Pages of one step at most.
const PAGES: usize = 10;
/// Looks and writes under way at once.
const AT_ONCE: usize = 32;

/// What a step took up.
pub(super) struct Taken {
    /// How many deliveries.
    pub(super) count: u64,
    /// Whether the walk is over.
    pub(super) is_all: bool,
}

/// Takes up what the next pages hold of what is wanted.
pub(super) async fn take_up(ports: &Ports, replay: &mut Replay) -> Result<Taken, Error> {
    let mut step = Step { ports, began: ports.clock.now(), count: 0, sendings: Vec::new() };
    let mut is_all = false;
    for _ in 0..PAGES {
        let wanted = match replay.question.wanted {
            Wanted::Missing => missing(ports, replay).await?,
            Wanted::Failed | Wanted::Delivered | Wanted::Any => on_record(ports, replay).await?,
        };
        let Some(wanted) = wanted else {
            is_all = true;
            break;
        };
        for some in wanted.chunks(AT_ONCE) {
            step.take(replay, some).await?;
        }
        if step.sendings.len() >= PAGE {
            break;
        }
    }
    let count = step.count;
    if !step.sendings.is_empty() {
        // They are due in the store by now: should this fail, the sweep finds them.
        ports.queue.send(step.sendings).await?;
    }
    Ok(Taken { count, is_all })
}

struct Step<'a> {
    ports: &'a Ports,
    began: Timestamp,
    /// Deliveries that are the replay's, by this step or by one before it that broke off.
    count: u64,
    sendings: Vec<Sending>,
}

impl Step<'_> {
    /// Takes deliveries up, each a little later than the one before it.
    async fn take(&mut self, replay: &Replay, wanted: &[Delivery]) -> Result<(), Error> {
        let pace = Duration::from_secs(1) / replay.per_second.max(1);
        let delay = |place: u64| pace.saturating_mul(u32::try_from(place).unwrap_or(u32::MAX)).min(MAX_DELAY);
        let taken = (self.count..).zip(wanted).map(async |(place, kept)| {
            let delay = delay(place);
            Ok::<_, Error>((delay, self.take_one(replay, kept, delay).await?))
        });
        for (delay, taken) in try_join_all(taken).await? {
            match taken {
                Take::Ours(hint) => {
                    self.count += 1;
                    self.sendings.push(Sending { hint: *hint, delay, event: None });
                }
                Take::Before => self.count += 1,
                Take::Changed => {}
            }
        }
        Ok(())
    }

    async fn take_one(&self, replay: &Replay, kept: &Delivery, delay: Duration) -> Result<Take, Error> {
        let store = &self.ports.store;
        if kept.replay == Some(replay.id) {
            return Ok(Take::Before);
        }
        let at = self.began + SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
        let again = Delivery { replay: Some(replay.id), ..reopened(kept, at) };
        if store.reopen(kept, &again, self.ports.clock.now(), at + GRACE).await? {
            return Ok(Take::Ours(Box::new(Hint::next(&again))));
        }
        // The same step may be made twice at the same time.
        let there = store.delivery(&replay.tenant, kept.id).await?;
        let before = there.is_some_and(|there| there.replay == Some(replay.id));
        Ok(if before { Take::Before } else { Take::Changed })
    }
}

/// What came of taking a delivery up.
enum Take {
    /// It is to be attempted.
    Ours(Box<Hint>),
    /// It was taken up by this very replay.
    Before,
    /// It is no longer wanted, or somebody attempts it.
    Changed,
}

fn takes(topic: Option<&TopicPattern>, delivery: &Delivery) -> bool {
    topic.is_none_or(|topic| topic.takes(&delivery.topic))
}

/// Deliveries on record that are wanted, of the next page; none: there is no page more.
async fn on_record(ports: &Ports, replay: &mut Replay) -> Result<Option<Vec<Delivery>>, Error> {
    let Some(page) = page(ports, replay).await? else { return Ok(None) };
    let question = &replay.question;
    let is_wanted = |delivery: &Delivery| {
        takes(question.topic.as_ref(), delivery)
            && (question.wanted.takes(delivery.state) || delivery.replay == Some(replay.id))
    };
    Ok(Some(page.into_iter().filter(is_wanted).collect()))
}

/// The next page of deliveries, oldest first, of one webhook after the other.
async fn page(ports: &Ports, replay: &mut Replay) -> Result<Option<Vec<Delivery>>, Error> {
    let Some(webhook) = whose(ports, replay).await? else { return Ok(None) };
    let (place, window) = (&mut replay.place, &replay.question.window);
    let request = PageRequest { limit: PAGE, after: place.after.take() };
    let page = ports.store.deliveries_within(&replay.tenant, webhook, window, &request).await?;
    place.reached = page.items.last().map(|delivery| delivery.created_at);
    place.after = page.next;
    if place.after.is_none() {
        (place.webhook, place.reached) = (None, None);
        place.walked += 1;
    }
    Ok(Some(page.items))
}

/// The webhook whose deliveries are next; none: there are no more. One that is deleted has nobody to go to.
async fn whose(ports: &Ports, replay: &mut Replay) -> Result<Option<WebhookId>, Error> {
    let (tenant, place) = (&replay.tenant, &mut replay.place);
    if let Some(webhook) = place.webhook {
        if ports.store.state(tenant, webhook).await?.is_some() {
            return Ok(Some(webhook));
        }
        (place.webhook, place.after, place.reached) = (None, None, None);
    }
    if place.is_last {
        return Ok(None);
    }
    let request = PageRequest { limit: 1, after: place.webhooks_after.take() };
    let page = ports.store.webhooks(tenant, None, &request).await?;
    place.is_last = page.next.is_none();
    place.webhooks_after = page.next;
    place.webhook = page.items.first().map(|Webhook { id, .. }| *id);
    Ok(place.webhook)
}

/// Deliveries that are missing of the next events; none: there are no more events.
async fn missing(ports: &Ports, replay: &mut Replay) -> Result<Option<Vec<Delivery>>, Error> {
    if replay.place.is_last && replay.place.webhook.is_none() {
        return Ok(None);
    }
    let (question, tenant) = (&replay.question, &replay.tenant);
    // An event is looked at for each webhook that takes it.
    let limit = usize::try_from(replay.webhooks).map_or(1, |many| (PAGE / many.max(1)).max(1));
    let request = PageRequest { limit, after: replay.place.after.take() };
    let page = ports.store.events_within(tenant, &question.window, &request).await?;
    let mut found = Vec::new();
    for event in &page.items {
        if question.topic.as_ref().is_some_and(|topic| !topic.takes(&event.topic)) {
            continue;
        }
        let Some(subscribers) = ports.store.matching(tenant, &event.topic).await? else { return Ok(None) };
        let takers = publish::takers(&subscribers, event);
        let takers: Vec<_> =
            takers.iter().filter(|id| question.webhook.is_none_or(|only| only == **id)).collect();
        for some in takers.chunks(AT_ONCE) {
            let looks = some.iter().map(|webhook| lacking(ports, replay, event, **webhook));
            found.extend(try_join_all(looks).await?.into_iter().flatten());
        }
    }
    let place = &mut replay.place;
    place.reached = page.items.last().map(|event| event.accepted_at).or(place.reached);
    place.after = page.next;
    if place.after.is_none() {
        (place.webhook, place.is_last) = (None, true);
    }
    Ok(Some(found))
}

/// The delivery of an event for a webhook, if that did not get it.
async fn lacking(
    ports: &Ports,
    replay: &Replay,
    event: &Event,
    webhook: WebhookId,
) -> Result<Option<Delivery>, Error> {
    let id = DeliveryId { event: event.uid, webhook };
    if let Some(kept) = ports.store.delivery(&replay.tenant, id).await? {
        let wanted = Wanted::Missing.takes(kept.state) || kept.replay == Some(replay.id);
        return Ok(wanted.then_some(kept));
    }
    // Of what was published just now no record need be there yet, and what gets lost the sweep finds.
    let is_young = ports.clock.now().duration_since(event.accepted_at) < STRANDED_AFTER;
    let is_on_its_way = is_young && event.webhooks.contains(&webhook);
    Ok((!is_on_its_way).then(|| Hint::again(event, webhook).blank(event)))
}

/// Counts what became of the next pages of what a replay took up; true: that was all of it.
pub(super) async fn count(ports: &Ports, replay: &mut Replay) -> Result<bool, Error> {
    for _ in 0..PAGES {
        let Some(page) = page(ports, replay).await? else { return Ok(true) };
        page.iter().filter(|one| one.replay == Some(replay.id)).for_each(|one| replay.counting.add(one));
    }
    Ok(false)
}

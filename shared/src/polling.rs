//! Events for receivers that nothing can be sent to: they ask for them.
//!
//! What goes to a polled webhook waits as what goes to a paused one does. A poll hands the oldest out and changes nothing;
//! the next one says which it got. So each is handed out until its receiver has said that it has it: at least once.

use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    access::Principal,
    catalogue::Catalogue,
    dialect::{self, Message, Posting},
    error::Error,
    model::{Attempt, Delivery, DeliveryId, Event, EventId, KeptHeaders, Phases, State, Topic},
    operation::{Asked, Outcome, Selector},
    ports::{Ports, Target},
    signing, webhooks,
};

/// What a receiver that polls asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollRequest {
    /// At most so many events.
    pub limit: usize,
    /// The events that it was handed out before, and has: by our numbers of them.
    pub acknowledged: Vec<Uuid>,
}

/// An event that is handed out to who polls: as it would have been sent.
#[derive(Debug, Clone)]
pub struct HandedOut {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The publisher's name of the event.
    pub event: EventId,
    /// What kind of thing happened.
    pub topic: Topic,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The message: its signature is among the headers.
    pub message: Message,
}

/// Events that one poll hands out at most: the next one names each of them in its URL, and with its headers API
/// Gateway takes that up to 10,240 bytes.
pub const MOST: usize = 100;
/// Bytes of messages from which on a poll hands out no more of them. Lambda answers with 6 MB at most; a quotation mark
/// takes four bytes of them, for it is escaped in our answer and again in Lambda's.
const ENOUGH: usize = 1024 * 1024;
/// Events that are read at once.
const AT_ONCE: usize = 25;

/// Notes what a receiver has, and hands out what it has not, oldest first.
pub async fn poll(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
    request: PollRequest,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let webhook = webhooks::find(ports, &tenant, asked, which).await?;
    if webhook.state != State::Polled {
        return Err(Error::Conflict("this webhook is not polled: its events are sent to its URL".into()));
    }
    let now = ports.clock.now();
    let id = |event| DeliveryId { event, webhook: webhook.id };
    let had: Vec<_> = request.acknowledged.into_iter().map(id).collect();
    if !had.is_empty() {
        ports.store.acknowledge(&tenant, &had, &receipt(now)).await?;
    }
    let waiting = ports.store.waiting(&tenant, webhook.id, request.limit.min(MOST)).await?;
    let catalogue = ports.store.catalogue().await?;
    // Nothing is sent, so there is nobody to authenticate to.
    let target = Target { webhook, credentials: None };
    let (mut handed_out, mut bytes) = (Vec::with_capacity(waiting.len()), 0);
    for some in waiting.chunks(AT_ONCE) {
        let events = some.iter().map(|delivery| ports.store.event(&tenant, &delivery.event));
        for (delivery, event) in some.iter().zip(try_join_all(events).await?) {
            // One whose event has expired goes with it.
            let Some(event) = event else { continue };
            if bytes >= ENOUGH {
                return Ok(Outcome::Polled(handed_out));
            }
            let one = hand_out(delivery, &event, &target, &catalogue, now)?;
            bytes += one.message.body.len();
            handed_out.push(one);
        }
    }
    Ok(Outcome::Polled(handed_out))
}

/// What stays on record of a delivery that its receiver fetched.
fn receipt(at: Timestamp) -> Attempt {
    let phases = Phases::default();
    Attempt {
        number: 1,
        at,
        phases,
        address: None,
        sent_headers: KeptHeaders::default(),
        failure: None,
        detail: None,
        reply: None,
    }
}

/// The message as it would have been sent now.
fn hand_out(
    delivery: &Delivery,
    event: &Arc<Event>,
    target: &Target,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Result<HandedOut, Error> {
    let dialect = dialect::named(&target.webhook.dialect)?;
    let posting = Posting {
        target,
        event,
        topic: catalogue.own_name(dialect, &event.topic).unwrap_or(event.topic.as_str()),
        payload: event.payload_for(dialect.name()),
        is_test: false,
        delivery: delivery.id,
        attempt: 1,
        sequence: None,
        now,
    };
    let mut message = dialect.message(&posting)?;
    let signs = target.webhook.secrets.iter().chain(&target.webhook.key_pairs);
    signing::sign(&mut message.headers, &event.id, now, &message.body, signs)?;
    Ok(HandedOut {
        delivery: delivery.id,
        event: event.id.clone(),
        topic: event.topic.clone(),
        accepted_at: event.accepted_at,
        message,
    })
}

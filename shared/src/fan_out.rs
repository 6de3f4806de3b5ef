//! Events that go to many webhooks: the publish queues the first attempts of some, and the queue those of the others, page
//! by page, so that no publisher waits for a long list.
//!
//! A page that gets lost is found by the sweep, as every first attempt is that no record shows. One that is doubled queues
//! its attempts twice, so they are claimed: none of them is the only one of its kind.

use std::{sync::Arc, time::Duration};

use crate::{
    errand::Errand,
    error::Error,
    hint::Hint,
    model::{Event, EventId, TenantId},
    ports::{Ports, Sending},
};

/// Webhooks of one page.
pub const PAGE: usize = 100;

/// What is queued for the webhooks of an event from a place in their list on; none: there are none.
pub fn rest(event: &Event, from: usize) -> Option<Errand> {
    let errand = || Errand::FanOut { tenant: event.tenant.clone(), event: event.id.clone(), from };
    (from < event.webhooks.len()).then(errand)
}

/// The attempts of a page, which may be queued already.
pub(crate) fn page(event: &Arc<Event>, from: usize, delay: Duration) -> impl Iterator<Item = Sending> {
    let webhooks = event.webhooks.iter().skip(from).take(PAGE);
    webhooks.map(move |&webhook| Sending {
        hint: Hint::again(event, webhook),
        delay,
        event: Some(event.clone()),
    })
}

/// Queues the attempts of a page, and then what is to queue the next.
pub async fn go_on(ports: &Ports, tenant: &TenantId, event: &EventId, from: usize) -> Result<(), Error> {
    let Some(event) = ports.store.event(tenant, event).await? else { return Ok(()) };
    ports.queue.send(page(&event, from, Duration::ZERO).collect()).await?;
    // Last, for whatever fails before it is done again, and the pages after this one are not.
    match rest(&event, from + PAGE) {
        Some(errand) => ports.queue.charge(&errand, Duration::ZERO).await,
        None => Ok(()),
    }
}

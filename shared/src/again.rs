//! An attempt that somebody asks for, of a delivery however it stands.
//!
//! It does not count in the delivery's schedule: should it fail, a delivery whose schedule is used up has failed again, and
//! any other waits for its next attempt as it did before.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    access::Principal,
    deliver::GRACE,
    error::Error,
    hint::Hint,
    model::{Delivery, DeliveryId, DeliveryState},
    operation::{Asked, Outcome},
    ports::{Ports, Sending},
};

/// How often it is tried anew when the delivery changes meanwhile.
const TRIES: usize = 5;

/// Attempts a delivery again at once. Of two who ask at the same time, one is told what the other has set going.
pub async fn retry(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    id: DeliveryId,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    for _ in 0..TRIES {
        let kept = ports.store.delivery(&tenant, id).await?.ok_or(Error::NotFound("delivery"))?;
        if ports.store.state(&tenant, id.webhook).await?.is_none() {
            return Err(Error::Conflict("the webhook of this delivery is deleted".into()));
        }
        let now = ports.clock.now();
        if is_on_its_way(&kept, now) {
            return Ok(Outcome::DeliveryRetried(Box::new(kept)));
        }
        let again = reopened(&kept, now);
        if ports.store.reopen(&kept, &again, now, now + GRACE).await? {
            let sending = Sending { hint: Hint::next(&again), delay: Duration::ZERO, event: None };
            if let Err(error) = ports.queue.send(vec![sending]).await {
                tracing::warn!(%error, delivery = %id, "an attempt was not queued; the sweep will find it");
            }
            return Ok(Outcome::DeliveryRetried(Box::new(again)));
        }
    }
    Err(Error::Conflict("this delivery is being attempted; try again".into()))
}

/// Whether its next attempt is in the queue, or being made.
fn is_on_its_way(kept: &Delivery, now: Timestamp) -> bool {
    // What is released or attempted for the first time has no time of its own.
    kept.state == DeliveryState::Pending && kept.next_attempt_at.is_none_or(|at| at <= now)
}

/// A delivery that is to be attempted again, `at` that time.
pub(crate) fn reopened(kept: &Delivery, at: Timestamp) -> Delivery {
    // What was parked has its next attempt still before it; what was given up may have failed before.
    let counts = kept.state == DeliveryState::Parked || kept.attempt_count == 0;
    // Stores keep microseconds, and what is put is compared with what is there.
    let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
    Delivery {
        state: DeliveryState::Pending,
        probes: kept.probes + u32::from(!counts),
        next_attempt_at: Some(at),
        ..kept.clone()
    }
}

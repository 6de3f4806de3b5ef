//! Rounds by the clock: what is due or stranded goes to the queue.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use postrider::{
    error::Error,
    ports::Ports,
    sweep::{self, Swept},
};

/// Makes a round. An error makes the schedule's next one all the more needed; the caller reports it.
pub async fn handle(ports: &Ports, _: EventBridgeEvent) -> Result<Swept, Error> {
    let swept = sweep::sweep(ports).await?;
    if swept != Swept::default() {
        tracing::info!(swept.due, swept.stranded, swept.released, swept.replays, "queued by the sweep");
    }
    Ok(swept)
}

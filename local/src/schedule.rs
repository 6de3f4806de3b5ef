//! The scheduler function by the template's clock, and the housekeeping that AWS's services do by themselves.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lambda_events::eventbridge::EventBridgeEvent;
use postrider::{error::Error, ports::Ports};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often old records are let go of.
const HOUSEKEEPING: Duration = Duration::from_hours(1);

/// What an engine does from time to time.
#[async_trait]
pub(crate) trait Housekeeping: Send + Sync {
    /// Lets go of what is older than it must be kept.
    async fn tidy(&self) -> Result<(), Error>;
}

/// Runs until told to stop; a round under way is finished.
pub(crate) async fn run(
    every: Duration,
    ports: Ports,
    housekeeping: Option<Arc<dyn Housekeeping>>,
    stop: CancellationToken,
) {
    let mut rounds = tokio::time::interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tidying = tokio::time::interval(HOUSEKEEPING);
    loop {
        let done = tokio::select! {
            _ = rounds.tick() => scheduler::handle(&ports, round()).await.map(drop),
            _ = tidying.tick() => match &housekeeping {
                Some(engine) => engine.tidy().await,
                None => Ok(()),
            },
            () = stop.cancelled() => break,
        };
        if let Err(error) = done {
            tracing::error!(%error, fault = error.fault(), "a round of the scheduler failed");
        }
    }
}

fn round() -> EventBridgeEvent {
    let mut event = EventBridgeEvent::default();
    "Scheduled Event".clone_into(&mut event.detail_type);
    "aws.events".clone_into(&mut event.source);
    event
}

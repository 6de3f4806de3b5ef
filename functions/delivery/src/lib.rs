//! Doing what the queue holds: one attempt for each record, or an errand, the whole batch at once.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{StreamExt, stream::FuturesUnordered};
use postrider::{
    deliver::deliver as attempt,
    errand::Errand,
    error::Error,
    fan_out,
    hint::Hint,
    ports::{Ports, Post},
    replay,
};

/// Delivers a batch. A record that could not be put on record is reported as failed, and comes again.
pub async fn handle(ports: &Ports, post: &dyn Post, event: SqsEvent) -> SqsBatchResponse {
    let mut attempts: FuturesUnordered<_> =
        event.records.iter().map(async |record| (record, deliver(ports, post, record).await)).collect();
    let mut response = SqsBatchResponse::default();
    while let Some((record, is_done)) = attempts.next().await {
        if !is_done {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = record.message_id.clone().unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    response
}

/// Does what one record asks for; false: it must come again.
pub async fn deliver(ports: &Ports, post: &dyn Post, record: &SqsMessage) -> bool {
    let Err(error) = one(ports, post, record).await else { return true };
    tracing::error!(%error, fault = error.fault(), message = record.message_id, "a record comes again");
    false
}

async fn one(ports: &Ports, post: &dyn Post, record: &SqsMessage) -> Result<(), Error> {
    let body = record.body.as_deref().unwrap_or_default();
    // A poison record fails here each time, until the queue's redrive policy makes it a dead letter.
    let (hint, inline) = match Hint::read(body) {
        Ok(hint) => hint,
        // Few are: their futures are not to make those of attempts as long as they are.
        Err(error) => return Box::pin(run(ports, Errand::read(body).map_err(|_| error)?)).await,
    };
    let received = record.attributes.get("ApproximateReceiveCount");
    let received = received.and_then(|count| count.parse().ok()).unwrap_or(1);
    attempt(ports, post, &hint, inline, received).await.map(drop)
}

async fn run(ports: &Ports, errand: Errand) -> Result<(), Error> {
    match errand {
        Errand::FanOut { tenant, event, from } => fan_out::go_on(ports, &tenant, &event, from).await,
        Errand::Replay { tenant, replay, step } => replay::step(ports, &tenant, replay, step).await,
    }
}

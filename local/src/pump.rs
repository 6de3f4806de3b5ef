//! From the queue to the delivery function, as Lambda's event source mapping does it: batches of the template's
//! size, and what the function reports as failed comes again.

use std::{convert::identity, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lambda_events::sqs::SqsMessage;
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use postrider::{error::Error, ports::Ports};
use postrider_outbound::Outbound;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How much of a lane is delivered at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Records being delivered at once. A receiver that answers nothing holds one for its whole timeout.
    in_flight: u32,
    /// Batches begun less than [`YOUNG`] ago at once: as many as keep the machine busy while receivers are quick.
    /// More would only cost connections and memory.
    beginning: usize,
}

/// First attempts: nearly all of them are quick, until a receiver is known to be slow.
pub(crate) const FAST: Room = Room { in_flight: 2048, beginning: 48 };
/// Everything else. Its records may all be slow ones, and take none of the room of the others.
pub(crate) const SLOW: Room = Room { in_flight: 1024, beginning: 16 };
/// After what time a batch no longer counts as beginning: it waits for a slow receiver, and others go ahead.
const YOUNG: Duration = Duration::from_millis(50);
/// How long one look at an empty queue waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// A record that was handed out.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// By which it is deleted or returned.
    pub(crate) receipt: String,
    pub(crate) body: String,
    /// How often it was handed out, this time included.
    pub(crate) received: u32,
}

/// The consumer's side of a queue.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// Hands out up to `max` records; waits a while for the first.
    async fn receive(&self, max: usize, patience: Duration) -> Result<Vec<Record>, Error>;
    /// Deletes what is done, and returns what failed.
    async fn settle(&self, done: Vec<String>, failed: Vec<String>) -> Result<(), Error>;
}

/// Pumps until told to stop; batches under way are finished.
pub(crate) async fn run(
    source: Arc<dyn Source>,
    batch_size: usize,
    Room { in_flight, beginning }: Room,
    ports: Ports,
    post: Arc<Outbound>,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(in_flight as usize));
    let beginning = Arc::new(Semaphore::new(beginning));
    let batches = TaskTracker::new();
    let most = u32::try_from(batch_size).unwrap_or(in_flight).min(in_flight);
    loop {
        // A whole batch's room is taken before it is known how long the batch is, and the rest given back.
        let Ok(mut permits) = room.clone().acquire_many_owned(most).await else { break };
        let Ok(young) = beginning.clone().acquire_owned().await else { break };
        let received = tokio::select! {
            received = source.receive(batch_size, PATIENCE) => received,
            () = stop.cancelled() => break,
        };
        match received {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                let unused = batch_size.saturating_sub(records.len());
                drop(permits.split(unused));
                let (source, ports, post) = (source.clone(), ports.clone(), post.clone());
                batches.spawn(async move {
                    let mut under_way: FuturesUnordered<_> =
                        records.into_iter().map(|record| deliver(&ports, &post, record)).collect();
                    let mut quick = Vec::with_capacity(under_way.len());
                    let quickly = async {
                        while let Some(delivered) = under_way.next().await {
                            quick.push(delivered);
                        }
                    };
                    // Elapsed or not: what is left then is slow.
                    let _ = tokio::time::timeout(YOUNG, quickly).await;
                    drop(young);
                    settle(&*source, quick, &mut permits).await;
                    // Each gives its room back as it is done: it need not wait for the slowest of its batch.
                    while let Some(delivered) = under_way.next().await {
                        settle(&*source, vec![delivered], &mut permits).await;
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, fault = error.fault(), "the queue did not answer");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    batches.close();
    batches.wait().await;
}

/// What became of a record.
struct Delivered {
    receipt: String,
    is_done: bool,
}

async fn deliver(ports: &Ports, post: &Outbound, record: Record) -> Delivered {
    let receipt = record.receipt.clone();
    let message = message(record);
    let delivered = AssertUnwindSafe(delivery::deliver(ports, post, &message)).catch_unwind().await;
    // As on Lambda: a function that dies leaves what it was given to come again.
    Delivered { receipt, is_done: delivered.is_ok_and(identity) }
}

/// Deletes or returns records, and gives their room back.
async fn settle(source: &dyn Source, delivered: Vec<Delivered>, permits: &mut OwnedSemaphorePermit) {
    if delivered.is_empty() {
        return;
    }
    drop(permits.split(delivered.len()));
    let (done, failed): (Vec<_>, Vec<_>) = delivered.into_iter().partition(|record| record.is_done);
    let receipts = |records: Vec<Delivered>| records.into_iter().map(|record| record.receipt).collect();
    if let Err(error) = source.settle(receipts(done), receipts(failed)).await {
        // They come again after their visibility timeout, and are found to be done.
        tracing::error!(%error, fault = error.fault(), "records were not deleted");
    }
}

fn message(record: Record) -> SqsMessage {
    let mut message = SqsMessage::default();
    // The first time, as one without the attribute is taken to be: a map for each message costs 2 % of all time.
    if record.received > 1 {
        message.attributes.insert("ApproximateReceiveCount".to_owned(), record.received.to_string());
    }
    message.event_source = Some("aws:sqs".to_owned());
    message.receipt_handle = Some(record.receipt.clone());
    message.message_id = Some(record.receipt);
    message.body = Some(record.body);
    message
}

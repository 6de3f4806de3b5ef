//! From the queue to the delivery function, as Lambda's event source mapping does it: batches of the template's
//! size, and what the function reports as failed comes again.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use futures::FutureExt;
use postrider::{error::Error, ports::Ports};
use postrider_outbound::Outbound;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Records being delivered at once. A receiver that answers nothing holds one for its whole timeout.
const IN_FLIGHT: u32 = 2048;
/// Batches begun less than [`YOUNG`] ago at once: as many as keep the machine busy while receivers are quick.
/// More would only cost connections and memory.
const BEGINNING: usize = 48;
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
    ports: Ports,
    post: Arc<Outbound>,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT as usize));
    let beginning = Arc::new(Semaphore::new(BEGINNING));
    let batches = TaskTracker::new();
    let most = u32::try_from(batch_size).unwrap_or(IN_FLIGHT).min(IN_FLIGHT);
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
                    let mut delivering = std::pin::pin!(deliver(&ports, &post, records));
                    let quickly = tokio::time::timeout(YOUNG, &mut delivering).await;
                    drop(young);
                    let delivered = match quickly {
                        Ok(delivered) => delivered,
                        Err(_) => delivering.await,
                    };
                    drop(permits);
                    settle(&*source, delivered).await;
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

/// What became of a batch's records.
struct Delivered {
    done: Vec<String>,
    failed: Vec<String>,
}

async fn deliver(ports: &Ports, post: &Outbound, records: Vec<Record>) -> Delivered {
    let receipts: Vec<String> = records.iter().map(|record| record.receipt.clone()).collect();
    let mut event = SqsEvent::default();
    event.records = records.into_iter().map(message).collect();
    let handled = AssertUnwindSafe(delivery::handle(ports, post, event)).catch_unwind().await;
    let failed: HashSet<String> = match handled {
        Ok(response) => response.batch_item_failures.into_iter().map(|f| f.item_identifier).collect(),
        // As on Lambda: a function that dies leaves its whole batch to come again.
        Err(_) => receipts.iter().cloned().collect(),
    };
    let (failed, done) = receipts.into_iter().partition(|receipt| failed.contains(receipt));
    Delivered { done, failed }
}

async fn settle(source: &dyn Source, Delivered { done, failed }: Delivered) {
    if let Err(error) = source.settle(done, failed).await {
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

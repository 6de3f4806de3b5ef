//! The queue: SQS, ten messages a request.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::{
    config::timeout::TimeoutConfig,
    types::{DeleteMessageBatchRequestEntry, MessageSystemAttributeName, SendMessageBatchRequestEntry},
};
use futures::{StreamExt, TryStreamExt, stream};
use postrider::{
    errand::Errand,
    error::Error,
    hint::Lane,
    ports::{MAX_DELAY, Queue, Sending},
};

use crate::{
    ANSWER_WITHIN, Engine,
    fault::{fault, odd},
};

/// Messages of one request at most.
const BATCH: usize = 10;
/// Bytes of one request at most: SQS's limit of old, which every region and stand-in takes.
const BATCH_BYTES: usize = 256 * 1024;
/// A message that is no longer than this carries its event along: SQS bills requests by 64 KB.
const INLINE: usize = 60 * 1024;
/// Requests under way at once.
const AT_ONCE: usize = 8;
/// How often what SQS refuses is sent.
const TRIES: u32 = 4;

/// A message that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// By which it is deleted.
    pub receipt: String,
    /// What its sender wrote.
    pub body: String,
    /// How often it was handed out, this time included.
    pub received: u32,
}

struct Message {
    body: String,
    delay: i32,
    group: String,
}

fn message(sending: &Sending) -> Result<Message, Error> {
    let mut body = sending.hint.write(sending.event.as_deref())?;
    if body.len() > INLINE {
        body = sending.hint.write(None)?;
    }
    Ok(Message { body, delay: seconds(sending.delay), group: sending.hint.tenant.to_string() })
}

/// Whole seconds, never too early.
fn seconds(delay: Duration) -> i32 {
    let delay = delay.min(MAX_DELAY);
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    i32::try_from(seconds.min(MAX_DELAY.as_secs())).unwrap_or_default()
}

/// Requests, each within SQS's bounds.
fn batches(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let mut batches: Vec<Vec<Message>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        bytes += message.body.len();
        let open = batches.last_mut().filter(|batch| batch.len() < BATCH && bytes <= BATCH_BYTES);
        if let Some(batch) = open {
            batch.push(message);
        } else {
            bytes = message.body.len();
            batches.push(vec![message]);
        }
    }
    batches
}

#[async_trait]
impl Queue for Engine {
    async fn send(&self, batch: Vec<Sending>) -> Result<(), Error> {
        let mut requests = Vec::new();
        for lane in Lane::ALL {
            let own = batch.iter().filter(|sending| sending.hint.lane() == lane);
            let messages = own.map(message).collect::<Result<Vec<_>, _>>()?;
            requests.extend(batches(messages).into_iter().map(|batch| self.send_batch(lane, batch)));
        }
        stream::iter(requests).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn charge(&self, errand: &Errand, delay: Duration) -> Result<(), Error> {
        let (body, group) = (errand.write()?, errand.tenant().to_string());
        self.send_batch(errand.lane(), vec![Message { body, delay: seconds(delay), group }]).await
    }
}

impl Engine {
    fn url(&self, lane: Lane) -> &str {
        match lane {
            Lane::Fast => &self.0.settings.queue_url,
            Lane::Slow => &self.0.settings.slow_queue_url,
        }
    }

    async fn send_batch(&self, lane: Lane, messages: Vec<Message>) -> Result<(), Error> {
        let entry = |(at, message): (usize, &Message)| {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .message_body(&message.body)
                .delay_seconds(message.delay)
                // On a standard queue this is the tenant of fair queues: a noisy one waits for the others.
                .message_group_id(&message.group);
            entry.build().map_err(|_| odd("message"))
        };
        let mut left = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        for tried in 0..TRIES {
            let request = self.0.sqs.send_message_batch().queue_url(self.url(lane));
            let sent = request.set_entries(Some(left.clone())).send().await.map_err(fault("queueing"))?;
            let failed = sent.failed();
            left.retain(|entry| failed.iter().any(|failed| failed.id() == entry.id()));
            if left.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50 << tried)).await;
        }
        Err(Error::Unavailable("queueing: SQS refused some messages".into()))
    }

    /// Hands out up to `max` messages of a lane (at most ten); waits up to `patience` (at most 20 s) for the first.
    pub async fn receive(&self, lane: Lane, max: usize, patience: Duration) -> Result<Vec<Received>, Error> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(patience + ANSWER_WITHIN).build();
        let receive = self
            .0
            .sqs
            .receive_message()
            .queue_url(self.url(lane))
            .max_number_of_messages(i32::try_from(max.clamp(1, BATCH)).unwrap_or(1))
            .wait_time_seconds(i32::try_from(patience.as_secs().min(20)).unwrap_or_default())
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .customize()
            .config_override(aws_sdk_sqs::config::Config::builder().timeout_config(timeouts));
        let received = receive.send().await.map_err(fault("receiving"))?.messages.unwrap_or_default();
        let read = |message: aws_sdk_sqs::types::Message| {
            let count = message.attributes.as_ref().and_then(|attributes| {
                attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok()
            });
            Ok(Received {
                receipt: message.receipt_handle.ok_or_else(|| odd("receipt"))?,
                body: message.body.unwrap_or_default(),
                received: count.unwrap_or(1),
            })
        };
        received.into_iter().map(read).collect()
    }

    /// Deletes messages of a lane that are done with. A receipt that SQS does not know any more is no fault: its message was
    /// deleted, by a first try whose answer got lost, or was handed out to another.
    pub async fn delete_messages(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        for batch in receipts.chunks(BATCH) {
            let entry = |(at, receipt): (usize, &String)| {
                let entry =
                    DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(receipt);
                entry.build().map_err(|_| odd("receipt"))
            };
            let mut left = batch.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
            for tried in 0..TRIES {
                let delete = self.0.sqs.delete_message_batch().queue_url(self.url(lane));
                let delete = delete.set_entries(Some(left.clone()));
                let done = delete.send().await.map_err(fault("deleting messages"))?;
                let failed: Vec<_> = done.failed().iter().filter(|failed| !failed.sender_fault()).collect();
                left.retain(|entry| failed.iter().any(|failed| failed.id() == entry.id()));
                if left.is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50 << tried)).await;
            }
            if !left.is_empty() {
                return Err(Error::Unavailable("deleting messages: SQS refused some".into()));
            }
        }
        Ok(())
    }
}

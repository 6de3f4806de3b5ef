//! Queue messages: which attempt is to be made. Tagged and versioned, for they outlive a deployment.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    error::Error,
    model::{
        Delivery, DeliveryId, DeliveryState, Event, EventId, Metadata, OrderingKey, Payload, Payloads,
        TenantId, Topic, WebhookId,
    },
};

/// Which of two ways a message goes, so that those that may take long do not hold up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// First attempts, straight from the publish that accepted their event.
    Fast,
    /// All others: retries, what was parked, and what goes to receivers known to be slow.
    Slow,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Slow];
}

/// One attempt to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Whose event it is.
    pub tenant: TenantId,
    /// The event.
    pub event: EventId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which attempt: 1 is the first.
    pub attempt: u32,
    /// When a first attempt was queued by the publish that accepted its event. Such a hint is the only one there
    /// is for a while, so its attempt need not be claimed with a write.
    pub fresh_at: Option<Timestamp>,
    /// How many releases of parked deliveries led to this one; none: it was not parked. Its success releases more.
    pub released: Option<u32>,
    /// The slot that was reserved for it, where its webhook takes only so many a second.
    pub slot: Option<Timestamp>,
}

impl Hint {
    /// The first attempt of an event just accepted, for one of its webhooks.
    pub fn fresh(event: &Event, webhook: WebhookId) -> Self {
        Self { fresh_at: Some(event.accepted_at), ..Self::again(event, webhook) }
    }

    /// The first attempt of an event accepted earlier.
    pub fn again(event: &Event, webhook: WebhookId) -> Self {
        Self {
            tenant: event.tenant.clone(),
            event: event.id.clone(),
            delivery: DeliveryId { event: event.uid, webhook },
            attempt: 1,
            fresh_at: None,
            released: None,
            slot: None,
        }
    }

    /// The next attempt of a delivery.
    pub fn next(delivery: &Delivery) -> Self {
        Self {
            tenant: delivery.tenant.clone(),
            event: delivery.event.clone(),
            delivery: delivery.id,
            attempt: delivery.attempt_count + 1,
            fresh_at: None,
            released: None,
            slot: None,
        }
    }

    /// By which way it goes.
    pub fn lane(&self) -> Lane {
        if self.fresh_at.is_some() { Lane::Fast } else { Lane::Slow }
    }

    /// The delivery before anything is kept of it.
    pub fn blank(&self, event: &Event) -> Delivery {
        Delivery {
            id: self.delivery,
            tenant: event.tenant.clone(),
            event: event.id.clone(),
            topic: event.topic.clone(),
            state: DeliveryState::Pending,
            attempt_count: 0,
            attempts: Vec::new(),
            created_at: event.accepted_at,
            probes: 0,
            parked_at: None,
            replay: None,
            next_attempt_at: None,
            ordering_key: event.line_key(self.delivery.webhook),
        }
    }

    /// Writes the message, with the event in it if there is one to save the consumer a read.
    pub fn write(&self, event: Option<&Event>) -> Result<String, Error> {
        let payload = event.map(|e| serde_json::from_slice::<&RawValue>(e.payload.as_bytes())).transpose();
        let payload = payload.map_err(|e| Error::Internal(format!("a payload that is not JSON: {e}")))?;
        let inline = event.zip(payload).map(|(event, payload)| Inline {
            topic: event.topic.clone(),
            payload,
            payloads: event.payloads.clone(),
            metadata: event.metadata.clone(),
            occurred_at: event.occurred_at,
            accepted_at: event.accepted_at,
            ordering_key: event.ordering_key.clone(),
            ordered: event.ordered.contains(&self.delivery.webhook),
        });
        let message = Message {
            v: VERSION,
            tenant: self.tenant.clone(),
            event: self.event.clone(),
            delivery: self.delivery,
            attempt: self.attempt,
            fresh_at: self.fresh_at,
            released: self.released,
            slot: self.slot,
            inline,
        };
        serde_json::to_string(&message).map_err(|e| Error::Internal(format!("writing a queue message: {e}")))
    }

    /// Reads a message back.
    pub fn read(text: &str) -> Result<(Self, Option<Arc<Event>>), Error> {
        let message: Message<'_> = serde_json::from_str(text)
            .map_err(|e| Error::Malformed(format!("not a queue message of ours: {e}")))?;
        if message.v != VERSION {
            return Err(Error::Malformed(format!("a queue message of version {}", message.v)));
        }
        let hint = Self {
            tenant: message.tenant,
            event: message.event,
            delivery: message.delivery,
            attempt: message.attempt,
            fresh_at: message.fresh_at,
            released: message.released,
            slot: message.slot,
        };
        let event = message.inline.map(|inline| {
            Arc::new(Event {
                tenant: hint.tenant.clone(),
                id: hint.event.clone(),
                uid: hint.delivery.event,
                topic: inline.topic,
                payload: Payload::from_raw(inline.payload),
                payloads: inline.payloads,
                metadata: inline.metadata,
                occurred_at: inline.occurred_at,
                accepted_at: inline.accepted_at,
                webhooks: Arc::from([hint.delivery.webhook]),
                ordering_key: inline.ordering_key,
                ordered: inline.ordered.then_some(hint.delivery.webhook).into_iter().collect(),
            })
        });
        Ok((hint, event))
    }
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Message<'a> {
    v: u32,
    tenant: TenantId,
    event: EventId,
    delivery: DeliveryId,
    attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fresh_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    released: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    inline: Option<Inline<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Inline<'a> {
    topic: Topic,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default, skip_serializing_if = "Payloads::is_empty")]
    payloads: Payloads,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Timestamp>,
    accepted_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ordering_key: Option<OrderingKey>,
    /// Whether this webhook wants its order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ordered: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_message_reads_back_with_and_without_its_event() {
        let webhook = WebhookId(Uuid::from_u128(2));
        let event = Event {
            tenant: "acme".parse().unwrap(),
            id: "e-1".parse().unwrap(),
            uid: Uuid::from_u128(1),
            topic: "order.created".parse().unwrap(),
            payload: Payload::from_store(&br#"{"n":1.10}"#[..]),
            payloads: [("sapo".to_owned(), Payload::from_store(&b"[1.10 ]"[..]))].into(),
            metadata: [("channel".to_owned(), "web".to_owned())].into(),
            occurred_at: None,
            accepted_at: Timestamp::UNIX_EPOCH,
            webhooks: Arc::from([webhook]),
            ordering_key: Some("1001".parse().unwrap()),
            ordered: vec![webhook],
        };
        let hint = Hint::fresh(&event, webhook);
        assert_eq!(Hint::read(&hint.write(None).unwrap()).unwrap(), (hint.clone(), None));
        let message = hint.write(Some(&event)).unwrap();
        assert_eq!(Hint::read(&message).unwrap(), (hint, Some(Arc::new(event))));
        for poison in ["", "{}", &message.replace("\"v\":1", "\"v\":2"), &message.replace("dlv_", "x")] {
            assert!(matches!(Hint::read(poison), Err(Error::Malformed(_))), "{poison}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_message_of_ours_or_is_refused(text in "\\PC*") {
            prop_assert!(matches!(Hint::read(&text), Err(Error::Malformed(_))), "{}", text);
        }

        #[test]
        fn a_message_with_something_else_in_it_is_read_or_refused(
            at in 0_usize..400, less in 0_usize..5, more in "[ -~\\PC]{0,5}",
        ) {
            let hint = Hint {
                tenant: "acme".parse().unwrap(),
                event: "e-1".parse().unwrap(),
                delivery: DeliveryId { event: Uuid::from_u128(1), webhook: WebhookId(Uuid::from_u128(2)) },
                attempt: 3,
                fresh_at: Some(Timestamp::UNIX_EPOCH),
                released: Some(1),
                slot: None,
            };
            let mut message = hint.write(None).unwrap();
            let at = at % message.len();
            message.replace_range(at..message.len().min(at + less), &more);
            match Hint::read(&message) {
                // Whatever it says, it says it again.
                Ok((read, None)) => prop_assert_eq!(Hint::read(&read.write(None).unwrap()).unwrap().0, read),
                Ok((_, Some(_))) => prop_assert!(false, "an event out of nothing: {}", message),
                Err(error) => prop_assert!(matches!(error, Error::Malformed(_)), "{}", error),
            }
        }

        #[test]
        fn every_hint_reads_back(
            tenant in "[a-z0-9][a-z0-9._-]{0,20}", event in "[!-~]{1,40}", numbers in any::<(u128, u128, u32)>(),
            fresh_at in prop::option::of(0_i64..4_000_000_000), released in prop::option::of(any::<u32>()),
            payload in "[\\PC\\n\"]*",
        ) {
            let Ok(event) = event.parse() else { return Ok(()) };
            let webhook = WebhookId(Uuid::from_u128(numbers.1));
            let event = Event {
                tenant: tenant.parse().unwrap(),
                id: event,
                uid: Uuid::from_u128(numbers.0),
                topic: "order.created".parse().unwrap(),
                payload: Payload::from_store(serde_json::to_vec(&payload).unwrap()),
                payloads: Payloads::new(),
                metadata: Metadata::new(),
                occurred_at: None,
                accepted_at: Timestamp::UNIX_EPOCH,
                webhooks: Arc::from([webhook]),
                ordering_key: None,
                ordered: Vec::new(),
            };
            let fresh_at = fresh_at.map(|second| Timestamp::from_second(second).unwrap());
            let hint = Hint { attempt: numbers.2, fresh_at, released, ..Hint::again(&event, webhook) };
            let message = hint.write(Some(&event)).unwrap();
            prop_assert_eq!(Hint::read(&message).unwrap(), (hint, Some(Arc::new(event))));
        }
    }
}

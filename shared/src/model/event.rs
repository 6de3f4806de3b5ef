//! Events: what happened, accepted once.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{EventId, OrderingKey, TenantId, Topic, WebhookId};
use crate::error::Error;

/// The longest payload that is accepted, in bytes of JSON.
pub const MAX_PAYLOAD: usize = 256 * 1024;

/// How deep a payload's objects and lists may lie in each other: as deep as every form of message can be.
pub const MAX_DEPTH: usize = 100;

/// A JSON value, kept as the very bytes that were published: numbers keep their digits, objects their order.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// The payload of an event that has none.
    pub const fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// Takes valid JSON from the parser.
    pub fn from_raw(raw: &RawValue) -> Self {
        Self(Bytes::copy_from_slice(raw.get().as_bytes()))
    }

    /// How deep its objects and lists lie in each other.
    ///
    /// ```
    /// use postrider::model::Payload;
    /// assert_eq!(Payload::from_store(&br#"{"a": [1, {"b": "[[["}]}"#[..]).depth(), 3);
    /// assert_eq!(Payload::null().depth(), 0);
    /// ```
    pub fn depth(&self) -> usize {
        let (mut depth, mut deepest, mut in_text, mut escaped) = (0, 0, false, false);
        for byte in &self.0 {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'{' | b'[' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        deepest
    }

    /// Takes the bytes that a store kept of an earlier [`Payload`].
    pub fn from_store(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Writes a JSON object with the payload's very bytes as its last field, after the fields of `head`, which must
    /// serialise to an object that is not empty.
    ///
    /// ```
    /// use postrider::model::Payload;
    /// let payload = Payload::from_store(&br#"{"price": 1.10}"#[..]);
    /// let body = payload.in_envelope(&serde_json::json!({ "id": 7 }), "data").unwrap();
    /// assert_eq!(body, br#"{"id":7,"data":{"price": 1.10}}"#);
    /// ```
    pub fn in_envelope(&self, head: &impl Serialize, field: &str) -> Result<Vec<u8>, Error> {
        let fault = |error| Error::Internal(format!("writing a message: {error}"));
        let mut body = Vec::with_capacity(self.0.len() + 256);
        serde_json::to_writer(&mut body, head).map_err(fault)?;
        body.pop();
        body.push(b',');
        serde_json::to_writer(&mut body, field).map_err(fault)?;
        body.push(b':');
        body.extend_from_slice(&self.0);
        body.push(b'}');
        Ok(body)
    }

    /// Whether two payloads say the same, whatever their spacing.
    pub fn means(&self, other: &Self) -> bool {
        let parsed = |p: &Self| serde_json::from_slice::<serde_json::Value>(&p.0).ok();
        self == other || parsed(self).is_some_and(|value| Some(value) == parsed(other))
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[payload of {} bytes]", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self::from_raw(&raw))
    }
}

/// Payloads for single dialects, by the dialect's name.
pub type Payloads = BTreeMap<String, Payload>;

/// What a publisher says of an event for filters to see; no receiver is told.
pub type Metadata = BTreeMap<String, String>;

/// Entries of an event's metadata at most.
pub const MAX_METADATA: usize = 50;

/// Bytes of all names and values of an event's metadata at most.
pub const MAX_METADATA_BYTES: usize = 4096;

/// What happened, as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose it is.
    pub tenant: TenantId,
    /// The publisher's name of it: the same id is accepted once.
    pub id: EventId,
    /// Our number of it, in order of acceptance: a version 7 UUID.
    pub uid: Uuid,
    /// What kind of thing happened.
    pub topic: Topic,
    /// What it says.
    pub payload: Payload,
    /// What it says to single dialects instead.
    pub payloads: Payloads,
    /// What its publisher says of it, for filters alone.
    pub metadata: Metadata,
    /// When it happened, if the publisher said.
    pub occurred_at: Option<Timestamp>,
    /// When we took it.
    pub accepted_at: Timestamp,
    /// The webhooks that it goes to, as they stood when it was accepted.
    pub webhooks: Arc<[WebhookId]>,
    /// What it has in common with events that are to arrive in their order.
    pub ordering_key: Option<OrderingKey>,
    /// Those of the webhooks that want that order. Nothing without a key.
    pub ordered: Vec<WebhookId>,
}

impl Event {
    /// The key of the line that its delivery to a webhook stands in; none: in none.
    pub fn line_key(&self, webhook: WebhookId) -> Option<OrderingKey> {
        self.ordering_key.clone().filter(|_| self.ordered.contains(&webhook))
    }

    /// What it says to a dialect.
    pub fn payload_for(&self, dialect: &str) -> &Payload {
        self.payloads.get(dialect).unwrap_or(&self.payload)
    }

    /// Whether publishing `other` again under the same id is a mere repetition.
    pub fn repeats(&self, other: &Self) -> bool {
        self.topic == other.topic
            && self.occurred_at == other.occurred_at
            && self.metadata == other.metadata
            && self.ordering_key == other.ordering_key
            && self.payload.means(&other.payload)
            && self.payloads.keys().eq(other.payloads.keys())
            && self.payloads.values().zip(other.payloads.values()).all(|(a, b)| a.means(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_does_not_make_another_payload() {
        let payload = |json: &'static str| Payload::from_store(json.as_bytes());
        assert!(payload(r#"{"a":1}"#).means(&payload(r#"{ "a" : 1 }"#)));
        assert!(!payload(r#"{"a":1}"#).means(&payload(r#"{"a":2}"#)));
    }
}

//! Events: what happened, accepted once.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{EventId, TenantId, Topic, WebhookId};
use crate::error::Error;

/// The longest payload that is accepted, in bytes of JSON.
pub const MAX_PAYLOAD: usize = 256 * 1024;

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
    /// When it happened, if the publisher said.
    pub occurred_at: Option<Timestamp>,
    /// When we took it.
    pub accepted_at: Timestamp,
    /// The webhooks that it goes to, as they stood when it was accepted.
    pub webhooks: Arc<[WebhookId]>,
}

impl Event {
    /// Whether publishing `other` again under the same id is a mere repetition.
    pub fn repeats(&self, other: &Self) -> bool {
        self.topic == other.topic
            && self.occurred_at == other.occurred_at
            && self.payload.means(&other.payload)
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

//! Lines: deliveries to one webhook that go out one after the other.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BadId, Delivery, DeliveryState, TenantId, WebhookId};

/// What events have in common that are to arrive in their order: an order's number, for instance.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderingKey(String);

impl OrderingKey {
    /// As its publisher wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OrderingKey {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        let is_good = !text.is_empty() && text.chars().count() <= 128 && !text.chars().any(char::is_control);
        if is_good {
            Ok(Self(text))
        } else {
            Err(BadId("must be 1 to 128 characters, without control characters"))
        }
    }
}

impl std::str::FromStr for OrderingKey {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        text.to_owned().try_into()
    }
}

impl From<OrderingKey> for String {
    fn from(key: OrderingKey) -> String {
        key.0
    }
}

impl fmt::Debug for OrderingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes of a line when its first delivery has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It goes on without that one.
    Skip,
    /// It stands still until that one is given up.
    Block,
}

/// The deliveries to one webhook of events with one ordering key, in the order of their events' numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose webhook.
    pub tenant: TenantId,
    /// The webhook.
    pub webhook: WebhookId,
    /// The key.
    pub key: OrderingKey,
}

impl Line {
    /// The line in which a delivery stands or stood; most stand in none.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let key = delivery.ordering_key.clone()?;
        Some(Self { tenant: delivery.tenant.clone(), webhook: delivery.id.webhook, key })
    }
}

impl OnFailure {
    /// Whether a delivery lets those behind it go.
    pub fn lets_go(self, state: DeliveryState) -> bool {
        match state {
            DeliveryState::Delivered | DeliveryState::Discarded => true,
            DeliveryState::Failed => self == Self::Skip,
            DeliveryState::Pending | DeliveryState::Parked | DeliveryState::Waiting => false,
        }
    }
}

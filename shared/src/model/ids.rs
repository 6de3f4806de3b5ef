//! Identifiers: parsed once at the door, cheap to clone, impossible to mix up.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an identifier of the kind it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(pub &'static str);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr, $says:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                if $check(text) { Ok(Self(text.into())) } else { Err(BadId($says)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Whom webhooks belong to: a seller, store, company or network.
    TenantId,
    is_tenant,
    "must be 1 to 64 of a-z, 0-9, '.', '_' and '-', and begin with a letter or a digit"
);
text_id!(
    /// The publisher's own name of an event, and so its idempotency key within the tenant. It is sent as
    /// `webhook-id`, hence only characters that are safe in a header.
    EventId,
    |text: &str| (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b)),
    "must be 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':' and '-'"
);
text_id!(
    /// The public half of an API key: it finds the record, and proves nothing.
    KeyId,
    |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
    "must be 16 of a-z and 0-9"
);

fn is_tenant(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=64).contains(&text.len())
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $says:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix($prefix).and_then(simple).map(Self).ok_or(BadId($says))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

uuid_id!(
    /// The name of a registered webhook, in order of creation.
    WebhookId,
    "wh_",
    "must be 'wh_' and 32 hexadecimal digits"
);
uuid_id!(
    /// The name of a replay, in order of creation.
    ReplayId,
    "rpl_",
    "must be 'rpl_' and 32 hexadecimal digits"
);

const DELIVERY_PREFIX: &str = "dlv_";

/// One event for one webhook. It derives from the two, so doing the fan-out twice makes the same deliveries;
/// it begins with the event's own time-ordered number, so a webhook's deliveries sort by acceptance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId {
    /// The number that the event got when it was accepted (a version 7 UUID).
    pub event: Uuid,
    /// The webhook it is for.
    pub webhook: WebhookId,
}

impl DeliveryId {
    /// When its event was accepted, to the millisecond: its number says so (RFC 9562, 5.7).
    pub fn accepted_at(self) -> Option<Timestamp> {
        let (seconds, nanos) = self.event.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DELIVERY_PREFIX}{}{}", self.event.simple(), self.webhook.0.simple())
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeliveryId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let parts = text.strip_prefix(DELIVERY_PREFIX).and_then(|hex| hex.split_at_checked(32));
        parts
            .and_then(|(event, webhook)| {
                Some(Self { event: simple(event)?, webhook: WebhookId(simple(webhook)?) })
            })
            .ok_or(BadId("must be 'dlv_' and 64 hexadecimal digits"))
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> String {
        id.to_string()
    }
}

/// Only the form that we write: one identifier has one spelling.
fn simple(hex: &str) -> Option<Uuid> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (hex.len() == 32 && hex.bytes().all(lower)).then(|| Uuid::try_parse(hex).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_one_spelling() {
        let id = DeliveryId { event: Uuid::from_u128(7), webhook: WebhookId(Uuid::from_u128(9)) };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<DeliveryId>().is_err());
        assert!(id.webhook.to_string().replace("wh_", "").parse::<WebhookId>().is_err());
        assert!("dlv_é23456789012345678901234567890123".parse::<DeliveryId>().is_err());
    }

    #[test]
    fn names_are_bounded() {
        for good in ["a", "acme-1", "9.x_y"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "a b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a\r\nx", "ü", &"a".repeat(129)] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}

//! The words of the field as types: parsed at the door, true ever after.

mod delivery;
mod event;
mod grant;
mod health;
mod ids;
mod line;
mod secret;
mod tenant;
mod topic;
mod webhook;

pub use delivery::{Attempt, Delivery, DeliveryState, Failure, Phases, Reply};
pub use event::{
    Event, MAX_DEPTH, MAX_METADATA, MAX_METADATA_BYTES, MAX_PAYLOAD, Metadata, Payload, Payloads,
};
pub use grant::{Challenge, Code, Grant, RedirectUri};
pub use health::{BREAKER, Health};
pub use ids::{BadId, DeliveryId, EventId, KeyId, TenantId, WebhookId};
pub use line::{Line, OnFailure, OrderingKey};
pub use secret::{Credentials, KeyHash, Secret, SigningSecret};
pub use tenant::{KeyRecord, Scope, Tenant};
pub use topic::{Branch, CustomTopic, Topic, TopicPattern};
pub use webhook::{Attributes, Format, Header, State, Tally, TargetUrl, Webhook};

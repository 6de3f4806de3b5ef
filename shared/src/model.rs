//! The words of the field as types: parsed at the door, true ever after.

mod auth;
mod delivery;
mod event;
mod grant;
mod health;
mod ids;
mod kept_headers;
mod limits;
mod line;
mod own_rules;
mod replay;
mod secret;
mod tenant;
mod topic;
mod webhook;

pub use auth::{Auth, AuthStyle, BadCertificate, ClientCertificate, Signature, TokenSource, sendable};
pub use delivery::{Attempt, Delivery, DeliveryState, DeliverySummary, Failure, Phases, Reply};
pub use event::{
    Event, MAX_DEPTH, MAX_METADATA, MAX_METADATA_BYTES, MAX_PAYLOAD, Metadata, Payload, Payloads,
};
pub use grant::{Challenge, Code, Grant, RedirectUri};
pub use health::{BREAKER, Health};
pub use ids::{BadId, DeliveryId, EventId, KeyId, ReplayId, TenantId, WebhookId};
pub use kept_headers::KeptHeaders;
pub use limits::{InFlight, Limits, Rate};
pub use line::{Line, OnFailure, OrderingKey};
pub use own_rules::{BadRule, OwnRules, Statuses};
pub use replay::{Counts, Place, Question, Replay, Stage, Wanted, Window};
pub use secret::{Credentials, KeyHash, PublicKey, Secret, SigningSecret};
pub use tenant::{KeyRecord, Scope, Tenant};
pub use topic::{Branch, CustomTopic, Topic, TopicPattern};
pub use webhook::{Attributes, Format, Header, State, Tally, TargetUrl, Webhook};

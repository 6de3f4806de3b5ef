//! What every dialect speaks: operations in, outcomes out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    error::Error,
    filter::{Filter, Miss},
    model::{
        Attempt, CustomTopic, Delivery, DeliveryId, DeliveryState, DeliverySummary, EventId, Health, KeyId,
        KeyRecord, Metadata, OrderingKey, Payload, Payloads, PublicKey, RedirectUri, Replay, ReplayId, Scope,
        Secret, Tenant, TenantId, Topic, Webhook, WebhookId,
    },
    oauth::{ConsentRequest, Decision, Question, Refusal, SentBack, TokenRequest, Tokens},
    polling::{HandedOut, PollRequest},
    replay,
    stats::Stats,
    undelivered::Narrowed,
};

mod drafts;

pub use self::drafts::{Change, Draft, TopicChange};

/// A request in the domain's words.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Is the service there?
    CheckHealth,
    /// Describe the APIs to machines.
    Describe(Document),
    /// Whose key is this?
    Identify,
    /// Make a tenant.
    CreateTenant {
        /// The operator's own id of it.
        id: TenantId,
        /// A name for people.
        name: String,
    },
    /// List tenants.
    ListTenants(PageRequest),
    /// Read a tenant.
    GetTenant(TenantId),
    /// Delete a tenant with its webhooks and keys.
    DeleteTenant(TenantId),
    /// Make a key for a tenant.
    CreateKey {
        /// Whose.
        tenant: TenantId,
        /// What it may do.
        scopes: Vec<Scope>,
        /// When it stops working.
        expires_at: Option<Timestamp>,
        /// Where users may be sent back to, if it is to be a client.
        redirect_uris: Vec<RedirectUri>,
    },
    /// List a tenant's keys.
    ListKeys(TenantId, PageRequest),
    /// Revoke a key.
    DeleteKey(TenantId, KeyId),
    /// Open a session, in which a short secret stands for the key.
    OpenSession,
    /// Ask somebody whether a client may do something.
    AskConsent(Box<ConsentRequest>),
    /// Take the answer.
    SettleConsent(Box<ConsentRequest>, Decision),
    /// Give a client tokens.
    IssueTokens(Box<TokenRequest>),
    /// List all topics.
    ListTopics(PageRequest),
    /// Read a topic.
    GetTopic(Topic),
    /// Say something of a topic, one of the operator's own or a documented one.
    PutTopic(TopicDraft),
    /// Forget what was said of a topic.
    DeleteTopic(Topic),
    /// Register a webhook.
    CreateWebhook(Asked, Draft),
    /// List webhooks.
    ListWebhooks(Asked, PageRequest),
    /// Read a webhook.
    GetWebhook(Asked, Selector),
    /// Change a webhook.
    UpdateWebhook(Asked, Selector, Change),
    /// Resume (true) or pause the webhooks of a topic, or all.
    SwitchWebhooks(Asked, Option<Topic>, bool),
    /// Delete a webhook.
    DeleteWebhook(Asked, Selector),
    /// Give a webhook new signing secrets; the old ones sign on for a while.
    RotateSecret(Asked, Selector),
    /// Tell what receivers verify a tenant's webhook's signatures with; none: it names no webhook.
    ListPublicKeys(Option<(TenantId, WebhookId)>),
    /// Send a webhook a test event at once.
    SendTest(Asked, Selector, TestDraft),
    /// Tell how a webhook's receiver does.
    GetHealth(Asked, Selector),
    /// Count what is parked for a webhook.
    CountParked(Asked, Selector),
    /// Give up what is parked for a webhook.
    Discard(Asked, Selector),
    /// Give up one delivery.
    GiveUp(Asked, DeliveryId),
    /// Hand out events to the receiver of a webhook that is polled.
    Poll(Asked, Selector, PollRequest),
    /// Say whether a sample would get through a filter, and why not.
    TryFilter(Asked, Tried, Box<NewEvent>),
    /// Grant the credentials that deliveries authenticate with.
    GrantCredentials {
        /// For whom.
        asked: Asked,
        /// The user name.
        id: String,
        /// The password.
        secret: Secret,
    },
    /// Publish events: each is judged by itself.
    Publish(Vec<Result<NewEvent, Error>>),
    /// List a webhook's deliveries, newest first.
    ListDeliveries(Asked, WebhookId, Sought, PageRequest),
    /// List what is not delivered yet.
    ListUndelivered(Asked, Narrowed, PageRequest),
    /// Tell how a webhook's deliveries of so many hours went.
    GetStats(Asked, Selector, u16),
    /// Read a delivery with its attempts.
    GetDelivery(Asked, DeliveryId),
    /// Attempt a delivery again at once, however it stands.
    RetryDelivery(Asked, DeliveryId),
    /// Take many deliveries up again.
    StartReplay(Asked, Box<replay::Draft>),
    /// Tell how a replay does.
    GetReplay(Asked, ReplayId),
    /// List replays, newest first.
    ListReplays(Asked, PageRequest),
    /// Stop a replay.
    CancelReplay(Asked, ReplayId),
}

/// A description for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The HTTP APIs, in `OpenAPI` 3.1.
    OpenApi,
    /// The JSON-RPC API, in `OpenRPC` 1.3.
    OpenRpc,
}

impl Operation {
    /// Whether nobody has to say who he is for it.
    pub fn is_open(&self) -> bool {
        matches!(
            self,
            Self::CheckHealth
                | Self::Describe(_)
                | Self::ListPublicKeys(..)
                | Self::AskConsent(_)
                | Self::SettleConsent(..)
        )
    }
}

/// Whose things, and of which dialect, a request asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The tenant that the request names; a tenant's own key need not.
    pub tenant: Option<TenantId>,
    /// The dialect whose webhooks alone are meant; none: all.
    pub dialect: Option<&'static str>,
}

/// What an operator says of a topic.
#[derive(Debug, Clone)]
pub struct TopicDraft {
    /// Which.
    pub topic: Topic,
    /// What happened, in a sentence.
    pub description: Option<String>,
    /// A JSON Schema that its payloads must fit.
    pub schema: Option<Value>,
    /// Names in dialects that have none of their own for it, by the dialect's name.
    pub names: BTreeMap<String, String>,
    /// A sample payload.
    pub sample: Option<Value>,
    /// Sample payloads for single dialects.
    pub samples: BTreeMap<String, Value>,
}

/// All that is known of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicEntry {
    /// Its canonical name.
    pub topic: Topic,
    /// What happened, in a sentence.
    pub description: String,
    /// What the operator says of it, if anything.
    pub custom: Option<CustomTopic>,
    /// Its name in each dialect that has one.
    pub names: BTreeMap<&'static str, String>,
    /// What its payloads look like; the operator's schema is what they must fit.
    pub schema: Value,
    /// A sample payload.
    pub sample: Value,
    /// Sample payloads for single dialects.
    pub samples: BTreeMap<&'static str, Value>,
}

/// How a request names a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By our id.
    Id(WebhookId),
    /// By its number within the tenant.
    Number(u64),
    /// By the one topic it has (where a dialect allows one webhook a topic).
    Topic(Topic),
}

/// An event to publish.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Whose; a tenant's own key need not say.
    pub tenant: Option<TenantId>,
    /// The publisher's name of it; none: we give one.
    pub id: Option<EventId>,
    /// What kind of thing happened.
    pub topic: Topic,
    /// What it says.
    pub payload: Payload,
    /// What it says to single dialects instead.
    pub payloads: Payloads,
    /// What is said of it for filters to see, and for nobody else.
    pub metadata: Metadata,
    /// What it has in common with events that are to arrive in their order.
    pub ordering_key: Option<OrderingKey>,
    /// When it happened.
    pub occurred_at: Option<Timestamp>,
}

/// Which filter is tried.
#[derive(Debug, Clone)]
pub enum Tried {
    /// This one.
    Filter(Filter),
    /// A webhook's, with its topics.
    Webhook(WebhookId),
}

/// What a test event is to be; nothing said: a sample of what the webhook subscribes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestDraft {
    /// Of which topic.
    pub topic: Option<Topic>,
    /// To where instead of the webhook's own URL: one not yet saved, for instance.
    pub url: Option<String>,
}

/// Which of a webhook's deliveries are sought; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    /// Those that stand so.
    pub state: Option<DeliveryState>,
    /// Those of events of a topic.
    pub topic: Option<Topic>,
    /// Those of events accepted from then on.
    pub since: Option<Timestamp>,
    /// Those of events accepted before then.
    pub until: Option<Timestamp>,
}

impl Sought {
    /// How many others an engine passes over for one page, about: then it ends the page where it stands.
    pub const PASSED_OVER: usize = 1000;

    /// Whether a delivery is among them.
    pub fn take(&self, state: DeliveryState, topic: &str, created_at: Timestamp) -> bool {
        self.state.is_none_or(|sought| sought == state)
            && self.topic.as_ref().is_none_or(|sought| sought.as_str() == topic)
            && self.since.is_none_or(|since| since <= created_at)
            && self.until.is_none_or(|until| created_at < until)
    }

    /// Between which numbers of events they lie, both included, beyond where a page ended; none: there is nothing between.
    /// An event's number begins with the millisecond in which it was accepted, or with the next: those of a batch differ.
    pub fn numbers(&self, after: Option<Uuid>) -> Option<(Uuid, Uuid)> {
        let at = |time: Timestamp, more: u128| {
            let millis = u128::try_from(time.as_millisecond()).unwrap_or_default() + more;
            millis << 80
        };
        let oldest = self.since.map_or(0, |since| at(since, 0));
        let newest = self.until.map_or(u128::MAX, |until| at(until, 2) - 1);
        let before = match after {
            None => u128::MAX,
            Some(after) => after.as_u128().checked_sub(1)?,
        };
        let newest = newest.min(before);
        (oldest <= newest).then(|| (Uuid::from_u128(oldest), Uuid::from_u128(newest)))
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many; 0: the default.
    pub limit: usize,
    /// Where the last page ended, in the store's own words.
    pub after: Option<String>,
}

impl PageRequest {
    /// Entries of a page when the client does not say.
    pub const DEFAULT: usize = 50;
    /// Entries of a page at most.
    pub const MAX: usize = 250;

    /// Everything, for lists that a quota bounds.
    pub const fn all() -> Self {
        Self { limit: usize::MAX, after: None }
    }

    /// The first page.
    pub const fn first(limit: usize) -> Self {
        Self { limit, after: None }
    }
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where to go on; none: that was all.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The same page of something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// What came of an operation.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The service is there.
    Healthy,
    /// A description.
    Described(Value),
    /// Whose key it is.
    Identified(Tenant),
    /// A tenant was made.
    TenantCreated(Tenant),
    /// A tenant.
    Tenant(Tenant),
    /// Tenants.
    Tenants(Page<Tenant>),
    /// A key was made: this is the only time that it is shown.
    KeyCreated(KeyRecord, Secret),
    /// Keys.
    Keys(Page<KeyRecord>),
    /// A session is open: its secret, shown now.
    SessionOpened(Secret),
    /// Somebody is to say whether a client may do something.
    ConsentAsked(Box<Question>),
    /// The client is told what came of it.
    SentBack(Box<SentBack>),
    /// Tokens, shown now.
    TokensIssued(Box<Tokens>),
    /// There are none.
    TokensRefused(Refusal),
    /// So many webhooks were resumed or paused.
    Switched(usize),
    /// Topics.
    Topics(Page<TopicEntry>),
    /// A topic.
    Topic(Box<TopicEntry>),
    /// A webhook was registered: its secret, if it has one, is shown now.
    WebhookCreated(Webhook),
    /// A webhook.
    Webhook(Webhook),
    /// Webhooks.
    Webhooks(Page<Webhook>),
    /// A new signing secret, shown now.
    SecretRotated(Webhook),
    /// What signatures are verified with.
    PublicKeys(Vec<PublicKey>),
    /// How a receiver does.
    Health(Health),
    /// So many deliveries are parked, or at least [`COUNTED`](crate::parked::COUNTED).
    Parked(usize),
    /// So many deliveries were given up.
    Discarded(usize),
    /// Events, handed out.
    Polled(Vec<HandedOut>),
    /// A test event was sent.
    Tested(Box<Tested>),
    /// What a sample misses; nothing: it would get through.
    FilterTried(Vec<Miss>),
    /// It is deleted.
    Deleted,
    /// The credentials are in force.
    CredentialsGranted,
    /// What became of each event.
    Published(Vec<Result<Receipt, Error>>),
    /// Deliveries.
    Deliveries(Page<Delivery>),
    /// What is not delivered yet, and when that was so.
    Undelivered(Page<DeliverySummary>, Timestamp),
    /// A delivery.
    Delivery(Box<Delivery>),
    /// A delivery that is attempted again.
    DeliveryRetried(Box<Delivery>),
    /// How deliveries went.
    Stats(Box<Stats>),
    /// A replay is under way.
    ReplayStarted(Box<Replay>),
    /// A replay.
    Replay(Box<Replay>),
    /// Replays.
    Replays(Page<Replay>),
}

/// A test event that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// The webhook's number within its tenant.
    pub number: u64,
    /// Of which topic it was a sample.
    pub topic: Topic,
    /// How it went.
    pub attempt: Attempt,
}

/// An accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id, the publisher's or ours.
    pub id: EventId,
    /// How many webhooks it goes to.
    pub deliveries: usize,
}

//! What the use cases need of the world. Two engines implement the stores and the queue, and one contract
//! suite holds both to what is written here.
//!
//! A store's verbs are steps of a use case, not rows of a table: that is how an engine can do each in one write.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use url::Url;
use uuid::Uuid;

use crate::{
    bucket::{Bucket, Poured},
    catalogue::Catalogue,
    errand::Errand,
    error::Error,
    fan_out,
    filter::Filter,
    hint::Hint,
    model::{
        Attempt, ClientCertificate, Credentials, CustomTopic, Delivery, DeliveryId, DeliverySummary, Event,
        EventId, KeyHash, KeyId, KeyRecord, State, Tally, Tenant, TenantId, TokenSource, Topic, Webhook,
        WebhookId, Window,
    },
    operation::{Page, PageRequest, Sought},
    undelivered::Undelivered,
    verdict::Exchange,
};

mod lines;
mod receivers;
mod replays;

pub use self::{
    lines::{Lines, Turn},
    receivers::{Healths, Limiting, Place},
    replays::Replays,
};

/// Everything that a handler works with.
#[derive(Clone)]
pub struct Ports {
    /// Tenants, keys, webhooks, events and deliveries.
    pub store: Arc<dyn Store>,
    /// Where deliveries wait.
    pub queue: Arc<dyn Queue>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub dice: Arc<dyn Dice>,
    /// What the operator decided.
    pub policy: Policy,
}

/// What the operator decided, once for all tenants.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether deliveries may go to private addresses. Only for local work.
    pub allow_private_targets: bool,
    /// How many webhooks a tenant may have.
    pub webhooks_per_tenant: usize,
    /// How long a receiver may fail, whatever it is sent, before its webhook is disabled.
    pub disabled_after: SignedDuration,
    /// The operator's first key, which no store knows.
    pub operator_key: Option<KeyHash>,
    /// The operator's own tenant, which is told what happens to the webhooks of all.
    pub operations: Option<TenantId>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_private_targets: false,
            webhooks_per_tenant: 1000,
            disabled_after: SignedDuration::from_hours(5 * 24),
            operator_key: None,
            operations: None,
        }
    }
}

/// All stores of an engine.
pub trait Store:
    Keys + Topics + Webhooks + Healths + Limiting + Events + Deliveries + Lines + Replays
{
}
impl<T: Keys + Topics + Webhooks + Healths + Limiting + Events + Deliveries + Lines + Replays> Store for T {}

/// API keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Finds a key. An engine may answer from a cache of a few seconds.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error>;
    /// Finds a key as it is now, whatever a cache says.
    async fn key_now(&self, id: &KeyId) -> Result<Option<KeyRecord>, Error>;
    /// Adds a key.
    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error>;
    /// Puts `new` in the place of `old`, which has the same id and opener; false: the secret is not `old`'s any more.
    async fn swap_key(&self, old: &KeyRecord, new: &KeyRecord) -> Result<bool, Error>;
    /// A tenant's keys: no sessions, tokens or grants.
    async fn keys(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<KeyRecord>, Error>;
    /// Pours a call into the bucket of that name: a key's, or a tenant's for tests. An engine may let one pass that comes at the
    /// same moment as another.
    async fn pour(&self, name: &str, bucket: Bucket, now: Timestamp) -> Result<Poured, Error>;
    /// Revokes a key, session, token or grant of a tenant's; false: it has none of that id.
    async fn remove_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, Error>;
}

/// What operators say of topics.
#[async_trait]
pub trait Topics: Send + Sync {
    /// All topics. An engine may answer from a cache of a few seconds.
    async fn catalogue(&self) -> Result<Arc<Catalogue>, Error>;
    /// Keeps what an operator says of a topic, in the place of what he said before.
    async fn put_topic(&self, topic: &CustomTopic) -> Result<(), Error>;
    /// Forgets it; false: he said nothing.
    async fn remove_topic(&self, topic: &Topic) -> Result<bool, Error>;
}

/// What came of adding a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is there, with its number.
    Webhook(Box<Webhook>),
    /// The tenant has a webhook for the topic, in a dialect that allows one.
    TopicTaken,
    /// The tenant has as many as it may.
    OverQuota,
    /// There is no such tenant.
    NoTenant,
}

/// A webhook with what a delivery to it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The webhook.
    pub webhook: Webhook,
    /// What its tenant granted us.
    pub credentials: Option<Credentials>,
}

/// The webhooks that events of a topic go to.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscribers {
    /// Those that get every one of them.
    pub all: Arc<[WebhookId]>,
    /// Those that get what their filter takes.
    pub choosy: Vec<(WebhookId, Filter)>,
    /// Those of both that want the order of ordering keys.
    pub ordered: Vec<WebhookId>,
}

/// A webhook, its filter, and whether it is ordered.
impl FromIterator<(WebhookId, Option<Filter>, bool)> for Subscribers {
    fn from_iter<I: IntoIterator<Item = (WebhookId, Option<Filter>, bool)>>(found: I) -> Self {
        let (mut all, mut choosy, mut ordered) = (Vec::new(), Vec::new(), Vec::new());
        for (id, filter, is_ordered) in found {
            if is_ordered {
                ordered.push(id);
            }
            match filter {
                None => all.push(id),
                Some(filter) => choosy.push((id, filter)),
            }
        }
        Self { all: all.into(), choosy, ordered }
    }
}

/// Tenants and their webhooks.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Adds a tenant; false: there is one of that id.
    async fn add_tenant(&self, tenant: &Tenant) -> Result<bool, Error>;
    /// Finds a tenant.
    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error>;
    /// All tenants, by id.
    async fn tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, Error>;
    /// Deletes a tenant with its webhooks, credentials and keys; false: there is none.
    async fn remove_tenant(&self, id: &TenantId) -> Result<bool, Error>;

    /// Adds a webhook and gives it the tenant's next number. With `exclusive`, no other webhook of its dialect
    /// may hold one of its topics.
    async fn add_webhook(&self, webhook: &Webhook, exclusive: bool, quota: usize) -> Result<Added, Error>;
    /// Finds a webhook of the tenant.
    async fn webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Webhook>, Error>;
    /// Whether a webhook of the tenant gets deliveries: known without opening what is sealed.
    async fn state(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<State>, Error>;
    /// Finds a webhook of the tenant by its number.
    async fn numbered(&self, tenant: &TenantId, number: u64) -> Result<Option<Webhook>, Error>;
    /// The webhook that holds a topic exclusively.
    async fn holder(&self, tenant: &TenantId, dialect: &str, topic: &Topic)
    -> Result<Option<Webhook>, Error>;
    /// A tenant's webhooks by age, of one dialect or of all.
    async fn webhooks(
        &self,
        tenant: &TenantId,
        dialect: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Webhook>, Error>;
    /// Puts `new` in the place of `old`; false: it is no longer as `old` says. Topics held exclusively do not
    /// change this way.
    async fn replace_webhook(&self, old: &Webhook, new: &Webhook) -> Result<bool, Error>;
    /// Deletes a webhook; false: there is none.
    async fn remove_webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<bool, Error>;

    /// The webhooks that events of this topic go to, in whatever state, with their filters; none: there is no such
    /// tenant.
    async fn matching(&self, tenant: &TenantId, topic: &Topic) -> Result<Option<Arc<Subscribers>>, Error>;
    /// The dialects in which some of the tenant's webhooks are; of those that are gone, nothing.
    async fn dialects(&self, tenant: &TenantId, ids: &[WebhookId]) -> Result<BTreeSet<String>, Error>;
    /// A webhook with what a delivery to it needs. An engine may answer from a cache of a few seconds.
    async fn target(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Arc<Target>>, Error>;
    /// Keeps what the tenant grants us; false: there is no such tenant.
    async fn grant(&self, tenant: &TenantId, credentials: &Credentials) -> Result<bool, Error>;
}

/// What came of accepting an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is kept now, durably.
    New,
    /// The tenant has an event of that id: this one.
    Already(Box<Event>),
}

/// Accepted events, kept for 30 days.
#[async_trait]
pub trait Events: Send + Sync {
    /// Accepts each event once, with its place in the lines of the webhooks that are ordered, and queues the first attempt for
    /// each of its webhooks, or for the first page of them and an errand for the others: all durably before it returns. No
    /// attempt is queued before all that are accepted stand. Each has an answer of its own, in their order. One that could be accepted but not queued fails;
    /// it stays accepted, so that accepting it again finds it there.
    async fn accept(&self, events: &[Arc<Event>]) -> Vec<Result<Accepted, Error>>;
    /// Finds an event.
    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<Arc<Event>>, Error>;
    /// First attempts of events accepted from `from` (inclusive) to `until` (exclusive), which no record shows. A
    /// page is as long as it suits the engine, about its limit: it may be empty, and not the last. The same cursor leads to
    /// the same page, but for what is on record by then, or was accepted since.
    async fn stranded(
        &self,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Hint>, Error>;
    /// A tenant's events of a window, roughly in the order of acceptance, each once. A page is as long as it suits the
    /// engine, up to its limit: one that is empty may not be the last.
    async fn events_within(
        &self,
        tenant: &TenantId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Arc<Event>>, Error>;
    /// Up to when [`Events::stranded`] has been looked through.
    async fn swept_until(&self) -> Result<Option<Timestamp>, Error>;
    /// Notes it.
    async fn set_swept_until(&self, until: Timestamp) -> Result<(), Error>;
}

/// What came of claiming an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is ours to make: the delivery as it stands.
    Taken(Box<Delivery>),
    /// It was made, or the delivery is settled.
    Done,
    /// Somebody is making it now; if that one dies, the delivery comes due again by itself.
    Busy,
}

/// Deliveries and their attempts, kept for 30 days.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Takes attempt `number` of a delivery until `lease` ends; `blank` is the delivery if nothing is kept of it.
    async fn claim(
        &self,
        blank: &Delivery,
        number: u32,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Claim, Error>;
    /// Keeps a delivery after its newest attempt, in one write, and when a sweep is to look at it; false: that
    /// attempt is on record already.
    async fn record(&self, delivery: &Delivery, due: Option<Timestamp>) -> Result<bool, Error>;
    /// Keeps a delivery that waits for its webhook, of which `had` attempts were on record; false: it is not as it was.
    async fn park(&self, delivery: &Delivery, had: u32) -> Result<bool, Error>;
    /// Puts `again`, which is pending, in the place of `kept`, and has it due at `due` should the message about it get
    /// lost; false: it is not as `kept` says any more, or somebody is attempting it. `kept` may be blank: then `again`
    /// is put where nothing was.
    async fn reopen(
        &self,
        kept: &Delivery,
        again: &Delivery,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, Error>;
    /// A delivery's place among those of its webhook that were asked about: 1, 2 and so on without a gap, and the
    /// same whenever it is asked.
    async fn sequence(&self, id: DeliveryId) -> Result<u64, Error>;
    /// Adds to a webhook's tally: events to those sent; a failure takes the place of the last.
    async fn add_to_tally(&self, webhook: WebhookId, more: Tally) -> Result<(), Error>;
    /// The tallies of webhooks, each in its place.
    async fn tallies(&self, webhooks: &[WebhookId]) -> Result<Vec<Tally>, Error>;
    /// Takes up to `limit` of a webhook's parked deliveries, in the order of their places: each is pending again,
    /// due at `due` should the message about it get lost. A page that is not full may not be the last.
    async fn release(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        due: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, Error>;
    /// Gives up to `limit` of a webhook's parked deliveries up, and tells how many. Those that are of a line are due at
    /// once, to leave it.
    async fn discard(&self, tenant: &TenantId, webhook: WebhookId, limit: usize) -> Result<usize, Error>;
    /// Up to `limit` of a webhook's parked deliveries as they are, in the order of their places.
    async fn waiting(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error>;
    /// Notes of those deliveries that are parked that their receiver has them: delivered by this one attempt, in the
    /// place of what was on record.
    async fn acknowledge(
        &self,
        tenant: &TenantId,
        deliveries: &[DeliveryId],
        by: &Attempt,
    ) -> Result<(), Error>;
    /// Gives up a delivery that is neither delivered nor given up, and is not being attempted at `now`; false: there is
    /// no such. If it is of a line, it is due at once, to leave it.
    async fn give_up(&self, tenant: &TenantId, id: DeliveryId, now: Timestamp) -> Result<bool, Error>;
    /// How many deliveries of a webhook are parked, counted up to `most`.
    async fn parked(&self, webhook: WebhookId, most: usize) -> Result<usize, Error>;
    /// Notes that a webhook is to be looked at, no sooner than `at`; it stands once, at the time that was said last.
    async fn look_at(&self, tenant: &TenantId, webhook: WebhookId, at: Timestamp) -> Result<(), Error>;
    /// Strikes it off.
    async fn look_no_more(&self, webhook: WebhookId) -> Result<(), Error>;
    /// Up to `limit` webhooks that are to be looked at now; none of them is again before `lease`.
    async fn to_look_at(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, WebhookId)>, Error>;
    /// Finds a delivery of the tenant.
    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<Delivery>, Error>;
    /// Those of a webhook's deliveries that are sought, newest first. Where many others lie between them, a page may end
    /// before it is full, or empty, and not be the last.
    async fn deliveries(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        sought: &Sought,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error>;
    /// Those that are pending, parked or waiting of what is sought, by tenant, webhook and age, the oldest first. A page may end before it is full, or empty, and not be the last. What changed a moment ago may not show yet.
    async fn undelivered(
        &self,
        sought: &Undelivered,
        page: &PageRequest,
    ) -> Result<Page<DeliverySummary>, Error>;
    /// A webhook's deliveries of events of a window, oldest first.
    async fn deliveries_within(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        window: &Window,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error>;
    /// Up to `limit` attempts that are due; none of them is due again before `lease`.
    async fn due(&self, now: Timestamp, lease: Timestamp, limit: usize) -> Result<Vec<Hint>, Error>;
}

/// A hint to queue.
#[derive(Debug, Clone)]
pub struct Sending {
    /// Which attempt is to be made.
    pub hint: Hint,
    /// Not before this has passed; at most [`MAX_DELAY`].
    pub delay: Duration,
    /// The event itself, for queues that can save the consumer a read.
    pub event: Option<Arc<Event>>,
}

impl Sending {
    /// What is queued of an event just accepted: the first attempt for each of the first page of its webhooks, at once;
    /// and [`rest`](crate::fan_out::rest) for the others.
    pub fn first(event: &Arc<Event>) -> impl Iterator<Item = Self> {
        event.webhooks.iter().take(fan_out::PAGE).map(|&webhook| Self {
            hint: Hint::fresh(event, webhook),
            delay: Duration::ZERO,
            event: Some(event.clone()),
        })
    }
}

/// Where deliveries wait. It is only a hint of what the store knows: a lost or doubled message changes nothing
/// but timing.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Queues hints, each in its lane, durably before it returns. Within a lane, no tenant's messages wait until another's
    /// have gone out.
    async fn send(&self, batch: Vec<Sending>) -> Result<(), Error>;
    /// Queues an errand, not before `delay` has passed, at most [`MAX_DELAY`]; durably before it returns.
    async fn charge(&self, errand: &Errand, delay: Duration) -> Result<(), Error>;
}

/// The longest delay that rides on a queue (SQS: `DelaySeconds` is at most 900); longer ones are due times.
pub const MAX_DELAY: Duration = Duration::from_mins(15);

/// What time it is.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Chance.
pub trait Dice: Send + Sync {
    /// Fills `bytes` with what nobody can guess.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Dice + '_ {
    /// A version 7 UUID (RFC 9562, method 3: the 12 bits after the milliseconds are their fraction), so that
    /// what is made later sorts later.
    pub fn uuid(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default() % 1_000_000;
        let fraction = u16::try_from(u64::from(nanos) * 4096 / 1_000_000).unwrap_or_default();
        random[..2].copy_from_slice(&fraction.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A number in 0..1.
    pub fn unit(&self) -> f64 {
        let mut random = [0; 4];
        self.fill(&mut random);
        f64::from(u32::from_be_bytes(random)) / (f64::from(u32::MAX) + 1.0)
    }

    /// `length` characters of 5 random bits each, without those that look alike.
    pub fn letters(&self, length: usize) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut random = vec![0; length];
        self.fill(&mut random);
        random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
    }
}

/// A message on its way out. It does not print: a request for a token has a secret in its body.
#[derive(Clone)]
pub struct Outgoing {
    /// Where to.
    pub url: Arc<Url>,
    /// Everything but what frames the message.
    pub headers: HeaderMap,
    /// What it says.
    pub body: Bytes,
    /// The one deadline over the whole exchange.
    pub timeout: Duration,
    /// The part of it that connecting may take.
    pub connect_timeout: Duration,
    /// Where its `Authorization: Bearer` is to be had; none: it has all that it needs.
    pub token: Option<Arc<TokenSource>>,
    /// What is shown to a receiver that asks for a certificate.
    pub certificate: Option<ClientCertificate>,
}

/// Room for one exchange, until it is dropped.
pub type Room = Box<dyn Send + Sync>;

/// An exchange that takes longer is late: a hundred times what most take, so that a pause of theirs or of ours is not, nor a
/// connection of which the first packet got lost, which is sent again after a second (RFC 6298).
pub const LATE: Duration = Duration::from_millis(1500);

/// The way out: never to a place that it must not reach.
#[async_trait]
pub trait Post: Send + Sync {
    /// Room for one more exchange with a webhook's receiver; none: this process has as many under way to it, or to its host,
    /// as one may take.
    async fn enter(&self, _: &Webhook) -> Option<Room> {
        Some(Box::new(()))
    }

    /// Sends one POST and reads what is kept of the answer. A token is got when there is none, or its time is nearly
    /// over; if the answer is 401, once more, and the message is sent again: all within the deadline. Should it be [`LATE`],
    /// `late` is done meanwhile.
    async fn post(&self, message: Outgoing, late: BoxFuture<'_, ()>) -> Exchange;
}

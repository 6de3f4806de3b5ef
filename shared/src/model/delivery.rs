//! Deliveries and their attempts: the record that explains itself afterwards.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DeliveryId, EventId, KeptHeaders, OrderingKey, ReplayId, TenantId, Topic};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Another attempt is to come.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Its schedule is used up, or the receiver said that it is gone.
    Failed,
    /// Its webhook is paused, failing or disabled: kept, not sent.
    Parked,
    /// Its webhook's owner gave it up.
    Discarded,
    /// Another in its line comes before it.
    Waiting,
}

impl DeliveryState {
    /// Whether a delivery that stands so may be delivered yet, by itself or once its webhook takes it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Parked | Self::Waiting)
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The host's name has no address.
    Dns,
    /// An address that deliveries must not reach.
    Blocked,
    /// The receiver's port is closed, or the network has no way there.
    Refused,
    /// The TLS handshake failed.
    Tls,
    /// The deadline over the whole exchange passed.
    Timeout,
    /// The receiver broke off, or did not speak HTTP.
    Protocol,
    /// The answer's head is longer than we read.
    TooLarge,
    /// The answer's status is not a success.
    Status,
    /// The message could not be built from the event.
    Message,
    /// There was no access token to send it with.
    Token,
}

impl Failure {
    /// In a word, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Blocked => "blocked",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Status => "status",
            Self::Message => "message",
            Self::Token => "token",
        }
    }
}

/// How long each phase of an exchange took, in microseconds; none: it did not come to that, or a kept
/// connection made it needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Resolving the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_us: Option<u64>,
    /// Opening the TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_us: Option<u64>,
    /// The TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_us: Option<u64>,
    /// From having a connection to the first byte of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// All of it.
    pub total_us: u64,
}

/// What a receiver answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body, at most 16 KiB, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Whether the body went on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Its headers, of an attempt that failed.
    #[serde(default, skip_serializing_if = "KeptHeaders::is_empty")]
    pub headers: KeptHeaders,
}

/// One HTTP POST of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub phases: Phases,
    /// Where the connection went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The headers that were sent, of an attempt that failed after that.
    #[serde(default, skip_serializing_if = "KeptHeaders::is_empty")]
    pub sent_headers: KeptHeaders,
    /// Why it failed; none: it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What came back, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

impl Attempt {
    /// Bytes of a record that its answer and its headers take.
    fn size(&self) -> usize {
        // With four quotes, a colon and a comma each.
        let headers = |headers: &KeptHeaders| -> usize {
            headers.iter().map(|(name, value)| written(name) + written(value) + 6).sum()
        };
        let reply = self.reply.as_ref().map_or(0, |reply| written(&reply.body) + headers(&reply.headers));
        reply + headers(&self.sent_headers)
    }

    /// Leaves its status and what says why it failed.
    fn give_way(&mut self) {
        self.sent_headers.give_way();
        if let Some(reply) = &mut self.reply {
            reply.headers.give_way();
            reply.truncated |= !reply.body.is_empty();
            reply.body.clear();
        }
    }
}

/// One event for one webhook, and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The publisher's name of the event.
    pub event: EventId,
    /// The event's topic.
    pub topic: Topic,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts there were.
    pub attempt_count: u32,
    /// The newest attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// When the event was accepted.
    pub created_at: Timestamp,
    /// How many of its attempts only asked whether a failing receiver is back, were under way when it was found to fail, or were
    /// asked for by somebody: its schedule does not count them.
    #[serde(default)]
    pub probes: u32,
    /// Its place among its webhook's parked deliveries: when its event was accepted, or when it last was such a probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_at: Option<Timestamp>,
    /// The replay that last took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayId>,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Of which of its webhook's lines it is; none: of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<OrderingKey>,
}

/// What lists show of a delivery: all but its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySummary {
    /// Its name.
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The publisher's name of the event.
    pub event: EventId,
    /// The event's topic.
    pub topic: Topic,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts there were.
    pub attempt_count: u32,
    /// When the event was accepted.
    pub created_at: Timestamp,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// Of which of its webhook's lines it is; none: of none.
    pub ordering_key: Option<OrderingKey>,
    /// The status that its newest attempt was answered with, if it was.
    pub last_status: Option<u16>,
    /// Why its newest attempt failed, if it did.
    pub last_failure: Option<Failure>,
}

impl DeliverySummary {
    /// What is shown of a delivery.
    pub fn of(delivery: &Delivery) -> Self {
        let last = delivery.attempts.last();
        Self {
            id: delivery.id,
            tenant: delivery.tenant.clone(),
            event: delivery.event.clone(),
            topic: delivery.topic.clone(),
            state: delivery.state,
            attempt_count: delivery.attempt_count,
            created_at: delivery.created_at,
            next_attempt_at: delivery.next_attempt_at,
            ordering_key: delivery.ordering_key.clone(),
            last_status: last.and_then(|attempt| attempt.reply.as_ref()).map(|reply| reply.status),
            last_failure: last.and_then(|attempt| attempt.failure),
        }
    }
}

/// What attempts may take up in one record: a `DynamoDB` item is at most 400 KB.
const MAX_RECORD: usize = 256 * 1024;
/// How many attempts a record keeps; Centry's schedule has 576.
const MAX_ATTEMPTS: usize = 50;

impl Delivery {
    /// Adds an attempt; where the record would outgrow a store's item, the oldest answers give way first.
    pub fn add(&mut self, attempt: Attempt) {
        self.attempt_count = attempt.number;
        self.attempts.push(attempt);
        if self.attempts.len() > MAX_ATTEMPTS {
            self.attempts.remove(0);
        }
        let mut total: usize = self.attempts.iter().map(Attempt::size).sum();
        for attempt in &mut self.attempts {
            if total <= MAX_RECORD {
                break;
            }
            total -= attempt.size();
            attempt.give_way();
            total += attempt.size();
        }
    }

    /// Whether it stands as another record of it says.
    pub fn stands_as(&self, other: &Self) -> bool {
        (&self.tenant, self.id, self.state, self.attempt_count, self.next_attempt_at)
            == (&other.tenant, other.id, other.state, other.attempt_count, other.next_attempt_at)
    }

    /// Whether nothing more will be tried by itself.
    pub fn is_settled(&self) -> bool {
        !matches!(self.state, DeliveryState::Pending)
    }
}

/// Bytes that a text takes in a record, which is JSON: a receiver's control characters take six each.
fn written(text: &str) -> usize {
    let length = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    };
    text.chars().map(length).sum()
}

//! Replays: jobs that take many deliveries up again.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use super::{Delivery, DeliveryState, ReplayId, TenantId, TopicPattern, WebhookId};

/// A time of acceptance, from its first moment to before its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first moment in it.
    pub since: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

impl Window {
    /// Whether a moment is in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        (self.since..self.until).contains(&at)
    }

    /// The numbers that events of it, and perhaps a few beside it, can have: they begin with their milliseconds.
    ///
    /// ```
    /// use postrider::model::Window;
    /// let window = Window { since: "2026-03-01T09:30:00Z".parse().unwrap(), until: "2026-03-01T09:31:00Z".parse().unwrap() };
    /// let millis = window.numbers().start().get_timestamp().unwrap().to_unix().0;
    /// assert_eq!(millis, 1_772_357_400);
    /// assert!(window.numbers().start() < window.numbers().end());
    /// ```
    pub fn numbers(&self) -> RangeInclusive<Uuid> {
        let number = |at: Timestamp, rest: u8| {
            let millis = u64::try_from(at.as_millisecond()).unwrap_or_default();
            Builder::from_unix_timestamp_millis(millis, &[rest; 10]).into_uuid()
        };
        number(self.since, 0)..=number(self.until, 0xff)
    }
}

/// Which deliveries a replay takes up, by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Those that have failed.
    Failed,
    /// Those that never were delivered: failed, given up, or of events that the webhook gets by its topics and filter
    /// as they are now, and did not get.
    Missing,
    /// Those that were delivered.
    Delivered,
    /// All that are settled.
    Any,
}

impl Wanted {
    /// Whether it takes a delivery that stands so.
    pub fn takes(self, state: DeliveryState) -> bool {
        match state {
            // On their way, or waiting for their webhook or their turn: they go out by themselves.
            DeliveryState::Pending | DeliveryState::Parked | DeliveryState::Waiting => false,
            DeliveryState::Delivered => matches!(self, Self::Delivered | Self::Any),
            DeliveryState::Failed => self != Self::Delivered,
            DeliveryState::Discarded => matches!(self, Self::Missing | Self::Any),
        }
    }
}

/// What a replay takes up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Of which webhook; none: of all of its tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookId>,
    /// Of which topics; none: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicPattern>,
    /// How they stand.
    pub wanted: Wanted,
    /// When their events were accepted.
    pub window: Window,
}

/// What a replay does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It takes deliveries up.
    Queueing,
    /// It counts what became of them.
    Counting,
    /// Nothing more.
    Finished,
    /// Nothing more, for somebody stopped it.
    Cancelled,
}

impl Stage {
    /// Whether there are steps to come.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Queueing | Self::Counting)
    }
}

/// Where a replay's walk is: webhook by webhook, or through the events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// Whose deliveries it walks through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookId>,
    /// Where the last page of them ended, or of the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Where the list of webhooks goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks_after: Option<String>,
    /// Whether no other webhook comes after this one.
    #[serde(default)]
    pub is_last: bool,
    /// How many webhooks it has walked through.
    #[serde(default)]
    pub walked: u32,
    /// How far it came within this one: when the event was accepted that it looked at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Timestamp>,
}

/// What became of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// A receiver took them.
    pub delivered: u64,
    /// Their schedule is used up, or they were given up.
    pub failed: u64,
    /// They wait for their webhook.
    pub parked: u64,
    /// Another attempt is to come.
    pub pending: u64,
}

impl Counts {
    /// Counts a delivery.
    pub fn add(&mut self, delivery: &Delivery) {
        *match delivery.state {
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Failed | DeliveryState::Discarded => &mut self.failed,
            DeliveryState::Parked => &mut self.parked,
            DeliveryState::Pending | DeliveryState::Waiting => &mut self.pending,
        } += 1;
    }
}

/// A job that takes deliveries up again, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its name.
    pub id: ReplayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it takes up.
    pub question: Question,
    /// How many deliveries it takes up in a second.
    pub per_second: u32,
    /// What it does now.
    pub stage: Stage,
    /// Which step is next; each is done once.
    pub step: u32,
    /// Where its walk is.
    pub place: Place,
    /// How many webhooks there were to walk through when it began.
    pub webhooks: u32,
    /// How many deliveries it has taken up.
    pub queued: u64,
    /// How often it has counted them.
    pub looks: u32,
    /// What it counted so far, this time.
    pub counting: Counts,
    /// What it counted the last time, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<(Counts, Timestamp)>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its last step was made.
    pub updated_at: Timestamp,
}

impl Replay {
    /// Where its walk begins.
    pub fn start(&self) -> Place {
        let webhook = self.question.webhook;
        Place { webhook, is_last: webhook.is_some(), ..Place::default() }
    }

    /// How much of its walk is behind it, in 0..=1.
    pub fn share(&self) -> f64 {
        let window = self.question.window;
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
        let within = self.place.reached.map_or(0.0, |at| {
            (seconds(window.since, at) / seconds(window.since, window.until).max(1e-6)).min(1.0)
        });
        // Events are walked through once, for all webhooks.
        let walks = if self.question.wanted == Wanted::Missing { 1 } else { self.webhooks.max(1) };
        ((f64::from(self.place.walked) + within) / f64::from(walks)).min(1.0)
    }
}

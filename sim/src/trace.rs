//! What happened, to be read. A run keeps no trace; when one fails, it is repeated with its trace kept.

use std::fmt::Write as _;

use jiff::Timestamp;
use postrider::model::{DeliveryId, EventId, TenantId, WebhookId};

use crate::executor::Who;

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Everything.
    World,
    /// A webhook.
    Webhook(WebhookId),
    /// An event, of which there may be no number yet.
    Event(TenantId, EventId),
    /// Deliveries.
    Deliveries(Vec<DeliveryId>),
}

impl From<DeliveryId> for About {
    fn from(id: DeliveryId) -> Self {
        Self::Deliveries(vec![id])
    }
}

struct Line {
    at: i64,
    who: Who,
    about: About,
    text: String,
}

/// The lines of a run, and a number that two runs have in common only if they are the same.
#[derive(Default)]
pub struct Trace {
    /// Whether lines are kept.
    pub is_kept: bool,
    /// Whether the next step is as expected, so that no line need be kept of it.
    is_dull: bool,
    lines: Vec<Line>,
    calls: u64,
    fingerprint: u64,
}

impl Trace {
    /// Notes a step; `text` is asked for only if lines are kept.
    pub fn note(&mut self, at: i64, who: Who, about: &About, text: impl FnOnce() -> String) {
        self.calls += 1;
        let step = at.cast_unsigned() ^ (who.1 as u64) << 56 ^ u64::from(who.0.as_bytes()[0]) << 48;
        self.fingerprint = (self.fingerprint ^ step).wrapping_mul(0x0100_0000_01B3).rotate_left(17);
        if self.is_kept && !std::mem::take(&mut self.is_dull) {
            self.lines.push(Line { at, who, about: about.clone(), text: text() });
        }
    }

    /// Says whether the next step is as expected.
    pub fn step(&mut self, is_dull: bool) {
        self.is_dull = is_dull;
    }

    /// How many steps there were, and their number.
    pub fn fingerprint(&self) -> (u64, u64) {
        (self.calls, self.fingerprint)
    }

    /// The lines about a delivery: its own, its event's, its webhook's, and what befell the world.
    pub fn of(&self, delivery: Option<(DeliveryId, &TenantId, &EventId)>, start: i64) -> String {
        let concerns = |about: &About| match (about, delivery) {
            (About::World, _) => true,
            (_, None) => false,
            (About::Webhook(id), Some((delivery, ..))) => *id == delivery.webhook,
            (About::Event(tenant, id), Some((_, of, event))) => tenant == of && id == event,
            (About::Deliveries(ids), Some((delivery, ..))) => ids.contains(&delivery),
        };
        let mut text = String::new();
        for Line { at, who, text: what, .. } in self.lines.iter().filter(|line| concerns(&line.about)) {
            let _ = writeln!(text, "  {} {:<12} {what}", clock(*at, start), who.to_string());
        }
        text
    }
}

/// A moment as it is read in a trace: hours, minutes and seconds since the beginning.
pub fn clock(at: i64, start: i64) -> String {
    let millis = (at - start).div_euclid(1000);
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    format!("{hours:3}:{minutes:02}:{seconds:02}.{:03}", millis % 1000)
}

/// A moment as a trace has it, of a time that the domain speaks of.
pub fn moment(at: Timestamp, start: i64) -> String {
    clock(at.as_microsecond(), start).trim().to_owned()
}

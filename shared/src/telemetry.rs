//! What is counted and timed, by the names that dashboards and alarms know. Who listens, if anybody, is the business of the
//! process: `CloudWatch` on Lambda, Prometheus in the runner.
//!
//! Labels are few and their values bounded: each combination is a metric of its own, for which `CloudWatch` takes money. Tenants
//! and webhooks stand in the log lines instead.

use jiff::Timestamp;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{
    model::{Delivery, DeliveryState},
    sweep::Swept,
};

/// Events accepted; one that was published before does not count.
const EVENTS_ACCEPTED: &str = "postrider_events_accepted";
/// Attempts, by their `outcome`: `delivered` or `failed`.
const ATTEMPTS: &str = "postrider_attempts";
/// Attempts that failed, by the kind of `failure`.
const FAILURES: &str = "postrider_failures";
/// How long attempts took, from resolving the name to the end of the answer.
const ATTEMPT_SECONDS: &str = "postrider_attempt_seconds";
/// How long after its event was accepted a delivery arrived.
const DELIVERY_SECONDS: &str = "postrider_delivery_seconds";
/// Deliveries of which the schedule is used up.
const EXHAUSTED: &str = "postrider_deliveries_exhausted";
/// Deliveries that were made to wait for their webhook.
const PARKED: &str = "postrider_deliveries_parked";
/// What the sweep queued, by `kind`: `due`, `stranded` or `released`.
const SWEPT: &str = "postrider_swept";
/// How old the oldest event was that a round of the sweep found undelivered and due.
const OLDEST_DUE: &str = "postrider_oldest_due_seconds";

/// Tells a recorder what each of them is. To be called once it is installed.
pub fn describe() {
    describe_counter!(EVENTS_ACCEPTED, Unit::Count, "Events accepted.");
    describe_counter!(ATTEMPTS, Unit::Count, "Attempts, by outcome.");
    describe_counter!(FAILURES, Unit::Count, "Attempts that failed, by the kind of failure.");
    describe_histogram!(ATTEMPT_SECONDS, Unit::Seconds, "How long attempts took.");
    describe_histogram!(DELIVERY_SECONDS, Unit::Seconds, "From an event's acceptance to its arrival.");
    describe_counter!(EXHAUSTED, Unit::Count, "Deliveries of which the schedule is used up.");
    describe_counter!(PARKED, Unit::Count, "Deliveries that were made to wait for their webhook.");
    describe_counter!(SWEPT, Unit::Count, "Deliveries that the sweep queued, by kind.");
    describe_gauge!(
        OLDEST_DUE,
        Unit::Seconds,
        "Age of the oldest event that the sweep found undelivered and due."
    );
}

pub(crate) fn accepted() {
    counter!(EVENTS_ACCEPTED).increment(1);
}

/// Counts the newest attempt of a delivery, and what became of it.
pub(crate) fn attempted(delivery: &Delivery, now: Timestamp) {
    let Some(attempt) = delivery.attempts.last() else { return };
    let outcome = if attempt.failure.is_some() { "failed" } else { "delivered" };
    counter!(ATTEMPTS, "outcome" => outcome).increment(1);
    if let Some(failure) = attempt.failure {
        counter!(FAILURES, "failure" => failure.as_str()).increment(1);
    }
    histogram!(ATTEMPT_SECONDS, "outcome" => outcome).record(micros(attempt.phases.total_us));
    match delivery.state {
        DeliveryState::Delivered => {
            histogram!(DELIVERY_SECONDS).record(now.duration_since(delivery.created_at).as_secs_f64());
        }
        DeliveryState::Failed => counter!(EXHAUSTED).increment(1),
        _ => {}
    }
}

pub(crate) fn parked() {
    counter!(PARKED).increment(1);
}

/// Tells what a round of the sweep found, and when the oldest event was accepted that it found due.
pub(crate) fn swept(found: Swept, oldest: Option<Timestamp>, now: Timestamp) {
    for (kind, count) in [("due", found.due), ("stranded", found.stranded), ("released", found.released)] {
        counter!(SWEPT, "kind" => kind).increment(count as u64);
    }
    let age = oldest.map_or(0.0, |accepted| now.duration_since(accepted).as_secs_f64());
    gauge!(OLDEST_DUE).set(age.max(0.0));
}

#[expect(clippy::cast_precision_loss, reason = "microseconds below 2^53 are exact: 285 years")]
fn micros(micros: u64) -> f64 {
    micros as f64 / 1e6
}

//! What is not delivered yet, in our own API.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Request, json::Query, v1, v1_history, v1_views};
use crate::{
    catalogue::Catalogue, error::Error, model::DeliverySummary, operation::Operation, undelivered::Narrowed,
};

/// Ages that can be asked for at most: nothing is kept longer.
const OLDEST: i64 = 30 * 24 * 3600;

pub(super) fn list(request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
    let query = Query::of(request);
    let older_than = match query.get("older_than").map(str::parse) {
        None => None,
        Some(Ok(seconds @ 0..=OLDEST)) => Some(SignedDuration::from_secs(seconds)),
        Some(_) => return Err(Error::invalid("older_than", "must be a number of seconds from 0 to 2592000")),
    };
    let narrowed = Narrowed {
        webhook: query.parsed("webhook")?,
        topic: v1_history::topic(&query, catalogue)?,
        older_than,
    };
    Ok(Operation::ListUndelivered(v1::asked(request)?, narrowed, v1::page(request)?))
}

/// How a delivery is shown that was not delivered at a time.
pub(super) fn view(delivery: &DeliverySummary, at: Timestamp) -> Value {
    let mut view = v1_views::summary_view(delivery);
    // Who accepted it may have another clock.
    view["age"] = json!(at.duration_since(delivery.created_at).as_secs().max(0));
    view
}

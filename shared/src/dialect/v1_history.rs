//! Which deliveries are sought, and how they went, in our own API.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Request, json::Query};
use crate::{
    catalogue::Catalogue,
    error::Error,
    model::Topic,
    operation::Sought,
    stats::{Counts, HOURS, MAX_HOURS, Stats},
};

/// Which of a webhook's deliveries a request seeks.
pub(super) fn sought(request: &Request, catalogue: &Catalogue) -> Result<Sought, Error> {
    let query = Query::of(request);
    let state = query.get("state").map(|text| {
        serde_json::from_value(text.into())
            .map_err(|_| Error::invalid("state", "must be pending, delivered, failed, parked or discarded"))
    });
    let (since, until) = (time(&query, "since")?, time(&query, "until")?);
    if since.zip(until).is_some_and(|(since, until)| until <= since) {
        return Err(Error::invalid("until", "must be later than since"));
    }
    Ok(Sought { state: state.transpose()?, topic: topic(&query, catalogue)?, since, until })
}

/// Of which topic they are to be, by any of its names.
pub(super) fn topic(query: &Query, catalogue: &Catalogue) -> Result<Option<Topic>, Error> {
    let known = |name: &str| catalogue.topic(name).ok_or_else(|| Error::UnknownTopic(name.to_owned()));
    query.get("topic").map(known).transpose()
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, Error> {
    let parse = |text: &str| text.parse().map_err(|_| Error::invalid(name, "must be an RFC 3339 time"));
    query.get(name).map(parse).transpose()
}

/// How far back statistics are to go.
pub(super) fn hours(request: &Request) -> Result<u16, Error> {
    match Query::of(request).get("hours").map(str::parse) {
        None => Ok(HOURS),
        Some(Ok(hours @ 1..=MAX_HOURS)) => Ok(hours),
        Some(_) => Err(Error::invalid("hours", "must be a number from 1 to 168")),
    }
}

pub(super) fn stats_view(stats: &Stats) -> Value {
    let hour = |(hour, counts): &(Timestamp, Counts)| {
        let mut view = counts_view(counts);
        view["hour"] = json!(hour);
        view
    };
    json!({
        "webhook": stats.webhook, "since": stats.since, "until": stats.until, "complete": stats.is_complete,
        "total": counts_view(&stats.total), "by_hour": stats.by_hour.iter().map(hour).collect::<Vec<_>>(),
    })
}

fn counts_view(counts: &Counts) -> Value {
    json!({
        "deliveries": counts.deliveries, "delivered": counts.delivered, "failed": counts.failed,
        "pending": counts.pending, "parked": counts.parked, "discarded": counts.discarded,
        "success_rate": counts.success_rate(), "attempts": counts.attempts,
        "latency": counts.latency.map(|found| json!({ "p50_us": found.p50_us, "p95_us": found.p95_us })),
    })
}

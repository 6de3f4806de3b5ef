//! Filters, and trying them, in our own API.

use super::{Request, json::Fields, v1_events};
use crate::{
    catalogue::Catalogue,
    error::Error,
    filter::Filter,
    model::TenantId,
    operation::{Asked, NewEvent, Operation, Tried},
};

/// A webhook's filter; null: it gets every event of its topics.
pub(super) fn filter(fields: &mut Fields) -> Result<Option<Filter>, Error> {
    fields.value("filter").map(|pattern| Filter::of_events(&pattern)).transpose()
}

/// Whether a filter, or a webhook's, would take a sample.
pub(super) fn test(request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
    let mut fields = Fields::of(request)?;
    let tenant: Option<TenantId> = fields.parsed("tenant")?;
    let tried = match (filter(&mut fields)?, fields.parsed("webhook")?) {
        (Some(filter), None) => Tried::Filter(filter),
        (None, Some(webhook)) => Tried::Webhook(webhook),
        (None, None) => {
            return Err(Error::invalid("filter", "is required, or a webhook whose filter is meant"));
        }
        (Some(_), Some(_)) => return Err(Error::invalid("webhook", "must not be given beside a filter")),
    };
    let sample = sample(&mut fields, catalogue)?;
    fields.end()?;
    Ok(Operation::TryFilter(Asked { tenant, dialect: None }, tried, Box::new(sample)))
}

/// An event as it would be published.
fn sample(fields: &mut Fields, catalogue: &Catalogue) -> Result<NewEvent, Error> {
    let event = fields.value("event").ok_or_else(|| Error::invalid("event", "is required"))?;
    let raw = serde_json::value::to_raw_value(&event)
        .map_err(|error| Error::Internal(format!("writing a sample: {error}")))?;
    v1_events::new_event(&raw, catalogue).map_err(|error| match error {
        Error::Invalid { field, reason } => Error::invalid(format!("event/{field}"), reason),
        Error::UnknownTopic(_) => Error::invalid("event/topic", error.to_string()),
        Error::Malformed(reason) => Error::invalid("event", reason),
        other => other,
    })
}

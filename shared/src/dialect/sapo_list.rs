//! What of a list Sapo's parameters leave: `address`, `topic`, `created_on_min` and the like, `since_id`, `limit`, `page`,
//! `fields`.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Map, Value};

use super::json::Query;
use crate::{error::Error, model::Webhook};

/// Entries of a page (`sapo.md`).
const DEFAULT: usize = 50;
const MAX: usize = 250;

/// The parameters of a list.
pub(super) struct Filter {
    address: Option<String>,
    topic: Option<String>,
    created: Range,
    modified: Range,
    since_id: u64,
    limit: usize,
    page: usize,
    fields: Option<Vec<String>>,
}

struct Range {
    min: Option<Timestamp>,
    max: Option<Timestamp>,
}

impl Range {
    fn of(query: &Query, min: &'static str, max: &'static str) -> Result<Self, Error> {
        Ok(Self { min: time(query, min)?, max: time(query, max)? })
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.min.is_none_or(|min| min <= at) && self.max.is_none_or(|max| at <= max)
    }
}

impl Filter {
    pub(super) fn of(query: &Query) -> Result<Self, Error> {
        let text = |name: &str| query.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let fields = text("fields").map(|list| list.split(',').map(|name| name.trim().to_owned()).collect());
        Ok(Self {
            address: text("address"),
            topic: text("topic"),
            created: Range::of(query, "created_on_min", "created_on_max")?,
            modified: Range::of(query, "modified_on_min", "modified_on_max")?,
            since_id: number(query, "since_id")?.unwrap_or_default(),
            limit: number(query, "limit")?.map_or(DEFAULT, |n| usize::try_from(n).unwrap_or(MAX)).min(MAX),
            page: number(query, "page")?.map_or(1, |n| usize::try_from(n).unwrap_or(usize::MAX)).max(1),
            fields,
        })
    }

    /// Whether a webhook is asked for.
    pub(super) fn passes(&self, webhook: &Webhook, topic: &str) -> bool {
        self.address.as_deref().is_none_or(|address| address == webhook.address())
            && self.topic.as_deref().is_none_or(|asked| asked == topic)
            && self.created.holds(webhook.created_at)
            && self.modified.holds(webhook.updated_at)
            && webhook.number > self.since_id
    }

    /// The page that is asked for, newest first as in Sapo's sample.
    pub(super) fn page<'a>(&self, mut passing: Vec<&'a Webhook>) -> Vec<&'a Webhook> {
        passing.sort_unstable_by_key(|webhook| std::cmp::Reverse(webhook.number));
        passing.into_iter().skip((self.page - 1).saturating_mul(self.limit)).take(self.limit).collect()
    }

    /// The fields that are asked for.
    pub(super) fn shown(&self, mut view: Map<String, Value>) -> Map<String, Value> {
        if let Some(fields) = &self.fields {
            view.retain(|name, _| fields.iter().any(|field| field == name));
        }
        view
    }
}

fn number(query: &Query, name: &'static str) -> Result<Option<u64>, Error> {
    let text = query.get(name).filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| Error::invalid(name, "must be a number"))).transpose()
}

/// ISO 8601, or `2008-12-31 03:00` in UTC.
fn time(query: &Query, name: &'static str) -> Result<Option<Timestamp>, Error> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let plain = || -> Option<Timestamp> {
        let at: civil::DateTime = text.parse().ok()?;
        Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    match text.parse().ok().or_else(plain) {
        Some(at) => Ok(Some(at)),
        None => Err(Error::invalid(name, "must be a time such as 2008-12-31 03:00")),
    }
}

//! Filters: which events a webhook gets, in the language of Amazon `EventBridge`'s event patterns.
//!
//! A pattern has the form of the events that it matches. Each of its fields names the values that will do, in a list;
//! all fields must be met, and of a list that an event holds in a field, one element is enough. Fields within objects
//! of a list are met by one and the same object. What the tests hold it to are the examples that AWS publishes
//! (`tests/filters/`); `docs/filters.md` says where we differ.

mod judge;
mod matcher;
mod parse;
mod shelf;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::{judge::Miss, shelf::Shelf};
use crate::{
    error::Error,
    model::{EventId, Metadata, Payload, TenantId, Topic},
};

/// What a filter sees of an event: the fields at the top of a pattern.
const SEEN: [&str; 6] = ["topic", "tenant", "id", "occurred_at", "payload", "metadata"];

/// A pattern, compiled once; clones share it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Filter(Arc<Compiled>);

struct Compiled {
    written: Value,
    root: parse::Fields,
}

impl Filter {
    /// Compiles a pattern for events of whatever form. What is wrong is said with its path, which begins with `filter`.
    ///
    /// ```
    /// use postrider::filter::Filter;
    /// let pattern = serde_json::json!({ "payload": { "total": [{ "numeric": [">", 100] }] } });
    /// let filter = Filter::compile(&pattern).unwrap();
    /// assert!(filter.matches(&serde_json::json!({ "payload": { "total": 100.5 } })));
    /// let misses = filter.explain(&serde_json::json!({ "payload": { "total": 9.5 } }));
    /// assert_eq!(misses[0].to_string(), "payload.total: 9.5 is not a number greater than 100");
    /// ```
    pub fn compile(pattern: &Value) -> Result<Self, Error> {
        Ok(Self(Arc::new(Compiled { root: parse::pattern(pattern)?, written: pattern.clone() })))
    }

    /// Compiles a pattern for our own events: one that asks for fields that none of them has is a mistake.
    pub fn of_events(pattern: &Value) -> Result<Self, Error> {
        let filter = Self::compile(pattern)?;
        if let Some(name) = filter.0.root.tops().find(|name| !SEEN.contains(name)) {
            let reason = format!("is not a field of an event: those are {}", SEEN.join(", "));
            return Err(Error::invalid(format!("filter/{name}"), reason));
        }
        Ok(filter)
    }

    /// The pattern as it was given.
    pub fn written(&self) -> &Value {
        &self.0.written
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        judge::matches(&self.0.root, event)
    }

    /// Which parts of the pattern an event does not meet; none: it matches.
    pub fn explain(&self, event: &Value) -> Vec<Miss> {
        if self.matches(event) { Vec::new() } else { judge::explain(&self.0.root, event) }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.0.written == other.0.written
    }
}

impl Eq for Filter {}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.written.fmt(f)
    }
}

impl TryFrom<Value> for Filter {
    type Error = Error;
    fn try_from(pattern: Value) -> Result<Self, Error> {
        Self::compile(&pattern)
    }
}

impl From<Filter> for Value {
    fn from(filter: Filter) -> Self {
        filter.0.written.clone()
    }
}

/// An event on its way to be judged.
#[derive(Debug)]
pub struct Judged<'a> {
    /// Its topic.
    pub topic: &'a Topic,
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// Its name.
    pub id: &'a EventId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What it says.
    pub payload: &'a Payload,
    /// What its publisher says of it.
    pub metadata: &'a Metadata,
}

impl Judged<'_> {
    /// What filters see of it. A payload that cannot be read (a number beyond all floats, half of a surrogate pair) is
    /// as if it were not there: whether an event is taken must not depend on who listens.
    pub fn seen(&self) -> Value {
        json!({
            "topic": self.topic,
            "tenant": self.tenant,
            "id": self.id,
            "occurred_at": self.occurred_at,
            "payload": serde_json::from_slice(self.payload.as_bytes()).unwrap_or(Value::Null),
            "metadata": self.metadata,
        })
    }
}

#[cfg(test)]
mod tests;

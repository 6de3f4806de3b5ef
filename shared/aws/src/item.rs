//! How values lie in attributes.

use std::{collections::HashMap, str::FromStr};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use jiff::{SignedDuration, Timestamp};
use postrider::error::Error;

use crate::fault::odd;

/// An item, or its key.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// How long events and deliveries are kept.
pub(crate) const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

#[expect(clippy::needless_pass_by_value, reason = "numbers are values")]
pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// A time, in microseconds.
pub(crate) fn micros(time: Timestamp) -> AttributeValue {
    number(time.as_microsecond())
}

/// When TTL may delete what was made at `time`: in seconds, as `DynamoDB` wants it.
pub(crate) fn expiry(time: Timestamp) -> AttributeValue {
    number((time + KEPT).as_second())
}

/// The key of an item in a table with a sort key.
pub(crate) fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// Reading an item's attributes.
pub(crate) trait Read {
    fn text(&self, name: &str) -> Result<&str, Error>;
    fn maybe_number(&self, name: &str) -> Result<Option<i64>, Error>;
    fn blob(&self, name: &str) -> Result<&[u8], Error>;
    fn has(&self, name: &str) -> bool;

    fn number(&self, name: &str) -> Result<i64, Error> {
        self.maybe_number(name)?.ok_or_else(|| odd(name))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<T, Error> {
        self.text(name)?.parse().map_err(|_| odd(name))
    }

    fn maybe_parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        self.has(name).then(|| self.parsed(name)).transpose()
    }

    fn time(&self, name: &str) -> Result<Timestamp, Error> {
        Timestamp::from_microsecond(self.number(name)?).map_err(|_| odd(name))
    }

    fn maybe_time(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        let micros = self.maybe_number(name)?;
        micros.map(|micros| Timestamp::from_microsecond(micros).map_err(|_| odd(name))).transpose()
    }

    /// Whether TTL has yet to delete an item that is past its time.
    fn is_expired(&self) -> bool {
        let now = Timestamp::now().as_second();
        self.maybe_number("expires_at").ok().flatten().is_some_and(|end| end <= now)
    }
}

impl Read for Item {
    fn text(&self, name: &str) -> Result<&str, Error> {
        self.get(name).and_then(|value| value.as_s().ok()).map(String::as_str).ok_or_else(|| odd(name))
    }

    fn maybe_number(&self, name: &str) -> Result<Option<i64>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_n().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| odd(name))
    }

    fn has(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn blob(&self, name: &str) -> Result<&[u8], Error> {
        self.get(name).and_then(|value| value.as_b().ok()).map(AsRef::as_ref).ok_or_else(|| odd(name))
    }
}

//! Events as our own API publishes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{json::Fields, v1::time};
use crate::{
    catalogue::Catalogue,
    error::Error,
    model::{MAX_DEPTH, MAX_METADATA, MAX_METADATA_BYTES, MAX_PAYLOAD, Metadata, Payload},
    operation::{NewEvent, Operation},
};

/// Events of one request at most.
const MAX_BATCH: usize = 100;

/// An event as it is published; the payload's bytes are kept as they came.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventBody<'a> {
    #[serde(default)]
    tenant: Option<String>,
    topic: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payloads: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    ordering_key: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    occurred_at: Option<Timestamp>,
}

pub(super) fn is_batch(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

pub(super) fn publish(body: &[u8], catalogue: &Catalogue) -> Result<Operation, Error> {
    let malformed = |error: serde_json::Error| Error::Malformed(format!("not valid JSON: {error}"));
    let whole: &RawValue = serde_json::from_slice(body).map_err(malformed)?;
    let items: Vec<&RawValue> =
        if is_batch(body) { serde_json::from_str(whole.get()).map_err(malformed)? } else { vec![whole] };
    if items.is_empty() || items.len() > MAX_BATCH {
        return Err(Error::invalid("", "must be one event or an array of 1 to 100"));
    }
    let events: Vec<_> = items.into_iter().map(|item| new_event(item, catalogue)).collect();
    match <[_; 1]>::try_from(events) {
        // A single event that cannot be read is the whole request's failure.
        Ok([event]) if !is_batch(body) => Ok(Operation::Publish(vec![Ok(event?)])),
        Ok(events) => Ok(Operation::Publish(events.into())),
        Err(events) => Ok(Operation::Publish(events)),
    }
}

pub(super) fn new_event(raw: &RawValue, catalogue: &Catalogue) -> Result<NewEvent, Error> {
    let event = match serde_json::from_str::<EventBody<'_>>(raw.get()) {
        // An array of the fields' values would do for serde.
        Ok(event) if raw.get().starts_with('{') => event,
        _ => return Err(not_an_event(raw)),
    };
    let own = event.payloads.unwrap_or_default();
    let all = || event.payload.iter().chain(own.values());
    if all().map(|payload| payload.get().len()).sum::<usize>() > MAX_PAYLOAD {
        return Err(Error::TooLarge("the payload must be at most 262,144 bytes".into()));
    }
    if let Some(name) = own.keys().find(|name| super::named(name).is_err()) {
        return Err(Error::invalid("payloads", format!("no dialect is called {name:?}")));
    }
    let payloads = own.into_iter().map(|(name, raw)| Ok((name, payload("payloads", raw)?)));
    Ok(NewEvent {
        tenant: event.tenant.map(|text| text.parse().map_err(Error::field("tenant"))).transpose()?,
        id: event.id.map(|text| text.parse().map_err(Error::field("id"))).transpose()?,
        topic: catalogue.topic(&event.topic).ok_or(Error::UnknownTopic(event.topic))?,
        payload: event.payload.map_or(Ok(Payload::null()), |raw| payload("payload", raw))?,
        payloads: payloads.collect::<Result<_, Error>>()?,
        metadata: metadata(event.metadata.unwrap_or_default())?,
        ordering_key: event
            .ordering_key
            .map(|t| t.try_into().map_err(Error::field("ordering_key")))
            .transpose()?,
        occurred_at: event.occurred_at,
    })
}

fn metadata(metadata: Metadata) -> Result<Metadata, Error> {
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata.len() > MAX_METADATA || bytes > MAX_METADATA_BYTES {
        return Err(Error::invalid("metadata", "must be at most 50 entries and 4,096 bytes"));
    }
    Ok(metadata)
}

fn payload(field: &str, raw: &RawValue) -> Result<Payload, Error> {
    let payload = Payload::from_raw(raw);
    if payload.depth() > MAX_DEPTH {
        return Err(Error::invalid(field, format!("must not be nested deeper than {MAX_DEPTH} levels")));
    }
    Ok(payload)
}

/// What is wrong with an event, by its first field that is: the quick way of reading it does not say.
fn not_an_event(raw: &RawValue) -> Error {
    let wrong = || {
        let mut fields = Fields::parse(raw.get().as_bytes())?;
        fields.text("tenant")?;
        fields.required("topic")?;
        fields.text("id")?;
        fields.text("ordering_key")?;
        time(&mut fields, "occurred_at")?;
        fields.value("payload");
        if fields.value("payloads").is_some_and(|payloads| !payloads.is_object()) {
            return Err(Error::invalid("payloads", "must be an object of payloads by dialect"));
        }
        let metadata = fields.value("metadata").map(serde_json::from_value::<Metadata>);
        if metadata.is_some_and(|metadata| metadata.is_err()) {
            return Err(Error::invalid("metadata", "must be an object of strings"));
        }
        fields.end()
    };
    wrong().err().unwrap_or_else(|| Error::Malformed("not an event, or a field of it is there twice".into()))
}

//! Polling in our own API.
//!
//! A cursor names each event that a poll handed out, and no others: one that comes to wait later, with a smaller number
//! than those, is not taken for received.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Request, Response, answer,
    json::{Fields, Query},
    v1::JSON,
};
use crate::{
    error::Error,
    operation::PageRequest,
    polling::{HandedOut, MOST, PollRequest},
};

/// Refuses what says how to send, of a webhook that is polled.
pub(super) fn sent_nothing(fields: &mut Fields) -> Result<(), Error> {
    match ["url", "headers"].into_iter().find(|name| fields.value(name).is_some()) {
        Some(name) => {
            Err(Error::invalid(name, "must not be given: a webhook that is polled is sent nothing"))
        }
        None => Ok(()),
    }
}

pub(super) fn poll(request: &Request) -> Result<PollRequest, Error> {
    let query = Query::of(request);
    let limit = match query.get("limit").map(str::parse) {
        None => PageRequest::DEFAULT,
        Some(Ok(limit @ 1..=MOST)) => limit,
        Some(_) => return Err(Error::invalid("limit", "must be a number from 1 to 100")),
    };
    let acknowledged = query.get("cursor").map(|text| read_cursor(text).ok_or(text)).transpose();
    let acknowledged = acknowledged.map_err(|_| Error::invalid("cursor", "is not one that we gave"))?;
    Ok(PollRequest { limit, acknowledged: acknowledged.unwrap_or_default() })
}

fn read_cursor(text: &str) -> Option<Vec<Uuid>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let events: Vec<_> = bytes.chunks(16).map(Uuid::from_slice).collect::<Result<_, _>>().ok()?;
    (1..=MOST).contains(&events.len()).then_some(events)
}

fn write_cursor(events: &[HandedOut]) -> Option<String> {
    let bytes: Vec<u8> = events.iter().flat_map(|one| *one.delivery.event.as_bytes()).collect();
    (!bytes.is_empty()).then(|| URL_SAFE_NO_PAD.encode(bytes))
}

pub(super) fn polled(events: &[HandedOut]) -> Response {
    let data: Vec<_> = events.iter().map(view).collect();
    let mut response =
        answer(StatusCode::OK, JSON, &json!({ "data": data, "next_cursor": write_cursor(events) }));
    // What is kept somewhere on the way would hide that some of it was received.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn view(one: &HandedOut) -> Value {
    let header = |(name, value): (&http::HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), json!(value.to_str().ok()?)))
    };
    let headers: Map<_, _> = one.message.headers.iter().filter_map(header).collect();
    json!({
        "delivery": one.delivery, "event": one.event, "topic": one.topic, "accepted_at": one.accepted_at,
        // A text, for a signature covers its very bytes.
        "headers": headers, "body": String::from_utf8_lossy(&one.message.body),
    })
}

//! Dialects: each documented webhook API is one file here, one implementation of [`Dialect`], one line in [`ALL`].

mod centry;
mod centry_catalogue;
mod json;
mod sapo;
mod sapo_catalogue;
mod sapo_list;
mod shipstream;
mod shipstream_catalogue;
mod shipstream_rpc;
mod tiki;
mod tiki_catalogue;
mod ultimate;
mod ultimate_catalogue;
mod v1;
mod v1_views;
mod xml;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    bucket::Bucket,
    error::Error,
    model::{DeliveryId, Event, Secret, Topic, TopicPattern},
    operation::{Operation, Outcome},
    ports::Target,
    verdict::Rules,
};

/// A request, read whole.
pub type Request = http::Request<Bytes>;
/// An answer, to be written whole.
pub type Response = http::Response<Bytes>;

/// One operation that a request asks for. Most requests ask for one; a JSON-RPC batch for many.
#[derive(Debug)]
pub struct Call {
    /// The keys that come with it, wherever the dialect carries them: any good one will do.
    pub credentials: Vec<Secret>,
    /// What it asks for, or why that cannot be read.
    pub operation: Result<Operation, Error>,
}

/// What an answer may tell besides its outcome.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request that is answered.
    pub request: &'a Request,
    /// A number for this occurrence, in the log too.
    pub incident: Uuid,
    /// How full the key's bucket is, where there is one.
    pub level: Option<u32>,
}

/// A delivery about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Posting<'a> {
    /// Where to, and with whose credentials.
    pub target: &'a Target,
    /// What happened.
    pub event: &'a Event,
    /// The delivery's name.
    pub delivery: DeliveryId,
    /// Which attempt it is: 1 is the first.
    pub attempt: u32,
    /// Its place among the webhook's, for dialects that count.
    pub sequence: Option<u64>,
    /// When it is made.
    pub now: Timestamp,
}

/// What goes over the wire: headers of the dialect's own, and the very bytes that a signature covers.
#[derive(Debug, Clone)]
pub struct Message {
    /// Content type, authentication, and whatever else the API documents.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// One documented webhook API: how its requests are read, its answers and errors written, its topics named,
/// its messages built.
pub trait Dialect: Sync {
    /// Its name in our records.
    fn name(&self) -> &'static str;
    /// Whether a request is in this dialect.
    fn claims(&self, method: &Method, path: &str) -> bool;
    /// Reads a request.
    fn decode(&self, request: &Request) -> Vec<Call>;
    /// Writes the answer: one result for each call that [`Dialect::decode`] read, in their order.
    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response;
    /// How many calls a key may make, where the API says.
    fn bucket(&self) -> Option<Bucket> {
        None
    }
    /// Its names of topics: canonical, and its own.
    fn topics(&self) -> &'static [(&'static str, &'static str)];
    /// Whether a tenant may have one webhook a topic, so that the topic names the webhook.
    fn is_exclusive(&self) -> bool {
        false
    }
    /// Whether its messages are numbered, one after the other for each webhook.
    fn is_counted(&self) -> bool {
        false
    }
    /// Builds the message of a delivery.
    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error>;
    /// How it delivers.
    fn rules(&self) -> &'static Rules;
}

/// Every dialect; our own claims what no other does, so it stands last.
pub const ALL: &[&dyn Dialect] =
    &[&centry::Centry, &sapo::Sapo, &shipstream::ShipStream, &tiki::Tiki, &ultimate::Ultimate, &v1::V1];

/// The dialect that a request is in.
pub fn of(request: &Request) -> &'static dyn Dialect {
    let path = request.uri().path();
    ALL.iter().copied().find(|dialect| dialect.claims(request.method(), path)).unwrap_or(&v1::V1)
}

/// The dialect of that name, as a webhook's record has it.
pub fn named(name: &str) -> Result<&'static dyn Dialect, Error> {
    let found = ALL.iter().copied().find(|dialect| dialect.name() == name);
    found.ok_or_else(|| Error::Internal(format!("no dialect is called {name:?}")))
}

/// The canonical topic for a name of any dialect's.
///
/// ```
/// let topic = postrider::dialect::topic("product:request:rejected").unwrap();
/// assert_eq!(topic.as_str(), "product_request.rejected");
/// assert_eq!(postrider::dialect::topic("order.created").unwrap().as_str(), "order.created");
/// assert!(postrider::dialect::topic("no such thing").is_none());
/// ```
pub fn topic(name: &str) -> Option<Topic> {
    name.parse().ok().or_else(|| ALL.iter().find_map(|dialect| canonical(*dialect, name)))
}

/// The canonical topic for one dialect's own name.
fn canonical(dialect: &dyn Dialect, own: &str) -> Option<Topic> {
    dialect.topics().iter().find(|(_, name)| *name == own)?.0.parse().ok()
}

/// One dialect's own name for a canonical topic.
fn own_name(dialect: &dyn Dialect, topic: &Topic) -> Option<&'static str> {
    dialect.topics().iter().find(|(canonical, _)| *canonical == topic.as_str()).map(|(_, name)| *name)
}

/// One dialect's own name for what a webhook subscribes to.
fn own_pattern<'a>(dialect: &dyn Dialect, pattern: &'a TopicPattern) -> &'a str {
    match pattern {
        TopicPattern::One(topic) => own_name(dialect, topic).unwrap_or(topic.as_str()),
        TopicPattern::All => TopicPattern::ALL,
    }
}

/// The one result of a request that asks for one thing.
fn only(results: Vec<Result<Outcome, Error>>) -> Result<Outcome, Error> {
    results.into_iter().next().unwrap_or_else(|| Err(Error::Internal("a request without a result".into())))
}

/// A JSON answer.
fn answer(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response {
    // Our own views always serialise: their keys are strings and their numbers finite.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_table_of_topics_is_sound() {
        for dialect in ALL {
            let mut pairs = HashSet::new();
            for pair in dialect.topics() {
                assert!(pair.0.parse::<Topic>().is_ok(), "{pair:?}");
                assert!(pairs.insert(pair), "{} has {pair:?} twice", dialect.name());
            }
            assert!(std::ptr::eq(named(dialect.name()).unwrap().topics(), dialect.topics()));
        }
    }
}

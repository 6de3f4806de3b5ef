//! Dialects: each documented webhook API is one file here, one implementation of [`Dialect`], one line in [`ALL`].

mod centry;
mod json;
mod oauth;
mod oauth_page;
mod oauth_params;
mod sapo;
mod sapo_list;
mod shipstream;
mod shipstream_rpc;
mod table;
mod tiki;
mod ultimate;
mod ultimate_list;
mod v1;
mod v1_auth;
mod v1_delivery;
mod v1_events;
mod v1_filters;
mod v1_history;
mod v1_limits;
mod v1_lines;
mod v1_polling;
mod v1_replays;
mod v1_undelivered;
mod v1_views;
mod xml;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    bucket::Bucket,
    catalogue::Catalogue,
    error::Error,
    model::{DeliveryId, Event, Payload, Secret, Topic},
    operation::{Operation, Outcome},
    ports::Target,
    verdict::Rules,
};

pub use self::table::{Entry, Table};

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
    /// All topics.
    pub catalogue: &'a Catalogue,
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
    /// The event's topic, by the dialect's own name.
    pub topic: &'a str,
    /// What it says to this dialect.
    pub payload: &'a Payload,
    /// Whether it is only a test.
    pub is_test: bool,
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
    fn decode(&self, request: &Request, catalogue: &Catalogue) -> Vec<Call>;
    /// Writes the answer: one result for each call that [`Dialect::decode`] read, in their order.
    fn encode(&self, context: Context<'_>, results: Vec<Result<Outcome, Error>>) -> Response;
    /// How many calls a key may make, where the API says.
    fn bucket(&self) -> Option<Bucket> {
        None
    }
    /// Its topics.
    fn table(&self) -> &'static Table;
    /// Whether a tenant may have one webhook a topic, so that the topic names the webhook.
    fn is_exclusive(&self) -> bool {
        false
    }
    /// Whether a tenant may not have two webhooks of one topic and one URL.
    fn refuses_twins(&self) -> bool {
        false
    }
    /// Whether its messages are numbered, one after the other for each webhook.
    fn is_counted(&self) -> bool {
        false
    }
    /// Whether it shows how many events a webhook was sent, and when one last failed.
    fn is_tallied(&self) -> bool {
        false
    }
    /// Of which topic a test event is a sample, where the API has one for the purpose.
    fn test_topic(&self) -> Option<Topic> {
        None
    }
    /// Whether an operator may give a topic this name in it.
    fn may_name(&self, _: &str) -> bool {
        true
    }
    /// What a payload lacks for a message of this topic to be built of it.
    fn lack(&self, _: &Topic, _: &Payload) -> Option<String> {
        None
    }
    /// Builds the message of a delivery.
    fn message(&self, posting: &Posting<'_>) -> Result<Message, Error>;
    /// Its part of the `OpenAPI` document: tags, paths and components. None: it is not HTTP alone.
    fn openapi(&self) -> Option<&'static str> {
        None
    }
    /// How it delivers.
    fn rules(&self) -> &'static Rules;
}

/// Our own dialect.
pub const OWN: &dyn Dialect = &v1::V1;

/// Every dialect; our own claims what no other does, so it stands last.
pub const ALL: &[&dyn Dialect] =
    &[&centry::Centry, &sapo::Sapo, &shipstream::ShipStream, &tiki::Tiki, &ultimate::Ultimate, &v1::V1];

/// The dialect that a request is in.
pub fn of(request: &Request) -> &'static dyn Dialect {
    let path = request.uri().path();
    ALL.iter().copied().find(|dialect| dialect.claims(request.method(), path)).unwrap_or(&v1::V1)
}

/// The methods that a path takes, as `Allow` names them: the dialects' own judgement.
pub fn allowed(uri: &Uri, catalogue: &Catalogue) -> String {
    let takes = |method: &Method| {
        let mut request = Request::new(Bytes::new());
        (*request.uri_mut(), *request.method_mut()) = (uri.clone(), method.clone());
        let refused =
            |call: &Call| matches!(call.operation, Err(Error::MethodNotAllowed | Error::NotFound("path")));
        !of(&request).decode(&request, catalogue).iter().any(refused)
    };
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let names: Vec<_> = methods.iter().filter(|method| takes(method)).map(Method::as_str).collect();
    names.join(", ").replace("GET", "GET, HEAD")
}

/// The dialect of that name, as a webhook's record has it.
pub fn named(name: &str) -> Result<&'static dyn Dialect, Error> {
    let found = ALL.iter().copied().find(|dialect| dialect.name() == name);
    found.ok_or_else(|| Error::Internal(format!("no dialect is called {name:?}")))
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
    fn a_path_takes_what_its_dialects_take() {
        let allowed = |path| allowed(&Uri::from_static(path), &Catalogue::default());
        assert_eq!(allowed("/v1/webhooks"), "GET, HEAD, POST, PUT, DELETE");
        assert_eq!(allowed("/v1/webhooks/credentials"), "PUT");
        assert_eq!(allowed("/webhooks/credentials"), "PUT");
        assert_eq!(allowed("/admin/webhooks.json"), "GET, HEAD, POST");
        assert_eq!(allowed("/api/jsonrpc"), "POST");
    }

    #[test]
    fn every_table_of_topics_is_sound() {
        for dialect in ALL {
            assert!(std::ptr::eq(named(dialect.name()).unwrap().table(), dialect.table()));
            let entries = dialect.table().topics();
            assert!(!entries.is_empty(), "{}", dialect.name());
            let mut pairs = HashSet::new();
            for entry in entries {
                assert!(pairs.insert((&entry.topic, &entry.name)), "{} has {entry:?} twice", dialect.name());
            }
        }
    }
}

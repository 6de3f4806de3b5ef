//! The envelope of `ShipStream`'s JSON-RPC: which calls a body makes, and how their answers are wrapped.

use serde_json::{Value, json};

use super::json::Fields;
use crate::{error::Error, model::Secret};

/// Calls of one batch at most: each asks the store who calls.
const MAX_BATCH: usize = 100;

/// What a body is.
pub(super) enum Body {
    /// Not JSON at all.
    Unreadable,
    /// One call, or what should be one.
    One(Rpc),
    /// A batch.
    Many(Vec<Rpc>),
}

/// One call.
pub(super) struct Rpc {
    id: Value,
    /// As the client writes it: the documents have a number, the official clients a text.
    version: Value,
    pub(super) method: Method,
}

/// What is called.
pub(super) enum Method {
    /// `login`, with a user name and an API key.
    Login(Option<Secret>),
    /// `call`: in which session, what, and with what.
    Call { session: Option<Secret>, path: String, args: Vec<Value> },
    /// No call can be made of it.
    Not(Fault),
}

/// A fault: its code, and its words.
#[derive(Clone)]
pub(super) struct Fault(i64, String);

impl Fault {
    pub(super) const UNREADABLE: (i64, &str) = (-32700, "Parse error");
    const NO_REQUEST: (i64, &str) = (-32600, "Invalid Request");
    const NO_METHOD: (i64, &str) = (-32601, "Method not found");
    pub(super) const BAD_PARAMS: (i64, &str) = (-32602, "Invalid params");
    pub(super) const INTERNAL: (i64, &str) = (-32603, "Internal error");

    pub(super) fn of((code, message): (i64, &str)) -> Self {
        Self(code, message.to_owned())
    }

    /// One of the API's own, which are numbered from 0: fault 5 is -32005.
    pub(super) fn api(number: i64, message: impl Into<String>) -> Self {
        Self(-32000 - number, message.into())
    }
}

impl Body {
    pub(super) fn of(text: &[u8]) -> Self {
        match serde_json::from_slice(text) {
            Err(_) => Self::Unreadable,
            Ok(Value::Array(calls)) if (1..=MAX_BATCH).contains(&calls.len()) => {
                Self::Many(calls.into_iter().map(Rpc::of).collect())
            }
            Ok(one) => Self::One(Rpc::of(one)),
        }
    }

    pub(super) fn calls(&self) -> &[Rpc] {
        match self {
            Self::Unreadable => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Rpc {
    fn of(value: Value) -> Self {
        let Value::Object(fields) = value else {
            let method = Method::Not(Fault::of(Fault::NO_REQUEST));
            return Self { id: Value::Null, version: json!("2.0"), method };
        };
        let version = fields.get("jsonrpc").filter(|version| is_version(version)).cloned();
        let id = fields.get("id").filter(|id| id.is_string() || id.is_number()).cloned().unwrap_or_default();
        let method = match version {
            Some(_) => method(Fields::from(fields)).unwrap_or_else(Method::Not),
            None => Method::Not(Fault::of(Fault::NO_REQUEST)),
        };
        Self { id, version: version.unwrap_or_else(|| json!("2.0")), method }
    }

    /// The answer to it.
    pub(super) fn answered(&self, result: Result<Value, Fault>) -> Value {
        let (error, result) = match result {
            Ok(result) => (Value::Null, result),
            Err(Fault(code, message)) => (json!({ "code": code, "message": message }), Value::Null),
        };
        json!({ "jsonrpc": self.version, "id": self.id, "error": error, "result": result })
    }
}

/// The answer to what is not even JSON.
pub(super) fn unreadable() -> Value {
    let (code, message) = Fault::UNREADABLE;
    json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message }, "result": null })
}

fn is_version(version: &Value) -> bool {
    version.as_f64().is_some_and(|number| (number - 2.0).abs() < f64::EPSILON) || version == "2.0"
}

fn method(mut fields: Fields) -> Result<Method, Fault> {
    let not_a_request = |_: Error| Fault::of(Fault::NO_REQUEST);
    let name = fields.required("method").map_err(not_a_request)?;
    let mut params = match fields.value("params") {
        None => Vec::new(),
        Some(Value::Array(params)) => params,
        Some(_) => return Err(Fault::of(Fault::BAD_PARAMS)),
    }
    .into_iter();
    match name.as_str() {
        "login" => Ok(Method::Login(login(params.next(), params.next()))),
        "call" => {
            let session = session(params.next())?;
            let Some(Value::String(path)) = params.next() else { return Err(Fault::of(Fault::BAD_PARAMS)) };
            let args = match params.next() {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(args)) => args,
                // Stock Zend makes a list of whatever else comes.
                Some(other) => vec![other],
            };
            Ok(Method::Call { session, path, args })
        }
        // As OpenMage rewrites it: the method's own name in the place of `call`.
        path if path.contains('.') => {
            Ok(Method::Call { session: session(params.next())?, path: name, args: params.collect() })
        }
        _ => Err(Fault::of(Fault::NO_METHOD)),
    }
}

/// A session's id; null: the request's Basic authentication counts.
fn session(param: Option<Value>) -> Result<Option<Secret>, Fault> {
    match param {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(Secret::new(id))),
        Some(_) => Err(Fault::of(Fault::BAD_PARAMS)),
    }
}

/// A key in two halves, or whole as the second.
fn login(user: Option<Value>, key: Option<Value>) -> Option<Secret> {
    match (user?, key?) {
        (Value::String(_), Value::String(key)) if key.starts_with("prk_") => Some(Secret::new(key)),
        (Value::String(user), Value::String(key)) => Some(Secret::new(format!("prk_{user}_{key}"))),
        _ => None,
    }
}

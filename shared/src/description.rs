//! The APIs as machines read them: `docs/openapi/` put together, with the names of the topics that are known now.

use serde_json::{Map, Value, json};

use crate::{
    catalogue::Catalogue,
    dialect::{self, Dialect},
    error::Error,
    operation::Document,
};

const OPENRPC: &str = include_str!("../../docs/openapi/openrpc.json");
/// What stands in the documents for a dialect's names of topics.
const TOPICS: &str = "x-topics";

/// A document, with the topics that operators added.
pub fn of(document: Document, catalogue: &Catalogue) -> Result<Value, Error> {
    let mut whole = match document {
        Document::OpenRpc => read(OPENRPC)?,
        Document::OpenApi => openapi()?,
    };
    name_topics(&mut whole, catalogue);
    Ok(whole)
}

fn read(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::Internal(format!("a description of ours: {error}")))
}

/// Every dialect's part in one document, path by path and method by method: our own first.
fn openapi() -> Result<Value, Error> {
    let mut whole = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Postrider",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Webhooks for commerce platforms: an API of our own, and those of five platforms as their \
                clients know them.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
    });
    for dialect in dialect::ALL.iter().rev() {
        if let Some(part) = dialect.openapi() {
            merge(&mut whole, read(part)?);
        }
    }
    Ok(whole)
}

fn merge(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                merge(whole.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(whole), Value::Array(part)) => whole.extend(part),
        (whole, part) => *whole = part,
    }
}

fn name_topics(value: &mut Value, catalogue: &Catalogue) {
    match value {
        Value::Object(fields) => {
            let dialect = fields.remove(TOPICS).as_ref().and_then(Value::as_str).map(dialect::named);
            if let Some(Ok(dialect)) = dialect {
                fields.insert("enum".to_owned(), names(dialect, catalogue));
            }
            fields.values_mut().for_each(|value| name_topics(value, catalogue));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| name_topics(item, catalogue)),
        _ => {}
    }
}

/// Each name once: one may stand for several topics.
fn names(dialect: &dyn Dialect, catalogue: &Catalogue) -> Value {
    let names: Map<_, _> =
        catalogue.own_names(dialect).map(|(_, name)| (name.to_owned(), Value::Null)).collect();
    names.into_iter().map(|(name, _)| Value::String(name)).collect()
}

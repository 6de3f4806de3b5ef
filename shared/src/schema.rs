//! JSON Schemas: those that operators set for payloads, and those that describe a sample.

use jsonschema::{PatternOptions, Validator};
use serde_json::{Value, json};

use crate::{error::Error, model::Payload};

/// A schema ready to judge payloads by.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Reads a schema (2020-12 unless its `$schema` says otherwise). It must be whole: a `$ref` elsewhere is not followed.
    pub fn compile(schema: &Value) -> Result<Self, Error> {
        // Patterns by an engine whose time is linear: a payload must not be able to make one run on and on.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let compiled = options.build(schema);
        compiled.map(Self).map_err(|error| {
            let at = error.instance_path().as_str().to_owned();
            Error::invalid(format!("schema{at}"), error.masked().to_string())
        })
    }

    /// Refuses a payload that does not fit, with the path of its first fault.
    ///
    /// ```
    /// use postrider::{error::Error, model::Payload, schema::Schema};
    /// let schema = serde_json::json!({ "properties": { "qty": { "minimum": 1 } } });
    /// let schema = Schema::compile(&schema).unwrap();
    /// assert_eq!(schema.check(&Payload::from_store(&br#"{"qty":1}"#[..])), Ok(()));
    /// let refused = schema.check(&Payload::from_store(&br#"{"qty":0}"#[..]));
    /// assert_eq!(refused, Err(Error::invalid("payload/qty", "value is less than the minimum of 1")));
    /// ```
    pub fn check(&self, payload: &Payload) -> Result<(), Error> {
        let value = serde_json::from_slice(payload.as_bytes())
            .map_err(|error| Error::invalid("payload", format!("not valid JSON: {error}")))?;
        self.0.validate(&value).map_err(|error| {
            // The value itself stays out of the answer: it may be long, and it may be a person's.
            Error::invalid(format!("payload{}", error.instance_path()), error.masked().to_string())
        })
    }
}

/// What values like a sample look like.
///
/// ```
/// let described = postrider::schema::of_sample(&serde_json::json!({ "qty": 1, "tags": ["a"] }));
/// assert_eq!(described["properties"]["qty"], serde_json::json!({ "type": "integer" }));
/// assert_eq!(described["properties"]["tags"]["items"], serde_json::json!({ "type": "string" }));
/// ```
pub fn of_sample(sample: &Value) -> Value {
    match sample {
        Value::Null => json!({}),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(items) => match items.first() {
            Some(item) => json!({ "type": "array", "items": of_sample(item) }),
            None => json!({ "type": "array" }),
        },
        Value::Object(fields) => {
            let properties: serde_json::Map<_, _> =
                fields.iter().map(|(name, value)| (name.clone(), of_sample(value))).collect();
            json!({ "type": "object", "properties": properties })
        }
    }
}

//! Reading JSON requests: what is wrong is said with the field's name.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::Request;
use crate::{error::Error, model::BadId};

/// The fields of a JSON object, taken one by one.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The body, which must be a JSON object.
    pub(super) fn of(request: &Request) -> Result<Self, Error> {
        Self::parse(request.body())
    }

    /// A text, which must be a JSON object.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Error::Malformed("must be a JSON object".into())),
            Err(error) => Err(Error::Malformed(format!("not valid JSON: {error}"))),
        }
    }

    /// The fields of an object within.
    pub(super) fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// Whether the field is there, null or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A value of any type; null counts as absent.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::invalid(name, "must be a string")),
        }
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Error> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Error::invalid(name, "is required")),
        }
    }

    /// A text that must parse.
    pub(super) fn parsed<T: FromStr<Err = BadId>>(&mut self, name: &'static str) -> Result<Option<T>, Error> {
        self.text(name)?.map(|text| text.parse().map_err(Error::field(name))).transpose()
    }

    /// A truth value.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(Error::invalid(name, "must be true or false")),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        serde_json::from_value(value).map(Some).map_err(|_| Error::invalid(name, "must be a list of strings"))
    }

    /// Refuses what was not taken: a misspelt field must not pass in silence.
    pub(super) fn end(self) -> Result<(), Error> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(name, "is not a field of this request")),
        }
    }
}

/// The parameters of the query string, decoded.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// The request's.
    pub(super) fn of(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Those of a form in the body (`application/x-www-form-urlencoded`).
    pub(super) fn of_form(request: &Request) -> Self {
        Self(url::form_urlencoded::parse(request.body()).into_owned().collect())
    }

    /// One parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that must parse.
    pub(super) fn parsed<T: FromStr<Err = BadId>>(&self, name: &'static str) -> Result<Option<T>, Error> {
        self.get(name).map(|text| text.parse().map_err(Error::field(name))).transpose()
    }
}

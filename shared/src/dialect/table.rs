//! Tables of topics: a dialect's names for them and a sample of each, in a JSON file of its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::Topic;

/// A dialect's topics, in the order of its documents.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Fields that samples share.
    #[serde(default)]
    shapes: BTreeMap<String, Map<String, Value>>,
    topics: Vec<Entry>,
}

/// A topic in a dialect.
#[derive(Debug, Deserialize)]
pub struct Entry {
    /// Its canonical name.
    pub topic: Topic,
    /// The dialect's own name of it; the canonical one, if the file gives none.
    #[serde(default)]
    pub name: String,
    /// Whatever else the dialect tells of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Table {
    /// Reads a table. The tests see that each is sound; one that is not would be empty.
    pub(super) fn read(text: &str) -> Self {
        let mut table: Self = serde_json::from_str(text).unwrap_or_default();
        for entry in table.topics.iter_mut().filter(|entry| entry.name.is_empty()) {
            entry.name = entry.topic.as_str().to_owned();
        }
        table
    }

    /// Its entries.
    pub fn topics(&self) -> &[Entry] {
        &self.topics
    }

    /// The canonical topic of an own name.
    pub fn canonical(&self, own: &str) -> Option<&Topic> {
        self.topics.iter().find(|entry| entry.name == own).map(|entry| &entry.topic)
    }

    /// The own name of a canonical topic: the first, where there are several.
    pub fn own_name(&self, topic: &Topic) -> Option<&str> {
        self.entry(topic).map(|entry| entry.name.as_str())
    }

    /// What it has of a canonical topic.
    pub fn entry(&self, topic: &Topic) -> Option<&Entry> {
        self.topics.iter().find(|entry| entry.topic == *topic)
    }

    /// A sample payload: the fields of its shapes, and those of its own over them.
    pub fn sample(&self, entry: &Entry) -> Value {
        let names = match (entry.more.get("shape"), entry.more.get("shapes")) {
            (Some(Value::String(name)), _) => vec![name.as_str()],
            (_, Some(Value::Array(names))) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let shapes = names.into_iter().filter_map(|name| self.shapes.get(name));
        let own = entry.more.get("with").and_then(Value::as_object);
        let mut sample = Map::new();
        for fields in shapes.chain(own) {
            sample.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        Value::Object(sample)
    }
}

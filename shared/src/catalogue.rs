//! The catalogue: every topic by all of its names. What the documented APIs name is built in; operators add more.

use std::{collections::BTreeMap, sync::OnceLock};

use serde_json::Value;

use crate::{
    dialect::{self, Dialect},
    error::Error,
    model::{CustomTopic, Payload, Topic, TopicPattern},
    schema::Schema,
};

/// What operators added to the topics that the dialects' tables name.
#[derive(Debug, Default)]
pub struct Catalogue {
    custom: BTreeMap<Topic, CustomTopic>,
    /// Their schemas, compiled when they are first needed.
    compiled: BTreeMap<Topic, OnceLock<Result<Schema, Error>>>,
}

impl Catalogue {
    /// The catalogue with these topics of operators'.
    pub fn new(custom: impl IntoIterator<Item = CustomTopic>) -> Self {
        let custom: BTreeMap<_, _> = custom.into_iter().map(|topic| (topic.topic.clone(), topic)).collect();
        let with_schema = custom.values().filter(|topic| topic.schema.is_some());
        let compiled = with_schema.map(|topic| (topic.topic.clone(), OnceLock::new())).collect();
        Self { custom, compiled }
    }

    /// The topics that operators added, by name.
    pub fn custom(&self) -> &BTreeMap<Topic, CustomTopic> {
        &self.custom
    }

    /// Whether a payload fits the schema that an operator gave its topic.
    pub fn check(&self, topic: &Topic, payload: &Payload) -> Result<(), Error> {
        let Some(schema) = self.custom.get(topic).and_then(|custom| custom.schema.as_ref()) else {
            return Ok(());
        };
        let compiled = self.compiled.get(topic).map(|known| known.get_or_init(|| Schema::compile(schema)));
        let Some(Ok(schema)) = compiled else {
            return Err(Error::Internal(format!("the schema of {topic} cannot be read")));
        };
        schema.check(payload)
    }

    /// The canonical topic for a name of any dialect's.
    ///
    /// ```
    /// let catalogue = postrider::catalogue::Catalogue::default();
    /// let topic = catalogue.topic("product:request:rejected").unwrap();
    /// assert_eq!(topic.as_str(), "product_request.rejected");
    /// assert_eq!(catalogue.topic("order.created").unwrap().as_str(), "order.created");
    /// assert!(catalogue.topic("no such thing").is_none());
    /// ```
    pub fn topic(&self, name: &str) -> Option<Topic> {
        let by_own = || dialect::ALL.iter().find_map(|dialect| self.canonical(*dialect, name));
        name.parse().ok().or_else(by_own)
    }

    /// The canonical topic for one dialect's own name.
    pub fn canonical(&self, dialect: &dyn Dialect, own: &str) -> Option<Topic> {
        let added = |topic: &&CustomTopic| topic.names.get(dialect.name()).is_some_and(|name| name == own);
        let custom = || self.custom.values().find(added).map(|topic| topic.topic.clone());
        dialect.table().canonical(own).cloned().or_else(custom)
    }

    /// One dialect's own name for a canonical topic.
    pub fn own_name<'a>(&'a self, dialect: &dyn Dialect, topic: &Topic) -> Option<&'a str> {
        let custom = || self.custom.get(topic)?.names.get(dialect.name()).map(String::as_str);
        dialect.table().own_name(topic).or_else(custom)
    }

    /// One dialect's own name for what a webhook subscribes to.
    pub fn own_pattern<'a>(&'a self, dialect: &dyn Dialect, pattern: &'a TopicPattern) -> &'a str {
        match pattern {
            TopicPattern::One(topic) => self.own_name(dialect, topic).unwrap_or(topic.as_str()),
            // No dialect has words of its own for these.
            TopicPattern::All | TopicPattern::Under(_) => pattern.as_str(),
        }
    }

    /// One dialect's own names, its documented ones first.
    pub fn own_names<'a>(&'a self, dialect: &'a dyn Dialect) -> impl Iterator<Item = (&'a Topic, &'a str)> {
        let built_in = dialect.table().topics().iter().map(|entry| (&entry.topic, entry.name.as_str()));
        built_in.chain(self.custom_names(dialect).map(|(name, topic)| (&topic.topic, name)))
    }

    /// The names that operators gave for one dialect.
    pub fn custom_names<'a>(
        &'a self,
        dialect: &dyn Dialect,
    ) -> impl Iterator<Item = (&'a str, &'a CustomTopic)> {
        let dialect = dialect.name();
        self.custom.values().filter_map(move |topic| Some((topic.names.get(dialect)?.as_str(), topic)))
    }

    /// A sample of a topic's payload, as one dialect's clients know it.
    pub fn sample(&self, dialect: &dyn Dialect, topic: &Topic) -> Option<Value> {
        let custom = self.custom.get(topic);
        let documented =
            |dialect: &dyn Dialect| dialect.table().entry(topic).map(|entry| dialect.table().sample(entry));
        custom
            .and_then(|custom| custom.samples.get(dialect.name()).cloned())
            .or_else(|| documented(dialect))
            .or_else(|| custom.and_then(|custom| custom.sample.clone()))
            .or_else(|| documented(dialect::OWN))
    }
}

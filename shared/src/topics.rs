//! The catalogue's desk: what topics there are, and what the operator says of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    catalogue::Catalogue,
    dialect,
    error::Error,
    model::{CustomTopic, Topic},
    operation::{Outcome, Page, PageRequest, TopicDraft, TopicEntry},
    ports::Ports,
    schema::{self, Schema},
};

/// Topics that operators may add.
const MAX_TOPICS: usize = 500;
/// What is kept of a topic at most, in bytes of JSON: a store's item has bounds, and each function keeps them all.
const MAX_SIZE: usize = 64 * 1024;

/// Lists all topics by name.
pub async fn list(ports: &Ports, page: &PageRequest) -> Result<Outcome, Error> {
    let catalogue = ports.store.catalogue().await?;
    let built_in = dialect::ALL.iter().flat_map(|dialect| dialect.table().topics());
    let all: BTreeSet<&Topic> = built_in.map(|entry| &entry.topic).chain(catalogue.custom().keys()).collect();
    let after = |topic: &&&Topic| page.after.as_deref().is_none_or(|after| topic.as_str() > after);
    let mut rest = all.iter().filter(after);
    let items: Vec<_> = rest.by_ref().take(page.limit).map(|topic| entry(&catalogue, topic)).collect();
    let next = if rest.next().is_some() { items.last().map(|last| last.topic.to_string()) } else { None };
    Ok(Outcome::Topics(Page { items, next }))
}

/// Reads a topic.
pub async fn get(ports: &Ports, topic: &Topic) -> Result<Outcome, Error> {
    let catalogue = ports.store.catalogue().await?;
    let known = catalogue.custom().contains_key(topic)
        || dialect::ALL.iter().any(|dialect| dialect.table().entry(topic).is_some());
    if !known {
        return Err(Error::NotFound("topic"));
    }
    Ok(Outcome::Topic(Box::new(entry(&catalogue, topic))))
}

/// Keeps what the operator says of a topic, in the place of what he said before.
pub async fn put(ports: &Ports, draft: TopicDraft) -> Result<Outcome, Error> {
    let catalogue = ports.store.catalogue().await?;
    let before = catalogue.custom().get(&draft.topic);
    if before.is_none() && catalogue.custom().len() >= MAX_TOPICS {
        return Err(Error::Quota(format!("there may be {MAX_TOPICS} topics of the operator's")));
    }
    if let Some(schema) = &draft.schema {
        Schema::compile(schema)?;
    }
    for (dialect, name) in &draft.names {
        judge_name(&catalogue, &draft.topic, dialect, name)?;
    }
    for name in draft.samples.keys() {
        dialect::named(name)
            .map_err(|_| Error::invalid("samples", format!("no dialect is called {name:?}")))?;
    }
    let now = ports.clock.now();
    let custom = CustomTopic {
        topic: draft.topic,
        description: draft.description,
        schema: draft.schema,
        names: draft.names,
        sample: draft.sample,
        samples: draft.samples,
        created_at: before.map_or(now, |before| before.created_at),
        updated_at: now,
    };
    let size = serde_json::to_vec(&custom).map_or(usize::MAX, |written| written.len());
    if size > MAX_SIZE {
        return Err(Error::TooLarge(format!("a topic must be at most {MAX_SIZE} bytes in all")));
    }
    ports.store.put_topic(&custom).await?;
    let topic = custom.topic.clone();
    let others = catalogue.custom().values().filter(|other| other.topic != topic).cloned();
    Ok(Outcome::Topic(Box::new(entry(&Catalogue::new(others.chain([custom])), &topic))))
}

/// Forgets what the operator said of a topic.
pub async fn delete(ports: &Ports, topic: &Topic) -> Result<Outcome, Error> {
    if ports.store.remove_topic(topic).await? { Ok(Outcome::Deleted) } else { Err(Error::NotFound("topic")) }
}

/// A name must be new to its dialect, which must have none of its own for the topic.
fn judge_name(catalogue: &Catalogue, topic: &Topic, dialect: &str, name: &str) -> Result<(), Error> {
    let wrong = |reason: String| Err(Error::invalid(format!("names/{dialect}"), reason));
    let Ok(known) = dialect::named(dialect) else {
        return Err(Error::invalid("names", format!("no dialect is called {dialect:?}")));
    };
    if known.name() == dialect::OWN.name() {
        return wrong("cannot be given: our own API uses the topic itself".to_owned());
    }
    if name.len() > 128 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:/.-".contains(&b)) {
        return wrong("must be at most 128 letters, digits and _ : / . -".to_owned());
    }
    if !known.may_name(name) {
        return wrong("cannot be a name of this dialect's".to_owned());
    }
    if let Some(own) = known.table().own_name(topic) {
        return wrong(format!("cannot be given: the dialect calls it {own:?}"));
    }
    match catalogue.canonical(known, name) {
        Some(other) if other != *topic => wrong(format!("is the name of {other} already")),
        _ => Ok(()),
    }
}

fn entry(catalogue: &Catalogue, topic: &Topic) -> TopicEntry {
    let custom = catalogue.custom().get(topic).cloned();
    let own = dialect::OWN.table();
    let described = own.entry(topic).and_then(|entry| entry.more.get("description")?.as_str());
    let description = custom.as_ref().and_then(|custom| custom.description.as_deref()).or(described);
    let others = || dialect::ALL.iter().filter(|dialect| dialect.name() != dialect::OWN.name());
    let names = others()
        .filter_map(|dialect| Some((dialect.name(), catalogue.own_name(*dialect, topic)?.to_owned())));
    let names: BTreeMap<_, _> = names.collect();
    let samples = others()
        .filter(|dialect| names.contains_key(dialect.name()))
        .filter_map(|dialect| Some((dialect.name(), catalogue.sample(*dialect, topic)?)));
    let samples = samples.collect();
    let sample = custom.as_ref().and_then(|custom| custom.sample.clone());
    let sample = sample.or_else(|| catalogue.sample(dialect::OWN, topic)).unwrap_or(Value::Null);
    let schema = custom.as_ref().and_then(|custom| custom.schema.clone());
    TopicEntry {
        topic: topic.clone(),
        description: description.unwrap_or_default().to_owned(),
        schema: schema.unwrap_or_else(|| schema::of_sample(&sample)),
        custom,
        names,
        sample,
        samples,
    }
}

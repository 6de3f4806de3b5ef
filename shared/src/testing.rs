//! Test events: a sample, sent at once and told of at once. Nothing is queued, counted or kept.

use std::{future::ready, sync::Arc};

use serde_json::json;

use crate::{
    access::Principal,
    bucket::{Bucket, Poured},
    catalogue::Catalogue,
    deliver,
    dialect::{self, Dialect, Posting},
    error::Error,
    in_force::InForce,
    model::{DeliveryId, Event, Metadata, Payload, Payloads, Topic, TopicPattern, Webhook},
    operation::{Asked, Outcome, Selector, TestDraft, Tested},
    ports::{Ports, Post, Target},
    verdict, webhooks,
};

/// What a webhook that subscribes to everything is sent.
const PING: &str = "test.ping";
/// What a tenant may send of them: more than anybody clicks, and too few to trouble whoever's URL it is.
const TESTS: Bucket = Bucket { capacity: 20, leak: 1 };

/// Sends a webhook, active or not, a test event.
pub async fn send(
    ports: &Ports,
    post: &dyn Post,
    principal: &Principal,
    asked: &Asked,
    which: &Selector,
    draft: TestDraft,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let mut webhook = webhooks::find(ports, &tenant, asked, which).await?;
    let bucket = format!("tests-of-{tenant}");
    if let Poured::Full { wait } = ports.store.pour(&bucket, TESTS, ports.clock.now()).await? {
        return Err(Error::throttled(wait));
    }
    if let Some(url) = &draft.url {
        webhook.url = Some(webhooks::target(ports, url)?);
    }
    if webhook.url.is_none() {
        return Err(Error::Conflict("this webhook is polled: nothing is sent to it".into()));
    }
    let credentials = match ports.store.target(&tenant, webhook.id).await? {
        Some(target) => target.credentials.clone(),
        None => None,
    };
    let dialect = dialect::named(&webhook.dialect)?;
    let catalogue = ports.store.catalogue().await?;
    let topic = draft.topic.map_or_else(|| topic_for(dialect, &catalogue, &webhook), Ok)?;
    let sample = catalogue.sample(dialect, &topic).unwrap_or_else(|| json!({}));
    let event = event(ports, &webhook, topic, &sample)?;
    let target = Target { webhook, credentials };
    let posting = Posting {
        target: &target,
        event: &event,
        topic: catalogue.own_name(dialect, &event.topic).unwrap_or(event.topic.as_str()),
        payload: &event.payload,
        is_test: true,
        delivery: DeliveryId { webhook: target.webhook.id, event: event.uid },
        attempt: 1,
        // Outside of the numbering, in which a receiver looks for gaps.
        sequence: Some(0),
        now: event.accepted_at,
    };
    let exchange = deliver::exchange(post, dialect, &posting, Box::pin(ready(()))).await;
    let rules = InForce::new(dialect, &target.webhook.rules);
    let verdict = verdict::judge(&exchange, &rules, ports.clock.now());
    let attempt = deliver::attempt(exchange, verdict, 1, event.accepted_at, true);
    Ok(Outcome::Tested(Box::new(Tested { number: target.webhook.number, topic: event.topic, attempt })))
}

/// The dialect's own kind of test, or else the first topic of the webhook.
fn topic_for(dialect: &dyn Dialect, catalogue: &Catalogue, webhook: &Webhook) -> Result<Topic, Error> {
    if let Some(topic) = dialect.test_topic() {
        return Ok(topic);
    }
    let known = match webhook.topics.first() {
        Some(TopicPattern::One(topic)) => Some(topic),
        Some(under @ TopicPattern::Under(_)) => {
            catalogue.own_names(dialect).map(|(topic, _)| topic).find(|topic| under.takes(topic))
        }
        Some(TopicPattern::All) | None => None,
    };
    let ping = || PING.parse().map_err(|error| Error::Internal(format!("a topic of ours: {error}")));
    known.map_or_else(ping, |topic| Ok(topic.clone()))
}

fn event(ports: &Ports, webhook: &Webhook, topic: Topic, sample: &serde_json::Value) -> Result<Event, Error> {
    let now = ports.clock.now();
    let uid = ports.dice.uuid(now);
    let id = format!("evt_test_{}", uid.simple());
    Ok(Event {
        tenant: webhook.tenant.clone(),
        id: id.parse().map_err(|error| Error::Internal(format!("an event id of ours: {error}")))?,
        uid,
        topic,
        payload: Payload::from_store(sample.to_string()),
        payloads: Payloads::new(),
        metadata: Metadata::new(),
        occurred_at: Some(now),
        accepted_at: now,
        webhooks: Arc::from([webhook.id]),
        ordering_key: None,
        ordered: Vec::new(),
    })
}

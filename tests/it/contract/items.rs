//! What an older release wrote to `DynamoDB` is read, with defaults for what it did not write.
//!
//! `tests/items/` has a file for each release: one item of each kind, with no attribute more than that release always
//! wrote. A released file is not changed; what is sealed, by a key that is each test's own, is put in here.

use std::collections::HashMap;

use aws_sdk_dynamodb::{Client, primitives::Blob, types::AttributeValue};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use postrider::{
    model::{DeliveryState, State, TenantId, Webhook, WebhookId},
    operation::Sought,
    ports::{Deliveries, Events, Healths, Keys, Webhooks},
};
use postrider_aws::Engine;
use serde_json::Value;

use super::{
    Servers, World,
    samples::{MANY, V1, added, all, attempted, kept_tenant, now, secs, topic, webhook},
};

const RELEASES: [&str; 1] = [include_str!("../../items/0.1.json")];
const WEBHOOK: &str = "wh_01a2007d1e4570008000000000000003";

/// A value in `DynamoDB`'s JSON.
fn value(json: &Value) -> AttributeValue {
    let (kind, json) = json.as_object().unwrap().iter().next().unwrap();
    match (&**kind, json) {
        ("S", Value::String(text)) => AttributeValue::S(text.clone()),
        ("N", Value::String(number)) => AttributeValue::N(number.clone()),
        ("B", Value::String(bytes)) => AttributeValue::B(Blob::new(BASE64_STANDARD.decode(bytes).unwrap())),
        ("BOOL", Value::Bool(is)) => AttributeValue::Bool(*is),
        ("L", Value::Array(list)) => AttributeValue::L(list.iter().map(value).collect()),
        _ => panic!("{kind} {json}"),
    }
}

/// The sealed secrets of a webhook with that id, as the engine writes them.
async fn sealed(engine: &Engine, db: &Client, table: &str) -> (Webhook, AttributeValue) {
    let tenant = kept_tenant(engine).await;
    let made = Webhook { id: WEBHOOK.parse().unwrap(), ..webhook(&tenant, V1, &["order.created"]) };
    let made = added(engine.add_webhook(&made, false, MANY).await.unwrap());
    let (pk, sk) = (format!("tenant#{tenant}"), format!("webhook#{WEBHOOK}"));
    let get =
        db.get_item().table_name(table).key("pk", AttributeValue::S(pk)).key("sk", AttributeValue::S(sk));
    let item = get.send().await.unwrap().item.unwrap();
    (made, item["secrets"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_release_wrote_is_read() {
    for release in RELEASES {
        let (settings, _) = World::provision().await;
        let config = Servers::shared().config();
        let (engine, db) = (Engine::new(&config, settings.clone()), Client::new(&config));
        let (sealed, secrets) = sealed(&engine, &db, &settings.webhooks_table).await;
        let kept: HashMap<String, Vec<HashMap<String, Value>>> = serde_json::from_str(release).unwrap();
        let tables = HashMap::from([
            ("webhooks", &settings.webhooks_table),
            ("keys", &settings.keys_table),
            ("events", &settings.events_table),
            ("deliveries", &settings.deliveries_table),
        ]);
        for (table, item) in
            kept.iter().flat_map(|(table, items)| items.iter().map(move |item| (table, item)))
        {
            let mut item: HashMap<_, _> =
                item.iter().map(|(name, json)| (name.clone(), value(json))).collect();
            if item.contains_key("body") {
                item.insert("secrets".into(), secrets.clone());
            }
            db.put_item().table_name(tables[&**table]).set_item(Some(item)).send().await.unwrap();
        }
        is_read(&engine, &sealed).await;
    }
}

async fn is_read(engine: &Engine, sealed: &Webhook) {
    let (tenant, webhook): (TenantId, WebhookId) = ("acme".parse().unwrap(), WEBHOOK.parse().unwrap());
    assert_eq!(engine.tenant(&tenant).await.unwrap().unwrap().name, "Bên bán «1» ☃");
    assert!(engine.tenants(&all()).await.unwrap().items.iter().any(|listed| listed.id == tenant));
    let key = engine.key_now(&"0000000000000004".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((key.tenant.as_ref(), key.expires_at), (Some(&tenant), None));

    let found = engine.webhook(&tenant, webhook).await.unwrap().unwrap();
    assert_eq!((&found.state, &found.secrets), (&State::Active, &sealed.secrets));
    assert_eq!((found.name.as_deref(), &found.filter), (None, &None));
    assert_eq!(engine.numbered(&tenant, 1).await.unwrap(), Some(found.clone()));
    let subscribers = engine.matching(&tenant, &topic("order.created")).await.unwrap().unwrap();
    assert_eq!(*subscribers.all, [webhook]);
    assert_eq!(engine.target(&tenant, webhook).await.unwrap().unwrap().webhook, found);
    assert_eq!(engine.health(&tenant, webhook).await.unwrap().failures, 1);
    assert_eq!(engine.strain(&tenant, webhook, now()).await.unwrap().failures, 2);

    let event = engine.event(&tenant, &"order:1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(event.payload.as_bytes()[..], *br#"{ "price": 1.10 }"#);
    assert_eq!((event.occurred_at, event.webhooks.len()), (None, 1));
    let listed = engine.deliveries(&tenant, webhook, &Sought::default(), &all()).await.unwrap().items;
    let [delivery] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((delivery.probes, delivery.parked_at, delivery.attempts.len()), (0, None, 1));
    assert_eq!(engine.sequence(delivery.id).await.unwrap(), 7);
    assert_eq!(engine.tallies(&[webhook]).await.unwrap()[0].sent, 9);

    // And what it left to be done goes on.
    let due = engine.due(now() + secs(86_400 * 3650), now() + secs(86_400 * 3651), 10).await.unwrap();
    assert_eq!(due.iter().map(|hint| (hint.delivery, hint.attempt)).collect::<Vec<_>>(), [(delivery.id, 2)]);
    let done = attempted(delivery, DeliveryState::Delivered, None);
    assert!(engine.record(&done, None).await.unwrap());
    assert_eq!(engine.delivery(&tenant, done.id).await.unwrap(), Some(done));
    assert!(engine.remove_webhook(&tenant, webhook).await.unwrap());
}

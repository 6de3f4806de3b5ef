//! What operators say of topics.

use std::collections::BTreeMap;

use postrider::model::CustomTopic;
use serde_json::json;

use super::{World, on_every_engine, samples::*};

on_every_engine!(a_topic_is_kept_replaced_and_forgotten, dialects_are_told_without_secrets);

fn custom(name: &str) -> CustomTopic {
    CustomTopic {
        topic: topic(name),
        description: Some("Có gì đó ☃".into()),
        schema: Some(json!({ "type": "object", "required": ["id"] })),
        names: [("sapo".to_owned(), "reviews/create".to_owned())].into(),
        sample: Some(json!({ "id": 1.5 })),
        samples: [("sapo".to_owned(), json!(null))].into(),
        created_at: now(),
        updated_at: now() + secs(1),
    }
}

async fn a_topic_is_kept_replaced_and_forgotten(world: &World) {
    let kept = async |world: &World| world.store.catalogue().await.unwrap().custom().clone();
    assert_eq!(kept(world).await, BTreeMap::new());
    let review = custom("review.created");
    let bare = CustomTopic {
        description: None,
        schema: None,
        names: BTreeMap::new(),
        sample: None,
        samples: BTreeMap::new(),
        ..custom("a.b")
    };
    for topic in [&review, &bare] {
        world.store.put_topic(topic).await.unwrap();
    }
    let both: BTreeMap<_, _> =
        [&review, &bare].map(|topic| (topic.topic.clone(), topic.clone())).into_iter().collect();
    assert_eq!(kept(world).await, both, "a write of this process is seen at once");
    assert_eq!(kept(&world.next_process()).await, both);

    let changed = CustomTopic { description: Some("Other".into()), ..review.clone() };
    world.store.put_topic(&changed).await.unwrap();
    assert_eq!(kept(world).await[&changed.topic], changed);
    assert_eq!(world.store.remove_topic(&review.topic).await, Ok(true));
    assert_eq!(world.store.remove_topic(&review.topic).await, Ok(false));
    assert_eq!(kept(world).await.into_keys().collect::<Vec<_>>(), [bare.topic]);
}

async fn dialects_are_told_without_secrets(world: &World) {
    let tenant = kept_tenant(&*world.store).await;
    let mut ids = Vec::new();
    for dialect in ["sapo", TIKI, "sapo"] {
        let webhook = webhook(&tenant, dialect, &["a.b"]);
        ids.push(added(world.store.add_webhook(&webhook, false, MANY).await.unwrap()).id);
    }
    ids.push(some_webhook());
    let told = world.store.dialects(&tenant, &ids).await.unwrap();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["sapo", "tiki"]);
    let many: Vec<_> = (0..150).map(|_| some_webhook()).chain(ids).collect();
    assert_eq!(world.store.dialects(&tenant, &many).await.unwrap().len(), 2);
    assert!(world.store.dialects(&tenant_id(), &many).await.unwrap().is_empty(), "another tenant's");
}

//! Events that go to very many webhooks.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use postrider_tests::{receiver::Receiver, world::World};
use serde_json::json;

#[tokio::test]
async fn an_event_reaches_each_of_very_many_webhooks_once() {
    let (tenant, receiver) = (World::shared().tenant("wide").await, Receiver::ok().await);
    let (tenant, receiver) = (&tenant, &receiver);
    let register =
        stream::iter(0..250).map(async |n| tenant.webhook(&receiver.url(&format!("/{n}")), &["*"]).await);
    register.buffer_unordered(16).collect::<Vec<_>>().await;
    let receipt = tenant.client.post("/v1/events", &json!({ "topic": "order.created" })).await.expect(202);
    assert_eq!(receipt["deliveries"], 250);
    let arrived = receiver.wait(250).await;
    let paths: BTreeSet<_> = arrived.iter().map(|one| one.path.clone()).collect();
    assert_eq!((arrived.len(), paths.len()), (250, 250));
}

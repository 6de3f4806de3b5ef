//! The runner stops and starts: what it knew, it knows again.

use std::time::Duration;

use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::text,
    world::{Options, World},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_finishes_what_is_under_way() {
    let world = World::start(Options::default());
    let slow = Receiver::start(|_| Reply::Late(Duration::from_secs(2), Box::new(Reply::status(200)))).await;
    let tenant = world.tenant("stopped").await;
    let webhook = tenant.webhook(&slow.url("/"), &["*"]).await;
    let secret = text(&webhook, "secret");
    let event = json!({ "id": "e-1", "topic": "order.created", "payload": 1 });
    let receipt = tenant.client.post("/v1/events", &event).await.expect(202);
    slow.wait(1).await;
    let status = world.terminate();
    assert!(status.success(), "{status}: {}", world.log());
    world.restart();

    let tenant = postrider_tests::tenant::Tenant { client: world.client().bearer(&tenant.key), ..tenant };
    let delivery = tenant.attempted(text(&webhook, "id"), "e-1", 1).await;
    assert_eq!(delivery["state"], "delivered", "the attempt was finished and put on record");
    assert_eq!(tenant.client.post("/v1/events", &event).await.expect(202), receipt, "the event is known");
    tenant.client.put("/v1/credentials", &json!({ "id": "a", "secret": "b" })).await.expect(204);
    let next = tenant.publish("order.created", json!(2)).await;
    tenant.attempted(text(&webhook, "id"), &next, 1).await;
    let requests = slow.arrived();
    assert_eq!(requests.len(), 2, "nothing is delivered twice");
    assert!(requests[1].verifies(secret), "the secret opens again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_registered_outlives_a_kill() {
    let world = World::start(Options::default());
    let receiver = Receiver::ok().await;
    let tenant = world.tenant("killed").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["order.created"]).await;
    tenant.tiki_webhook(&receiver.url("/tiki"), "product:request:locked").await;
    tenant.client.put("/v1/credentials", &json!({ "id": "me", "secret": "hush" })).await.expect(204);
    let event = tenant.publish("order.created", json!(1)).await;
    tenant.attempted(text(&webhook, "id"), &event, 1).await;
    let before = tenant.snapshot().await;
    // At once after its answer: what was answered is on disk.
    let late = tenant.new_key(&json!({ "scopes": ["manage"] })).await;
    world.kill();
    world.restart();
    let after = postrider_tests::tenant::Tenant {
        client: world.client().bearer(&late),
        operator: world.operator(),
        ..tenant.clone()
    };
    let mut shown = after.snapshot().await;
    let keys = format!("/v1/tenants/{}/keys?limit=250", tenant.id);
    assert_eq!(shown[&keys]["data"].as_array().unwrap().len(), 2);
    shown[&keys] = before[&keys].clone();
    assert_eq!(shown, before);
    let publisher = world.client().bearer(&tenant.key);
    publisher.post("/v1/events", &json!({ "topic": "product:request:locked" })).await.expect(202);
    let last = receiver.wait(2).await.pop().unwrap();
    assert_eq!((last.path.as_str(), last.header("authorization")), ("/tiki", Some("Basic bWU6aHVzaA==")));
}

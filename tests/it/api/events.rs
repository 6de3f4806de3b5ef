//! Publishing.

use bytes::Bytes;
use http::{HeaderMap, Method};
use postrider_tests::{
    receiver::Receiver,
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

#[tokio::test]
async fn an_event_reaches_the_webhooks_of_its_topic() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("topics").await;
    for (path, topics) in [
        ("/created", &["order.created"][..]),
        ("/both", &["order.created", "order.paid"]),
        ("/all", &["*"]),
        ("/tiki", &["product:request:approved"]),
    ] {
        tenant.webhook(&receiver.url(path), topics).await;
    }
    let mut sent = Vec::new();
    for (topic, paths) in [
        ("order.created", &["/all", "/both", "/created"][..]),
        ("order.paid", &["/all", "/both"]),
        ("order.deleted", &["/all"]),
        ("product_request.approved", &["/all", "/tiki"]),
        ("product:request:approved", &["/all", "/tiki"]),
    ] {
        let receipt = tenant.client.post("/v1/events", &json!({ "topic": topic })).await.expect(202);
        assert_eq!(receipt["deliveries"], paths.len(), "{topic}");
        sent.extend(paths.iter().map(|path| ((*path).to_owned(), text(&receipt, "id").to_owned())));
    }
    let requests = receiver.wait(sent.len()).await;
    let mut arrived: Vec<_> =
        requests.iter().map(|r| (r.path.clone(), r.header("webhook-id").unwrap().to_owned())).collect();
    arrived.sort();
    sent.sort();
    assert_eq!(arrived, sent);
}

#[tokio::test]
async fn a_message_says_what_happened() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("message").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event = json!({
        "id": "order-7:created", "topic": "product:request:locked", "occurred_at": "2020-02-02T12:00:00+07:00",
        "payload": { "größe": [1, null] },
    });
    let receipt = tenant.client.post("/v1/events", &event).await.expect(202);
    assert_eq!(receipt, json!({ "id": "order-7:created", "deliveries": 1 }));
    let request = receiver.first().await;
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("webhook-id"), Some("order-7:created"));
    let message = json!({
        "id": "order-7:created", "type": "product_request.locked", "timestamp": "2020-02-02T05:00:00Z",
        "data": { "größe": [1, null] },
    });
    assert_eq!(request.json(), message);
}

#[tokio::test]
async fn a_payload_arrives_as_it_was_written() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("verbatim").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    // Order, digits and escapes are the publisher's; so is a number that no machine word holds.
    let payload = r#"{"z":1.10,"a":1e2,"n":123456789012345678901234567890,"e":"\u00e9\/é"}"#;
    let body = format!(r#"{{"topic":"order.created","payload":{payload}}}"#);
    let none = HeaderMap::new();
    tenant.client.send_bytes(Method::POST, "/v1/events", Some(Bytes::from(body)), &none).await.expect(202);
    let request = receiver.first().await;
    assert!(String::from_utf8_lossy(&request.body).contains(payload), "{:?}", request.body);

    for empty in [json!({ "topic": "order.created" }), json!({ "topic": "order.created", "payload": null })] {
        tenant.client.post("/v1/events", &empty).await.expect(202);
    }
    for request in &receiver.wait(3).await[1..] {
        assert_eq!(request.json()["data"], Value::Null);
    }
}

async fn count(tenant: &Tenant, webhook: &str) -> usize {
    tenant.deliveries(webhook).await.len()
}

#[tokio::test]
async fn the_same_event_again_is_answered_alike_and_delivered_once() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("again").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let webhook = text(&webhook, "id");
    let event = json!({ "id": "e-1", "topic": "order.created", "payload": { "a": 1, "b": [2] } });
    let first = tenant.client.post("/v1/events", &event).await.expect(202);
    // Neither order nor spacing of the payload, nor the dialect of the topic, makes it another event.
    let spaced = r#" { "payload": { "b":[ 2 ], "a":1 }, "topic":"order.created", "id":"e-1" } "#;
    for _ in 0..3 {
        let answer = tenant
            .client
            .send_bytes(Method::POST, "/v1/events", Some(spaced.into()), &HeaderMap::new())
            .await;
        assert_eq!(answer.expect(202), first);
    }
    // A webhook that came later does not change the answer, nor who gets the event.
    tenant.webhook(&receiver.url("/later"), &["*"]).await;
    assert_eq!(tenant.client.post("/v1/events", &event).await.expect(202), first);

    for other in [
        json!({ "id": "e-1", "topic": "order.created", "payload": { "a": 2, "b": [2] } }),
        json!({ "id": "e-1", "topic": "order.paid", "payload": { "a": 1, "b": [2] } }),
        json!({ "id": "e-1", "topic": "order.created" }),
        json!({ "id": "e-1", "topic": "order.created", "payload": { "a": 1, "b": [2] },
                "occurred_at": "2020-01-01T00:00:00Z" }),
    ] {
        let problem = tenant.client.post("/v1/events", &other).await.expect(409);
        assert_eq!(problem["type"], "urn:postrider:problem:conflict");
    }
    tenant.attempted(webhook, "e-1", 1).await;
    // What is published after it arrives after it: by then a second delivery would have been made too.
    let marker = tenant.publish("order.created", json!("marker")).await;
    tenant.attempted(webhook, &marker, 1).await;
    let ids: Vec<_> = receiver.arrived().iter().map(|r| r.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.iter().filter(|id| *id == "e-1").count(), 1, "{ids:?}");
    assert_eq!(count(&tenant, webhook).await, 2);
}

#[tokio::test]
async fn an_id_is_its_tenants_own() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    for payload in [1, 2] {
        let tenant = world.tenant("ids").await;
        tenant.webhook(&receiver.url("/"), &["*"]).await;
        let event = json!({ "id": "same", "topic": "order.created", "payload": payload });
        tenant.client.post("/v1/events", &event).await.expect(202);
    }
    receiver.wait(2).await;
}

#[tokio::test]
async fn of_one_event_published_by_many_at_once_one_is_delivered() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("race").await;
    let webhook = tenant.webhook(&receiver.url("/"), &["*"]).await;
    let event = json!({ "id": "race", "topic": "order.created", "payload": 1 });
    let answers = futures::future::join_all((0..20).map(|_| tenant.client.post("/v1/events", &event))).await;
    for answer in answers {
        assert_eq!(answer.expect(202), json!({ "id": "race", "deliveries": 1 }));
    }
    let marker = tenant.publish("order.created", json!("marker")).await;
    tenant.attempted(text(&webhook, "id"), &marker, 1).await;
    tenant.attempted(text(&webhook, "id"), "race", 1).await;
    assert_eq!(receiver.arrived().len(), 2);
}

#[tokio::test]
async fn each_event_of_a_batch_has_a_result_of_its_own() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("batch").await;
    tenant.webhook(&receiver.url("/"), &["order.created"]).await;
    let batch = json!([
        { "id": "b-1", "topic": "order.created", "payload": 1 },
        { "id": "b-1", "topic": "order.created", "payload": 1 },
        { "id": "b-1", "topic": "order.created", "payload": 2 },
        { "topic": "No Such Topic" },
        { "id": "b 2", "topic": "order.created" },
        { "topic": "order.created", "colour": "red" },
        { "tenant": "somebody-else", "topic": "order.created" },
        { "id": "b-3", "topic": "order.paid" },
        5,
        ["batch", "order.created", 1, "b-4", null],
    ]);
    let answer = tenant.client.post("/v1/events", &batch).await.expect(202);
    let results = answer["events"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 202, 409, 422, 422, 422, 403, 202, 400, 400], "{answer}");
    assert_eq!(results[0], json!({ "status": 202, "id": "b-1", "deliveries": 1 }));
    assert_eq!(results[1], results[0], "the same again in one batch");
    assert_eq!(results[7], json!({ "status": 202, "id": "b-3", "deliveries": 0 }));
    assert_eq!((&results[3]["field"], &results[4]["field"]), (&json!("topic"), &json!("id")));
    assert!(text(&results[5], "detail").contains("colour"), "{answer}");
    receiver.wait(1).await;

    let one = tenant.client.post("/v1/events", &json!([{ "topic": "order.created" }])).await.expect(202);
    assert_eq!(one["events"][0]["deliveries"], 1, "a batch of one is a batch");
    let none = tenant.client.post("/v1/events", &json!([{ "topic": "?" }, 5])).await.expect(422);
    assert_eq!(none["events"].as_array().unwrap().len(), 2, "where none is accepted, the first one's status");
    let requests = receiver.wait(2).await;
    assert_eq!(requests.len(), 2, "b-1 once, and the batch of one");
}

#[tokio::test]
async fn a_batch_has_one_to_a_hundred_events() {
    let tenant = World::shared().tenant("hundred").await;
    for (size, status) in [(0, 422), (1, 202), (100, 202), (101, 422)] {
        let batch: Vec<_> = (0..size).map(|n| json!({ "topic": "order.created", "payload": n })).collect();
        let answer = tenant.client.post("/v1/events", &json!(batch)).await;
        assert_eq!(answer.status, status, "{size}: {answer}");
    }
}

#[tokio::test]
async fn an_event_without_an_id_gets_one() {
    let tenant = World::shared().tenant("nameless").await;
    let body = json!({ "topic": "order.created" });
    let one = tenant.client.post("/v1/events", &body).await.expect(202);
    let two = tenant.client.post("/v1/events", &body).await.expect(202);
    assert_ne!(one["id"], two["id"], "without an id, each is another event");
    assert!(text(&one, "id").starts_with("evt_"));
    // The id that we gave can be given back.
    let again = json!({ "id": one["id"], "topic": "order.created" });
    assert_eq!(tenant.client.post("/v1/events", &again).await.expect(202), one);
}

#[tokio::test]
async fn a_payload_may_be_a_hundred_levels_deep() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("deep").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    let publish = async |depth: usize, field: &str| {
        let payload = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"topic":"order.created",{field}{payload}}}"#);
        let body = if field.ends_with('{') { format!("{body}}}") } else { body };
        let body = body.replacen(r#""payloads":{"#, r#""payloads":{"sapo":"#, 1);
        let none = HeaderMap::new();
        tenant.client.send_bytes(Method::POST, "/v1/events", Some(Bytes::from(body)), &none).await
    };
    for (field, named) in [(r#""payload":"#, "payload"), (r#""payloads":{"#, "payloads")] {
        for depth in [101, 100_000] {
            let refused = publish(depth, field).await.expect(422);
            assert_eq!(refused["field"], named, "{refused}");
        }
        assert_eq!(publish(100, field).await.expect(202)["deliveries"], 1);
    }
    let deepest = "[".repeat(100) + &"]".repeat(100);
    let arrived = receiver.wait(2).await;
    assert!(arrived.iter().any(|request| String::from_utf8_lossy(&request.body).contains(&deepest)));
}

#[tokio::test]
async fn the_longest_payload_is_taken_and_delivered() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("long").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    let payload = "x".repeat(256 * 1024 - 2);
    tenant.publish("order.created", json!(payload)).await;
    assert_eq!(receiver.first().await.json()["data"], payload);
    let body = json!({ "topic": "order.created", "payload": "x".repeat(256 * 1024 - 1) });
    let problem = tenant.client.post("/v1/events", &body).await.expect(413);
    assert_eq!(problem["type"], "urn:postrider:problem:too-large");
}

//! Tenants, the operator's desk.

use postrider_tests::{client::Client, receiver::Receiver, world::World};
use serde_json::json;

#[tokio::test]
async fn health_needs_no_key() {
    let answer = World::shared().client().get("/v1/health").await;
    assert_eq!(answer.expect(200), json!({ "status": "ok" }));
}

#[tokio::test]
async fn a_tenant_is_made_read_listed_and_deleted() {
    let operator = World::shared().operator();
    let made =
        operator.post("/v1/tenants", &json!({ "id": "shop.one_2", "name": "Cửa hàng" })).await.expect(201);
    assert_eq!((&made["id"], &made["name"]), (&json!("shop.one_2"), &json!("Cửa hàng")));
    assert!(made["created_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(operator.get("/v1/tenants/shop.one_2").await.expect(200), made);
    assert!(is_listed(&operator, "shop.one_2").await);

    let again = operator.post("/v1/tenants", &json!({ "id": "shop.one_2" })).await.expect(409);
    assert_eq!(again["type"], "urn:postrider:problem:conflict");
    assert_eq!(operator.get("/v1/tenants/shop.one_2").await.expect(200), made, "the first one stays");

    operator.delete("/v1/tenants/shop.one_2").await.expect(204);
    operator.get("/v1/tenants/shop.one_2").await.expect(404);
    operator.delete("/v1/tenants/shop.one_2").await.expect(404);
    assert!(!is_listed(&operator, "shop.one_2").await);
}

async fn is_listed(operator: &Client, id: &str) -> bool {
    let tenants = super::paging::walk(operator, "/v1/tenants", 250).await;
    tenants.iter().any(|tenant| tenant["id"] == id)
}

#[tokio::test]
async fn a_deleted_tenant_takes_everything_with_it() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("leaver").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    tenant.operator.delete(&format!("/v1/tenants/{}", tenant.id)).await.expect(204);

    tenant.client.get("/v1/webhooks").await.expect(401);
    let event = json!({ "tenant": tenant.id, "topic": "order.created" });
    tenant.operator.post("/v1/events", &event).await.expect(404);
    for path in ["/keys", ""] {
        tenant.operator.get(&format!("/v1/tenants/{}{path}", tenant.id)).await.expect(404);
    }
    tenant.operator.get(&format!("/v1/webhooks?tenant={}", tenant.id)).await.expect(404);

    // A tenant that comes back under the same id begins with nothing.
    tenant.operator.post("/v1/tenants", &json!({ "id": tenant.id })).await.expect(201);
    tenant.client.get("/v1/webhooks").await.expect(401);
    let webhooks = tenant.operator.get(&format!("/v1/webhooks?tenant={}", tenant.id)).await.expect(200);
    assert_eq!(webhooks["data"], json!([]));
    let keys = tenant.operator.get(&format!("/v1/tenants/{}/keys", tenant.id)).await.expect(200);
    assert_eq!(keys["data"], json!([]));
    assert_eq!(tenant.operator.post("/v1/events", &event).await.expect(202)["deliveries"], 0);
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn the_operator_names_the_tenant_and_a_tenant_need_not() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("named").await;
    let (url, topics) = (receiver.url("/"), ["order.created"]);
    let nameless = json!({ "url": url, "topics": topics });
    let problem = tenant.operator.post("/v1/webhooks", &nameless).await.expect(422);
    assert_eq!(problem["field"], "tenant");
    let named = json!({ "tenant": tenant.id, "url": url, "topics": topics });
    let webhook = tenant.operator.post("/v1/webhooks", &named).await.expect(201);
    assert_eq!(webhook["tenant"], tenant.id);
    let own = tenant.client.post("/v1/webhooks", &nameless).await.expect(201);
    assert_eq!(own["tenant"], tenant.id);
    tenant.client.post("/v1/webhooks", &named).await.expect(201);
}

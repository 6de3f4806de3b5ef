//! Lists and their cursors.

use std::collections::HashSet;

use postrider_tests::{client::Client, receiver::Receiver, tenant::text, world::World};
use serde_json::{Value, json};

/// Everything in a list, a page at a time.
pub(crate) async fn walk(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{path}?limit={limit}{cursor}")).await.expect(200);
        let items = page["data"].as_array().unwrap();
        assert!(items.len() <= limit, "{page}");
        all.extend(items.iter().cloned());
        match &page["next_cursor"] {
            Value::Null => return all,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
        assert!(!items.is_empty(), "a page that leads on has something on it");
    }
}

/// The pages together are the list: nothing twice, nothing missing, whatever the size of a page.
async fn check(client: &Client, path: &str, expected: &[String]) {
    for limit in [1, 2, 3, 5, 250] {
        let ids: Vec<_> =
            walk(client, path, limit).await.iter().map(|item| text(item, "id").to_owned()).collect();
        assert_eq!(ids, expected, "{path} by {limit}");
    }
}

#[tokio::test]
async fn a_list_is_the_same_whatever_its_pages() {
    let (world, receiver) = (World::shared(), Receiver::ok().await);
    let tenant = world.tenant("pages").await;
    let mut webhooks = Vec::new();
    for n in 0..5 {
        let webhook = tenant.webhook(&receiver.url(&format!("/{n}")), &["order.created"]).await;
        webhooks.push(text(&webhook, "id").to_owned());
    }
    check(&tenant.client, "/v1/webhooks", &webhooks).await;

    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(tenant.publish("order.created", json!({})).await);
    }
    receiver.wait(25).await;
    let mut newest_first = Vec::new();
    for event in events.iter().rev() {
        newest_first.push(text(&tenant.attempted(&webhooks[0], event, 1).await, "id").to_owned());
    }
    check(&tenant.client, &format!("/v1/webhooks/{}/deliveries", webhooks[0]), &newest_first).await;

    for _ in 0..4 {
        tenant.new_key(&json!({ "scopes": ["publish"] })).await;
    }
    let keys = format!("/v1/tenants/{}/keys", tenant.id);
    let all = walk(&tenant.operator, &keys, 250).await;
    let ids: Vec<_> = all.iter().map(|key| text(key, "id").to_owned()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 5);
    check(&tenant.operator, &keys, &ids).await;
}

#[tokio::test]
async fn a_walk_of_all_tenants_meets_each_once() {
    let world = World::shared();
    let mut own = HashSet::new();
    for _ in 0..4 {
        own.insert(world.tenant("crowd").await.id);
    }
    // Other tests make tenants meanwhile, so only these are looked for.
    let found: Vec<_> = walk(&world.operator(), "/v1/tenants", 3).await;
    let ids: Vec<_> = found.iter().map(|tenant| text(tenant, "id")).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(ids.iter().filter(|id| own.contains(**id)).count(), own.len());
}

#[tokio::test]
async fn a_page_that_makes_no_sense_is_refused() {
    let tenant = World::shared().tenant("nonsense").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=251", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("cursor=!!!", "cursor"),
        ("cursor=_w", "cursor"),
    ] {
        let problem = tenant.client.get(&format!("/v1/webhooks?{query}")).await.expect(422);
        assert_eq!(problem["field"], field, "{query}");
    }
    // A cursor of some other list may find nothing, but harms nothing.
    let answer = tenant.client.get("/v1/webhooks?cursor=AAAA").await;
    assert!(matches!(answer.status, 200 | 422), "{answer}");
}

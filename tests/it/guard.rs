//! Nothing reaches where it must not: a runner that may not deliver to this machine.

use std::{net::IpAddr, sync::OnceLock};

use futures::future::join_all;
use postrider_tests::{
    receiver::Receiver,
    tenant::text,
    world::{Options, World},
};
use serde_json::json;

/// The addresses that the guard's own tests judge.
const VECTORS: &str = include_str!("../../shared/src/guard_vectors.txt");

/// The document for people, in which the spellings of such hosts are.
const SPELLINGS: &str = include_str!("../../docs/ssrf.md");

/// Addresses, each with whether it must not be reached.
fn vectors() -> Vec<(IpAddr, bool)> {
    let lines = VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let mut words = line.split(' ');
        (words.next().unwrap().parse().unwrap(), words.next() == Some("refuse"))
    };
    lines.map(parse).collect()
}

fn forbidden() -> Vec<IpAddr> {
    vectors().into_iter().filter_map(|(address, refuse)| refuse.then_some(address)).collect()
}

/// Names that mean forbidden addresses, as a hostile name server would have it: `n0.test`, `n1.test`, …
fn guarded() -> &'static World {
    static GUARDED: OnceLock<World> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let names = forbidden().into_iter().enumerate();
        let mut args: Vec<_> = names.map(|(n, address)| format!("--resolve=n{n}.test={address}")).collect();
        args.push("--resolve=shop.test=127.0.0.1".to_owned());
        World::start(Options { private_targets: false, args, ..Options::default() })
    })
}

fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("http://{v4}/hook"),
        IpAddr::V6(v6) => format!("https://[{v6}]:8443/hook"),
    }
}

/// Whether each way of registering `url` is refused, or taken.
async fn check(url: &str, refused: bool) {
    let tenant = guarded().tenant("guard").await;
    let seller = tenant.client.tiki(&tenant.key);
    let own = tenant.client.post("/v1/webhooks", &json!({ "url": url, "topics": ["*"] })).await;
    let hook = json!({ "uri": url, "event": "product:request:locked" });
    let tiki = seller.post("/integration/v1/webhooks", &hook).await;
    if !refused {
        own.expect(201);
        tiki.expect(200);
        return;
    }
    let problem = own.expect(422);
    assert_eq!(
        (&problem["type"], &problem["field"]),
        (&json!("urn:postrider:problem:invalid"), &json!("url")),
        "{url}"
    );
    assert!(text(&problem, "detail").contains("private"), "{problem}");
    assert_eq!(tiki.expect(400)["error"]["message"], "Invalid URI", "{url}");

    // Nor can what was registered for a public place be moved to a private one.
    let public = json!({ "url": "https://example.com/", "topics": ["*"] });
    let webhook = tenant.client.post("/v1/webhooks", &public).await.expect(201);
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    assert_eq!(tenant.client.patch(&path, &json!({ "url": url })).await.expect(422)["field"], "url");
    let hook_before = json!({ "uri": "https://example.com/", "event": "product:request:locked" });
    seller.post("/integration/v1/webhooks", &hook_before).await.expect(200);
    assert_eq!(
        seller.put("/integration/v1/webhooks", &hook).await.expect(400)["error"]["message"],
        "Invalid URI"
    );
    let shown = tenant.client.get("/v1/webhooks").await.expect(200);
    let urls: Vec<_> = shown["data"].as_array().unwrap().iter().map(|webhook| text(webhook, "url")).collect();
    assert_eq!(urls, ["https://example.com/", "https://example.com/"]);
}

#[tokio::test]
async fn a_private_address_is_refused_at_registration() {
    for (address, refuse) in vectors() {
        check(&url(address), refuse).await;
    }
}

#[tokio::test]
async fn every_spelling_of_a_private_host_is_refused() {
    let hosts =
        SPELLINGS.split("\n## Hosts").nth(1).unwrap().lines().filter_map(|line| line.strip_prefix("| "));
    let hosts: Vec<_> = hosts.skip(2).map(|line| line.split(" | ").next().unwrap()).collect();
    assert!(hosts.len() > 30);
    for host in hosts {
        check(&format!("http://{host}/"), true).await;
    }
    for host in ["example.com", "localhost.example.com", "mylocal", "internal.example.org", "8.8.8.8"] {
        check(&format!("http://{host}/"), false).await;
    }
}

#[tokio::test]
async fn a_name_that_means_a_private_address_is_blocked_when_it_is_dialled() {
    let receiver = Receiver::ok().await;
    let port = receiver.address().port();
    let tenant = guarded().tenant("dial").await;
    let mut webhooks = Vec::new();
    let names = (0..forbidden().len()).map(|n| format!("n{n}.test"));
    for host in names.chain(["shop.test", "SHOP.test", "shop.test."].map(str::to_owned)) {
        // With TLS or without, it is judged before anything is said.
        for scheme in ["http", "https"] {
            let webhook = tenant.webhook(&format!("{scheme}://{host}:{port}/"), &["order.created"]).await;
            webhooks.push((host.clone(), text(&webhook, "id").to_owned()));
        }
    }
    let event = tenant.publish("order.created", json!({})).await;
    join_all(webhooks.iter().map(async |(host, webhook)| {
        let delivery = tenant.attempted(webhook, &event, 1).await;
        let attempt = &delivery["attempts"][0];
        assert_eq!(attempt["failure"], "blocked", "{host}: {delivery}");
        assert_eq!(attempt["detail"], "the address is private, local or otherwise special", "{host}");
        assert_eq!(delivery["state"], "pending", "{host}: the name may mean another place tomorrow");
        assert!(attempt["reply"].is_null(), "{host}: {delivery}");
    }))
    .await;
    assert_eq!(receiver.connections(), 0, "nothing was dialled");
}

#[tokio::test]
async fn the_same_names_are_dialled_where_that_is_allowed() {
    let receiver = Receiver::ok().await;
    let world = World::start(Options {
        args: vec!["--resolve=shop.test=127.0.0.1".to_owned()],
        ..Options::default()
    });
    let tenant = world.tenant("allowed").await;
    tenant.webhook(&format!("http://shop.test:{}/", receiver.address().port()), &["*"]).await;
    tenant.publish("order.created", json!({})).await;
    let host = format!("shop.test:{}", receiver.address().port());
    assert_eq!(receiver.first().await.header("host"), Some(host.as_str()));
}

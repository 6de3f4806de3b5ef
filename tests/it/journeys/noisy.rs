//! A dead or slow receiver, or a noisy tenant, does not delay the others.

use std::time::{Duration, Instant};

use postrider_tests::{
    receiver::{Receiver, Reply},
    world::World,
};
use serde_json::json;

#[tokio::test]
async fn receivers_that_hang_do_not_delay_the_others() {
    let world = World::start(postrider_tests::world::Options::default());
    let (hanging, quick) = (Receiver::start(|_| Reply::Never).await, Receiver::ok().await);
    let noisy = world.tenant("noisy").await;
    for path in ["/1", "/2", "/3", "/4"] {
        noisy.webhook(&hanging.url(path), &["*"]).await;
    }
    let batch: Vec<_> = (0..50).map(|n| json!({ "topic": "order.created", "payload": n })).collect();
    noisy.client.post("/v1/events", &json!(batch)).await.expect(202);
    hanging.wait(20).await;

    let other = world.tenant("quiet").await;
    other.webhook(&quick.url("/"), &["*"]).await;
    let began = Instant::now();
    for n in 1..=10 {
        other.publish("order.created", json!(n)).await;
        quick.wait(n).await;
    }
    // Far less than the 15 s for which the hanging ones hold on.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(hanging.arrived().len() <= 200);
}

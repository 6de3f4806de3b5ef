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
    tenant::text,
    world::{Options, World},
};
use serde_json::json;

use crate::api::paging::walk;

const SEED: u64 = 7;
const KILLS: usize = 24;
const PUBLISHERS: usize = 4;
const PATHS: [&str; 2] = ["/1", "/2"];
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
        let body =
            Bytes::from(json!({ "id": id, "topic": "order.created", "payload": { "n": n } }).to_string());
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
    let arrived: Arc<Mutex<HashMap<(String, String), usize>>> = Arc::default();
    let notes = arrived.clone();
    let receiver = Receiver::start(move |request| {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        *notes.lock().unwrap().entry((request.path.clone(), id)).or_default() += 1;
        Reply::status(200)
    })
    .await;
    let tenant = world.tenant("crash").await;
    let mut webhooks = Vec::new();
    for path in PATHS {
        let webhook = tenant.webhook(&receiver.url(path), &["*"]).await;
        webhooks.push(text(&webhook, "id").to_owned());
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

    let due: Vec<_> =
        PATHS.iter().flat_map(|path| accepted.iter().map(|id| ((*path).to_owned(), id.clone()))).collect();
    let missing = || {
        let arrived = arrived.lock().unwrap();
        due.iter().filter(|delivery| !arrived.contains_key(delivery)).cloned().collect::<Vec<_>>()
    };
    let end = Instant::now() + DRAIN;
    while !missing().is_empty() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let missing = missing();
    let arrivals: usize =
        due.iter().filter_map(|delivery| arrived.lock().unwrap().get(delivery).copied()).sum();
    println!(
        "{KILLS} kills (seed {SEED}): {} events accepted, {} of {} deliveries lost, {} made twice, in {:?}",
        accepted.len(),
        missing.len(),
        due.len(),
        arrivals.saturating_sub(due.len() - missing.len()),
        began.elapsed(),
    );
    assert!(missing.is_empty(), "seed {SEED}: lost {missing:?}");
    for webhook in &webhooks {
        is_on_record(&tenant.client, webhook, &accepted).await;
    }
    assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
}

/// Each accepted event is on record as delivered, too.
pub(super) async fn is_on_record(client: &Client, webhook: &str, accepted: &HashSet<String>) {
    poll::until(poll::SOON, "what was delivered is on record", async || {
        let deliveries = walk(client, &format!("/v1/webhooks/{webhook}/deliveries"), 250).await;
        let delivered = deliveries.iter().filter(|delivery| delivery["state"] == "delivered");
        let delivered: HashSet<_> = delivered.map(|delivery| text(delivery, "event")).collect();
        accepted.iter().all(|id| delivered.contains(id.as_str())).then_some(())
    })
    .await;
}

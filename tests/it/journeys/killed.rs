//! SIGKILL under load, with a receiver that takes a second over each request: nothing is lost, no more arrives twice than
//! was under way, and that goes on at once.

use std::{
    collections::HashMap,
    sync::{
        Arc,
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
    tenant::text,
    world::{Options, World},
};
use serde_json::json;

use super::crash::is_on_record;

const KILLS: usize = 2;
const PUBLISHERS: usize = 4;
/// How long each publisher pauses after an event: the load is to be what the receiver can take.
const PAUSE: Duration = Duration::from_millis(15);
/// How long the load lasts before each kill, and after the last.
const LOAD: Duration = Duration::from_millis(1500);
/// How long the receiver takes.
const TAKES: Duration = Duration::from_secs(1);
/// How long an answer may take to be on record.
const RECORDED: Duration = Duration::from_millis(500);
/// By when all that was stranded by a kill is under way again, after the runner answers again.
const RESUMED: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(20);

/// A kill, and when the runner answered again.
struct Kill {
    at: Instant,
    back: Instant,
}

/// Publishes one event after another, each until it is accepted; when each was.
async fn publish(client: Client, publisher: usize, stop: Arc<AtomicBool>) -> Vec<(String, Instant)> {
    let mut accepted = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("p{publisher}-{n}");
        let body = Bytes::from(json!({ "id": id, "topic": "order.created", "payload": {} }).to_string());
        loop {
            match client.try_send(Method::POST, "/v1/events", Some(body.clone()), &HeaderMap::new()).await {
                Ok(answer) if answer.status == 202 => break,
                Ok(answer) => panic!("{id}: {answer}"),
                // It is down, and may have taken it or not: the same again.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        accepted.push((id, Instant::now()));
        tokio::time::sleep(PAUSE).await;
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_kill_strands_goes_on_at_once() {
    let world = World::start(Options { log: "warn", ..Options::default() });
    let began = Instant::now();
    let receiver = Receiver::start(|_| Reply::Late(TAKES, Box::new(Reply::status(200)))).await;
    let tenant = world.tenant("killed").await;
    let webhook = tenant.webhook(&receiver.url("/slow"), &["*"]).await;

    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish(tenant.client.clone(), publisher, stop.clone())))
        .collect();
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(LOAD).await;
        let at = Instant::now();
        tokio::task::block_in_place(|| {
            world.kill();
            world.restart();
        });
        kills.push(Kill { at, back: Instant::now() });
    }
    tokio::time::sleep(LOAD).await;
    stop.store(true, Ordering::Relaxed);
    let mut accepted = HashMap::new();
    for publisher in publishers {
        accepted.extend(publisher.await.unwrap());
    }

    // A producer that publishes until it is answered 202 loses nothing.
    let arrivals = poll::until(RESUMED + TAKES, "each accepted event arrives", async || {
        let arrivals = by_event(&receiver);
        accepted.keys().all(|id| arrivals.contains_key(id)).then_some(arrivals)
    })
    .await;
    is_on_record(&tenant.client, text(&webhook, "id"), &accepted.keys().cloned().collect()).await;
    let arrivals = if by_event(&receiver).len() == arrivals.len() { by_event(&receiver) } else { arrivals };

    let all = || arrivals.values().flatten();
    let under_way =
        |kill: &Kill| all().filter(|at| **at < kill.at && **at + TAKES + RECORDED >= kill.at).count();
    let at_kills: Vec<_> = kills.iter().map(under_way).collect();
    let twice = all().count() - arrivals.len();
    let resumed: Vec<_> = kills.iter().map(|kill| last_resumed(kill, &accepted, &arrivals)).collect();
    println!(
        "{KILLS} kills: {} events accepted and delivered; {at_kills:?} attempts under way, {twice} made twice; all of them \
         under way again {resumed:?} after it was back; {:?}",
        accepted.len(),
        began.elapsed(),
    );
    assert!(at_kills.iter().all(|count| *count > 20), "there was load: {at_kills:?}");
    assert!(twice <= at_kills.iter().sum(), "{twice} of {at_kills:?}");
    assert!(resumed.iter().all(|after| *after < RESUMED), "{resumed:?}");
    assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
}

/// When each event arrived, in order.
fn by_event(receiver: &Receiver) -> HashMap<String, Vec<Instant>> {
    let mut arrivals: HashMap<String, Vec<Instant>> = HashMap::new();
    for request in receiver.arrived() {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        arrivals.entry(id).or_default().push(request.at);
    }
    arrivals
}

/// When the last of what a kill stranded was under way again: what was accepted before it, and not answered.
fn last_resumed(
    kill: &Kill,
    accepted: &HashMap<String, Instant>,
    arrivals: &HashMap<String, Vec<Instant>>,
) -> Duration {
    let stranded = accepted.iter().filter(|(id, at)| {
        let answered = |arrival: &Instant| *arrival + TAKES <= kill.at;
        **at < kill.at && !arrivals[*id].iter().any(answered)
    });
    let again = stranded.map(|(id, _)| {
        let after = arrivals[id].iter().find(|arrival| **arrival > kill.at);
        after.map_or(Duration::MAX, |after| after.saturating_duration_since(kill.back))
    });
    again.max().unwrap_or_default()
}

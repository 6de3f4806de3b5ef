//! The whole way over the AWS engine while one of five calls to AWS goes wrong: nothing is lost.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lambda_events::{
    eventbridge::EventBridgeEvent,
    sqs::{SqsEvent, SqsMessage},
};
use jiff::{SignedDuration, Timestamp};
use postrider::{
    access::Principal,
    hint::Lane,
    model::{Delivery, DeliveryState, Limits, OwnRules, State, TargetUrl, TenantId, Webhook, WebhookId},
    operation::{NewEvent, PageRequest, Sought},
    ports::{Added, Clock, Deliveries, Policy, Ports, Webhooks},
    publish::publish,
};
use postrider_aws::{Engine, provision};
use postrider_lambda::SystemDice;
use postrider_outbound::Outbound;
use postrider_tests::{
    faults::{Fault, Proxy, never, now_and_then},
    receiver::{Receiver, Reply},
    servers::Servers,
};

use crate::contract::samples::{kept_tenant, webhook};

const SEED: u64 = 20;
const PERCENT: u64 = 20;
const EVENTS: usize = 100;
/// As many as a Lambda function's batch, and as many functions at once.
const BATCH: usize = 10;
const CONSUMERS: usize = 4;
/// First requests that the third receiver answers with 500: enough to open the breaker.
const UNWELL: usize = 14;
/// The bound of the whole, in a debug build on a busy machine.
const WITHIN: Duration = Duration::from_mins(4);

/// The machine's clock, set forward by and by, so that what comes due later need not be waited for.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let now = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
        now + SignedDuration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// What the consumers saw.
#[derive(Default)]
struct Seen {
    /// Records that could not be put on record, and came again.
    failed: AtomicUsize,
    /// Records that the queue handed out more than once.
    again: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_of_five_calls_gone_wrong_nothing_is_lost() {
    let began = Instant::now();
    let queue = provision::QueueSettings { visibility: Duration::from_secs(5), max_receives: 5 };
    let (settings, _) = provision::provision(&Servers::shared().config(), "faults", queue).await.unwrap();
    let proxy = Proxy::start(never()).await;
    let (engine, well) =
        (Engine::new(&proxy.config(), settings.clone()), Engine::new(&Servers::shared().config(), settings));
    let clock = Arc::new(Ahead::default());
    let ports = Ports {
        store: Arc::new(engine.clone()),
        queue: Arc::new(engine.clone()),
        clock: clock.clone(),
        dice: Arc::new(SystemDice),
        policy: Policy { allow_private_targets: true, ..Policy::default() },
    };
    let arrived: Arc<Mutex<HashMap<(String, String), usize>>> = Arc::default();
    let (notes, unwell) = (arrived.clone(), AtomicUsize::new(0));
    let receiver = Receiver::start(move |request| {
        if request.path == "/unwell" && unwell.fetch_add(1, Ordering::Relaxed) < UNWELL {
            return Reply::status(500);
        }
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        *notes.lock().unwrap().entry((request.path.clone(), id)).or_default() += 1;
        Reply::status(200)
    })
    .await;
    let tenant = kept_tenant(&well).await;
    let mut webhooks = Vec::new();
    for (dialect, path) in [("v1", "/well"), ("shipstream", "/counted"), ("v1", "/unwell")] {
        let url = TargetUrl::parse(&receiver.url(path), true).unwrap();
        let sample = webhook(&tenant, dialect, &["order.created"]);
        let (limits, rules) = (Limits::default(), OwnRules::default());
        let plain = Webhook { limits, rules, auth: None, certificate: None, ..sample };
        let made = Webhook { url: Some(url), state: State::Active, ..plain };
        let Added::Webhook(added) = well.add_webhook(&made, false, 10).await.unwrap() else { panic!() };
        webhooks.push(added.id);
    }

    proxy.follow(now_and_then(SEED, PERCENT));
    let publishes = publish_all(&ports, &tenant).await;
    let (seen, mut rounds) = (Seen::default(), 0);
    let outbound =
        postrider_outbound::Settings { allow_private: true, ..postrider_outbound::Settings::default() };
    let post = Outbound::new(outbound).unwrap();
    let mut left = usize::MAX;
    while left > 0 && began.elapsed() < WITHIN {
        let consumers = (0..CONSUMERS).map(|_| consume(&ports, &engine, &post, &seen));
        futures::future::join_all(consumers).await;
        left = undelivered(&well, &tenant, &webhooks).await;
        // What is left is stranded, due or parked: each has its time, which comes.
        for _ in 0..4 {
            clock.0.fetch_add(4 * 60, Ordering::Relaxed);
            scheduler::handle(&ports, EventBridgeEvent::default()).await.ok();
        }
        rounds += 1;
    }

    let injected = proxy.injected();
    let arrived = arrived.lock().unwrap().clone();
    let twice: usize = arrived.values().map(|count| count - 1).sum();
    let of = |fault| {
        injected.iter().filter(|((_, kind), _)| *kind == fault).map(|(_, count)| count).sum::<usize>()
    };
    println!(
        "seed {SEED}: {EVENTS} events to 3 webhooks in {publishes} publishes and {rounds} rounds; {left} undelivered, \
         {twice} arrived twice, {} records failed, {} came again; {injected:?}; {:?}",
        seen.failed.load(Ordering::Relaxed),
        seen.again.load(Ordering::Relaxed),
        began.elapsed(),
    );
    assert_eq!(left, 0, "lost");
    assert_eq!(arrived.len(), 3 * EVENTS, "each arrived at each");
    // Twice arrives what was queued twice, or whose record failed, or whose message came again too early.
    let lost = |(operation, fault): &(String, Fault)| {
        operation == "SendMessageBatch" && matches!(fault, Fault::AnswerLost | Fault::CutOff)
    };
    let queued_twice: usize =
        injected.iter().filter(|(key, _)| lost(key)).map(|(_, count)| count * BATCH).sum();
    let bound = queued_twice + seen.failed.load(Ordering::Relaxed) + seen.again.load(Ordering::Relaxed);
    assert!(twice <= bound, "{twice} of {bound}");
    for fault in [Fault::Throttled, Fault::Broken, Fault::AnswerLost, Fault::CutOff, Fault::Partial] {
        assert!(of(fault) > 10, "{fault:?} happened: {injected:?}");
    }
    places_have_no_gap(&well, &tenant, webhooks[1]).await;
}

/// As a producer does: what was not accepted is published again, with the same id. How often anything was.
async fn publish_all(ports: &Ports, tenant: &TenantId) -> usize {
    let mut publishes = 0;
    let events: Vec<usize> = (0..EVENTS).collect();
    for batch in events.chunks(BATCH) {
        let mut left = batch.to_vec();
        while !left.is_empty() {
            publishes += 1;
            let new = left.iter().map(|n| Ok(event(tenant, *n))).collect();
            let receipts = publish(ports, &Principal::operator(), new).await;
            let refused = left.iter().zip(receipts).filter_map(|(n, receipt)| match receipt {
                Ok(receipt) => {
                    assert_eq!(receipt.deliveries, 3);
                    None
                }
                Err(error) => {
                    assert!(error.retryable(), "{error:?}");
                    Some(*n)
                }
            });
            left = refused.collect();
        }
    }
    publishes
}

fn event(tenant: &TenantId, n: usize) -> NewEvent {
    NewEvent {
        tenant: Some(tenant.clone()),
        id: Some(format!("e-{n}").parse().unwrap()),
        topic: "order.created".parse().unwrap(),
        payload: postrider::model::Payload::from_store(format!(r#"{{ "n": {n} }}"#)),
        payloads: postrider::model::Payloads::new(),
        metadata: postrider::model::Metadata::new(),
        occurred_at: None,
        ordering_key: None,
    }
}

/// As Lambda does: batches to the function, until neither lane hands anything out for a while; what failed comes again.
async fn consume(ports: &Ports, engine: &Engine, post: &Outbound, seen: &Seen) {
    let mut idle = 0;
    for lane in Lane::ALL.into_iter().cycle() {
        if idle == Lane::ALL.len() {
            return;
        }
        let Ok(received) = engine.receive(lane, BATCH, Duration::from_secs(1)).await else { continue };
        if received.is_empty() {
            idle += 1;
            continue;
        }
        idle = 0;
        let mut event = SqsEvent::default();
        for message in &received {
            seen.again.fetch_add(usize::from(message.received > 1), Ordering::Relaxed);
            let mut record = SqsMessage::default();
            record.attributes.insert("ApproximateReceiveCount".into(), message.received.to_string());
            record.message_id = Some(message.receipt.clone());
            record.body = Some(message.body.clone());
            event.records.push(record);
        }
        let failed = delivery::handle(ports, post, event).await.batch_item_failures;
        seen.failed.fetch_add(failed.len(), Ordering::Relaxed);
        let is_done = |receipt: &String| failed.iter().all(|failure| failure.item_identifier != *receipt);
        let done: Vec<_> = received.into_iter().map(|message| message.receipt).filter(is_done).collect();
        // What cannot be deleted comes again, and is found to be done.
        engine.delete_messages(lane, &done).await.ok();
    }
}

async fn all(well: &Engine, tenant: &TenantId, webhook: WebhookId) -> Vec<Delivery> {
    well.deliveries(tenant, webhook, &Sought::default(), &PageRequest::all()).await.unwrap().items
}

async fn undelivered(well: &Engine, tenant: &TenantId, webhooks: &[WebhookId]) -> usize {
    let mut delivered = 0;
    for webhook in webhooks {
        let deliveries = all(well, tenant, *webhook).await;
        delivered += deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).count();
    }
    webhooks.len() * EVENTS - delivered
}

/// Each delivery has a place of its own, however often it was asked for.
async fn places_have_no_gap(well: &Engine, tenant: &TenantId, webhook: WebhookId) {
    let mut places = Vec::new();
    for delivery in all(well, tenant, webhook).await {
        places.push(well.sequence(delivery.id).await.unwrap());
    }
    places.sort_unstable();
    assert_eq!(places, (1..=EVENTS as u64).collect::<Vec<_>>());
}

//! What a shared row must not change: each message is deleted, put back and buried by itself.

use postrider::{
    hint::Hint,
    model::{DeliveryId, WebhookId},
};
use uuid::Uuid;

use super::*;

const SOON: Duration = Duration::from_millis(50);

fn open(dir: &tempfile::TempDir) -> Engine {
    let settings = Settings { visibility: Duration::from_mins(1), max_receives: 2 };
    Engine::open(&dir.path().join("q.db"), settings).unwrap()
}

/// Queues hints for `webhooks` webhooks of one event.
async fn send(engine: &Engine, webhooks: u128) {
    send_of("acme", engine, webhooks).await;
}

async fn send_of(tenant: &str, engine: &Engine, webhooks: u128) {
    let hint = |webhook| Hint {
        tenant: tenant.parse().unwrap(),
        event: "e-1".parse().unwrap(),
        delivery: DeliveryId { event: Uuid::nil(), webhook: WebhookId(Uuid::from_u128(webhook)) },
        attempt: 1,
        fresh_at: None,
        released: None,
        slot: None,
    };
    let sending = |webhook| Sending { hint: hint(webhook), delay: Duration::ZERO, event: None };
    engine.send((0..webhooks).map(sending).collect()).await.unwrap();
}

/// Everything that is there.
async fn receive(engine: &Engine) -> Vec<Received> {
    engine.receive(Lane::Slow, 1000, SOON, Timestamp::now).await.unwrap()
}

fn webhook(message: &Received) -> u128 {
    Hint::read(&message.body).unwrap().0.delivery.webhook.0.as_u128()
}

fn webhooks(messages: &[Received]) -> Vec<u128> {
    messages.iter().map(webhook).collect()
}

async fn rows(engine: &Engine) -> i64 {
    engine.read(|db| db.query_row("SELECT count(*) FROM queue", [], |row| row.get(0))).await.unwrap()
}

#[tokio::test]
async fn a_row_goes_with_its_last_message() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    send(&engine, 3).await;
    assert_eq!(rows(&engine).await, 1);
    let messages = receive(&engine).await;
    assert_eq!(webhooks(&messages), [0, 1, 2]);
    engine.delete(Lane::Slow, vec![messages[0].id, messages[2].id]).await.unwrap();
    assert_eq!(rows(&engine).await, 1);
    // A second time changes nothing.
    engine.delete(Lane::Slow, vec![messages[0].id, messages[0].id]).await.unwrap();
    assert_eq!(rows(&engine).await, 1);
    engine.delete(Lane::Slow, vec![messages[1].id]).await.unwrap();
    assert_eq!(rows(&engine).await, 0);
}

#[tokio::test]
async fn a_wide_fan_out_is_several_rows() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    send(&engine, 250).await;
    assert_eq!(rows(&engine).await, 3);
    let messages = receive(&engine).await;
    assert_eq!(webhooks(&messages), (0..250).collect::<Vec<_>>());
    engine.delete(Lane::Slow, messages.iter().map(|message| message.id).collect()).await.unwrap();
    assert_eq!(rows(&engine).await, 0);
}

#[tokio::test]
async fn the_next_process_hands_all_of_a_row_out_as_handed_out_before() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    send(&engine, 2).await;
    let messages = receive(&engine).await;
    engine.delete(Lane::Slow, vec![messages[0].id]).await.unwrap();
    drop(engine);

    let engine = open(&dir);
    let messages = receive(&engine).await;
    assert_eq!(webhooks(&messages), [0, 1]);
    assert!(messages.iter().all(|message| message.received == 2), "{messages:?}");
    engine.delete(Lane::Slow, messages.iter().map(|message| message.id).collect()).await.unwrap();

    send(&engine, 1).await;
    assert_eq!(receive(&engine).await[0].received, 1, "what came since is new");
}

#[tokio::test]
async fn one_that_fails_comes_again_and_dies_alone() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    send(&engine, 3).await;
    for received in 1..=2 {
        let messages = receive(&engine).await;
        let (failed, done): (Vec<_>, Vec<_>) = messages.iter().partition(|message| webhook(message) == 1);
        assert_eq!((failed.len(), failed[0].received), (1, received));
        engine.delete(Lane::Slow, done.iter().map(|message| message.id).collect()).await.unwrap();
        engine.put_back(Lane::Slow, vec![failed[0].id], Duration::ZERO, Timestamp::now()).await.unwrap();
        assert_eq!(rows(&engine).await, 1);
    }
    assert_eq!(receive(&engine).await, []);
    assert_eq!((rows(&engine).await, engine.dead_letters().await.unwrap()), (0, 1));
}

#[tokio::test]
async fn a_backlog_too_long_for_memory_comes_whole() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    for _ in 0..250 {
        send(&engine, 100).await;
    }
    let mut found = 0;
    loop {
        let messages = receive(&engine).await;
        if messages.is_empty() {
            break;
        }
        found += messages.len();
        engine.delete(Lane::Slow, messages.iter().map(|message| message.id).collect()).await.unwrap();
        // What comes meanwhile goes to the end.
        if found == 1000 {
            send(&engine, 7).await;
        }
    }
    assert_eq!((found, rows(&engine).await), (25_007, 0));
}

#[tokio::test]
async fn a_tenant_does_not_wait_for_anothers_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    for _ in 0..80 {
        send_of("noisy", &engine, 100).await;
    }
    send_of("quiet", &engine, 2).await;
    let is_quiet = |message: &&Received| message.body.contains("quiet");
    let some = engine.receive(Lane::Slow, 4, SOON, Timestamp::now).await.unwrap();
    assert_eq!(some.iter().filter(is_quiet).count(), 2, "they take turns");
    engine.delete(Lane::Slow, some.iter().map(|message| message.id).collect()).await.unwrap();

    send_of("quiet", &engine, 2).await;
    drop(engine);
    let engine = open(&dir);
    let some = engine.receive(Lane::Slow, 4, SOON, Timestamp::now).await.unwrap();
    assert_eq!(some.iter().filter(is_quiet).count(), 2, "also after a restart");
}

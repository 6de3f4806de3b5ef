//! What a verb says when none of its calls gets through, and what the next try finds: nothing that it could not finish.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_config::timeout::TimeoutConfig;
use postrider::{
    bucket::{Bucket, Poured},
    error::Error,
    hint::Hint,
    model::{
        Credentials, CustomTopic, Delivery, DeliveryState, Event, KeyRecord, Secret, Tally, TenantId, Webhook,
    },
    ports::{Added, Claim, Deliveries, Events, Queue, Sending, Store, Webhooks},
    undelivered::{Undelivered, Whose},
};
use postrider_aws::Engine;
use postrider_tests::faults::{self, Fault, Proxy};

use super::{
    World, persistent,
    samples::{
        MANY, V1, all, attempted, blank, event, kept_tenant, kept_webhook, key, now, secs, tenant, tenant_id,
        topic, webhook,
    },
};

/// What the verbs are about: one of each, kept well.
struct Kept {
    tenant: TenantId,
    webhook: Webhook,
    key: KeyRecord,
    event: Arc<Event>,
    /// Due.
    pending: Delivery,
    parked: Delivery,
    topic: CustomTopic,
}

impl Kept {
    async fn new(store: &dyn Store) -> Self {
        let tenant = kept_tenant(store).await;
        let webhook = kept_webhook(store, &tenant, &["order.created"]).await;
        let key = key(Some(&tenant));
        store.add_key(&key).await.unwrap();
        let event = event(&tenant, &[webhook.id]);
        let pending = attempted(&blank(&tenant, webhook.id), DeliveryState::Pending, Some(now()));
        assert!(store.record(&pending, Some(now())).await.unwrap());
        let blank = blank(&tenant, webhook.id);
        let parked = Delivery { state: DeliveryState::Parked, parked_at: Some(blank.created_at), ..blank };
        assert!(store.park(&parked, 0).await.unwrap());
        store.strain(&tenant, webhook.id, now()).await.unwrap();
        store.look_at(&tenant, webhook.id, now()).await.unwrap();
        let name = topic(&format!("own.t{}", webhook.id.0.simple()));
        let topic = CustomTopic {
            topic: name,
            description: None,
            schema: None,
            names: BTreeMap::new(),
            sample: None,
            samples: BTreeMap::new(),
            created_at: now(),
            updated_at: now(),
        };
        store.put_topic(&topic).await.unwrap();
        Self { tenant, webhook, key, event, pending, parked, topic }
    }
}

/// A verb: its name, how it is done, and what it says when it was not done before, and when it was, unheard.
macro_rules! verbs {
    ($engine:ident, $kept:ident; $($name:ident: $first:literal | $again:literal => $does:expr;)+) => {
        const VERBS: &[(&str, &str, &str)] = &[$((stringify!($name), $first, $again)),+];

        async fn act(name: &str, $engine: &Engine, $kept: &Kept) -> Result<String, Error> {
            let $engine: &dyn Both = $engine;
            Ok(match name {
                $(stringify!($name) => format!("{:?}", $does.await?),)+
                _ => unreachable!("{name}"),
            })
        }
    };
}

trait Both: Store + Queue {}
impl<T: Store + Queue> Both for T {}

fn is_among<T>(found: Result<Vec<T>, Error>, own: impl Fn(&T) -> bool) -> Result<bool, Error> {
    Ok(found?.iter().any(own))
}

verbs! { engine, kept;
    add_key: "()" | "()" => engine.add_key(&KeyRecord { scopes: Vec::new(), ..kept.key.clone() });
    swap_key: "true" | "false" =>
        engine.swap_key(&kept.key, &KeyRecord { hash: key(None).hash, ..kept.key.clone() });
    remove_key: "true" | "false" => engine.remove_key(&kept.tenant, &kept.key.id);
    pour: "true" | "true" => async {
        let bucket = Bucket { capacity: 100, leak: 1 };
        engine.pour(kept.key.id.as_str(), bucket, now()).await.map(|poured| matches!(poured, Poured::In { .. }))
    };
    put_topic: "()" | "()" => engine.put_topic(&kept.topic);
    remove_topic: "true" | "false" => engine.remove_topic(&kept.topic.topic);
    add_tenant: "true" | "false" => async {
        // The second try is for the same one.
        let id: TenantId = format!("{}-2", kept.tenant).parse().unwrap();
        engine.add_tenant(&tenant(&id)).await
    };
    remove_tenant: "true" | "false" => engine.remove_tenant(&kept.tenant);
    add_webhook: "true" | "true" => async {
        let new = webhook(&kept.tenant, V1, &["order.paid"]);
        engine.add_webhook(&new, false, MANY).await.map(|added| matches!(added, Added::Webhook(_)))
    };
    replace_webhook: "true" | "false" => engine.replace_webhook(
        &kept.webhook,
        &Webhook { name: None, updated_at: kept.webhook.updated_at + secs(1), ..kept.webhook.clone() },
    );
    remove_webhook: "true" | "false" => engine.remove_webhook(&kept.tenant, kept.webhook.id);
    grant: "true" | "true" => async {
        let granted = Credentials { id: "a".into(), secret: Secret::new("b") };
        engine.grant(&kept.tenant, &granted).await
    };
    strain: "2" | "3" => async {
        engine.strain(&kept.tenant, kept.webhook.id, now()).await.map(|health| health.failures)
    };
    put_off: "true" | "false" => engine.put_off(&kept.tenant, kept.webhook.id, None, now() + secs(60));
    relieve: "true" | "false" => engine.relieve(&kept.tenant, kept.webhook.id);
    accept: "New" | "New" => async {
        engine.accept(std::slice::from_ref(&kept.event)).await.remove(0)
    };
    set_swept_until: "()" | "()" => engine.set_swept_until(now());
    claim: "true" | "false" => async {
        let claim = engine.claim(&kept.pending, 2, now(), now() + secs(90)).await;
        claim.map(|claim| matches!(claim, Claim::Taken(_)))
    };
    record: "true" | "true" => async {
        let mut after = attempted(&kept.pending, DeliveryState::Delivered, None);
        // The very same both times.
        after.attempts.pop();
        engine.record(&after, None).await
    };
    park: "true" | "true" =>
        engine.park(&Delivery { state: DeliveryState::Parked, ..kept.pending.clone() }, 1);
    sequence: "1" | "1" => engine.sequence(kept.pending.id);
    add_to_tally: "()" | "()" => engine.add_to_tally(kept.webhook.id, Tally { sent: 1, failed_at: None });
    release: "1" | "0" => async {
        engine.release(&kept.tenant, kept.webhook.id, now(), 10).await.map(|hints| hints.len())
    };
    discard: "1" | "0" => engine.discard(&kept.tenant, kept.webhook.id, 10);
    look_at: "()" | "()" => engine.look_at(&kept.tenant, kept.webhook.id, now());
    look_no_more: "()" | "()" => engine.look_no_more(kept.webhook.id);
    to_look_at: "true" | "false" => async {
        let found = engine.to_look_at(now(), now() + secs(90), MANY).await;
        is_among(found, |(_, webhook)| *webhook == kept.webhook.id)
    };
    due: "true" | "false" => async {
        is_among(engine.due(now(), now() + secs(90), MANY).await, |hint| hint.delivery == kept.pending.id)
    };
    send: "()" | "()" => async {
        let hint = Hint::again(&kept.event, kept.webhook.id);
        engine.send(vec![Sending { hint, delay: Duration::ZERO, event: None }]).await
    };
    target: "true" | "true" => async {
        engine.target(&kept.tenant, kept.webhook.id).await.map(|target| target.is_some())
    };
    matching: "true" | "true" => async {
        engine.matching(&kept.tenant, &topic("order.created")).await.map(|found| found.is_some())
    };
    stranded: "()" | "()" => async { engine.stranded(now() - secs(60), now(), &all()).await.map(drop) };
    undelivered: "true" | "true" => async {
        let sought = Undelivered { whose: Whose::All, topic: None, accepted_before: None };
        is_among(engine.undelivered(&sought, &all()).await.map(|page| page.items), |one| one.id == kept.parked.id)
    };
    delivery: "true" | "true" => async {
        engine.delivery(&kept.tenant, kept.pending.id).await.map(|found| found.is_some())
    };
}

/// A verb that fails says so in the words for what may work the next time; and then it works, as if for the first time
/// if nothing was done, and else knowing what was done before.
async fn fails_and_is_done_again(fault: Fault) {
    let (settings, _) = World::provision().await;
    let well = Engine::new(&super::Servers::shared().config(), settings.clone());
    let proxy = Proxy::start(faults::never()).await;
    for (name, first, again) in VERBS {
        let kept = Kept::new(&well).await;
        let engine = Engine::over(persistent(&proxy.config()), settings.clone());
        // The key that seals is asked for once: not what this is about.
        engine.webhook(&kept.tenant, kept.webhook.id).await.unwrap();
        proxy.follow(faults::whenever(move |call| fault == Fault::Throttled || call.writes(), fault));
        let before = proxy.injected();
        let tried = act(name, &engine, &kept).await;
        let is_hit = proxy.injected() != before;
        proxy.follow(faults::never());
        if !is_hit {
            assert_eq!(tried.as_deref(), Ok(*first), "{name} only reads");
            continue;
        }
        assert!(matches!(tried, Err(Error::Unavailable(_))), "{name}, {fault:?}: {tried:?}");
        let done = act(name, &engine, &kept).await.unwrap();
        let expected = if fault == Fault::Throttled { first } else { again };
        assert_eq!(&*done, *expected, "{name}, {fault:?}");
        // What was taken, and nobody heard of it, comes due.
        let taken = match *name {
            "claim" | "due" => kept.pending.id,
            "release" => kept.parked.id,
            _ => continue,
        };
        let later = now() + secs(3600);
        let due = well.due(later, later + secs(90), MANY).await.unwrap();
        assert!(due.iter().any(|hint| hint.delivery == taken), "{name}, {fault:?}: {due:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_was_not_done() {
    fails_and_is_done_again(Fault::Throttled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_unheard_is_finished_by_the_next_try() {
    fails_and_is_done_again(Fault::AnswerLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_is_finished_by_the_next_try() {
    fails_and_is_done_again(Fault::CutOff).await;
}

/// Of itself the SDK would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let (settings, _) = World::provision().await;
    let proxy = Proxy::start(faults::always(Fault::Late(60_000))).await;
    let patience = Duration::from_millis(200);
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(patience).build();
    let config = proxy.config().into_builder().timeout_config(timeouts).build();
    let engine = Engine::new(&config, settings);
    let began = Instant::now();
    let error = engine.event(&tenant_id(), &"e".parse().unwrap()).await.unwrap_err();
    assert_eq!(error, Error::Unavailable("reading an event: no answer in time".into()));
    assert!(began.elapsed() < 20 * patience, "{:?}", began.elapsed());
    let deployed = postrider_aws::configuration().await;
    let set = deployed.timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
    assert!(set.is_some_and(|set| set < Duration::from_secs(10)), "{set:?}");
}

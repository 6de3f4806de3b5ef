//! The AWS engine: `DynamoDB`, SQS and KMS behind the ports.
//!
//! The keys of each table stand in `ARCHITECTURE.md`; `template.yaml` makes the tables.

mod batches;
mod cache;
mod claims;
mod deliveries;
mod events;
mod fault;
mod healths;
mod history;
mod item;
mod keys;
mod limits;
mod lines;
mod mark;
mod parked;
mod polling;
pub mod provision;
mod queue;
mod reopen;
mod replays;
mod sealing;
mod sequence;
mod stranded;
mod subscriptions;
mod tallies;
mod tenants;
mod topics;
mod undelivered;
mod webhooks;
mod within;

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use postrider::{
    catalogue::Catalogue,
    error::Error,
    filter::Shelf,
    model::{Health, KeyId, KeyRecord, TenantId, Topic, WebhookId},
    ports::{Ports, Subscribers, Target},
};
use postrider_lambda::{Settings, SystemClock, SystemDice};

pub use self::queue::Received;
use self::{cache::Brief, sealing::Sealer};

/// How long a call may take before it is made again: of itself the SDK waits for an answer for ever. Longer than all but
/// the slowest answers, so that none is asked for twice without need; [`Engine::receive`] waits on purpose, and longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a key, once read, is taken for good: a revoked key works on for so long in other processes.
const KEYS_KEPT: Duration = Duration::from_secs(5);
/// How long a webhook, once read, is taken to be as it was.
const TARGETS_KEPT: Duration = Duration::from_secs(2);
/// How long the webhooks of a topic, once read, are taken for all of them.
const MATCHING_KEPT: Duration = Duration::from_secs(1);

/// How long the operators' topics, once read, are taken for all of them.
const CATALOGUE_KEPT: Duration = Duration::from_secs(10);

/// AWS behind the ports; clones share clients and caches.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    db: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    settings: Settings,
    sealer: Sealer,
    keys: Brief<KeyId, Option<KeyRecord>>,
    catalogue: Brief<(), Arc<Catalogue>>,
    matching: Brief<(TenantId, Topic), Option<Arc<Subscribers>>>,
    filters: Shelf,
    targets: Brief<(TenantId, WebhookId), Option<Arc<Target>>>,
    healths: Brief<(TenantId, WebhookId), Health>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// What AWS's services are called with.
#[derive(Debug, Clone)]
pub struct Clients {
    /// `DynamoDB`.
    pub db: aws_sdk_dynamodb::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// KMS.
    pub kms: aws_sdk_kms::Client,
}

impl Clients {
    /// As a configuration says.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            db: aws_sdk_dynamodb::Client::new(config),
            sqs: aws_sdk_sqs::Client::new(config),
            kms: aws_sdk_kms::Client::new(config),
        }
    }
}

impl Engine {
    /// Takes AWS's configuration and ours. Nothing is sent yet.
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        Self::over(Clients::new(config), settings)
    }

    /// The same with clients that are made already.
    pub fn over(clients: Clients, settings: Settings) -> Self {
        let Clients { db, sqs, kms } = clients;
        let sealer = Sealer::new(db.clone(), kms, &settings);
        Self(Arc::new(Inner {
            db,
            sqs,
            settings,
            sealer,
            keys: Brief::new(KEYS_KEPT),
            catalogue: Brief::new(CATALOGUE_KEPT),
            matching: Brief::new(MATCHING_KEPT),
            filters: Shelf::default(),
            targets: Brief::new(TARGETS_KEPT),
            healths: Brief::new(TARGETS_KEPT),
        }))
    }
}

/// AWS's configuration as every AWS tool finds it; `AWS_ENDPOINT_URL` and its siblings lead to local servers.
pub async fn configuration() -> SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ANSWER_WITHIN).build();
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await
}

/// The ports of a deployed function.
pub async fn ports(settings: &Settings) -> Result<Ports, Error> {
    let policy = settings.policy().map_err(|error| Error::Internal(error.to_string()))?;
    let engine = Engine::new(&configuration().await, settings.clone());
    Ok(Ports {
        store: Arc::new(engine.clone()),
        queue: Arc::new(engine),
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
        policy,
    })
}

//! Which engine is behind the ports.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use postrider::{
    error::Error,
    hint::Lane,
    ports::{Policy, Ports},
};
use postrider_embedded::{Engine, Lock, QueueSettings};
use postrider_lambda::{Settings, SystemClock, SystemDice};

use crate::{
    Failed,
    args::{self, Args},
    pump::{Record, Source},
    schedule::Housekeeping,
    template::{self, Template},
};

/// How long events and deliveries are kept: what the tables' TTL says on AWS.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// When a record whose delivery could not be put on record comes again: sooner than SQS's visibility timeout
/// would have it, for here nobody else can be working on it.
const RETURN_AFTER: Duration = Duration::from_secs(5);

/// An engine that runs.
pub(crate) struct Running {
    pub(crate) ports: Ports,
    /// Where the records of each lane come from.
    pub(crate) fast: Arc<dyn Source>,
    pub(crate) slow: Arc<dyn Source>,
    pub(crate) housekeeping: Option<Arc<dyn Housekeeping>>,
    /// Whether its database was made just now.
    pub(crate) is_new: bool,
}

/// Starts the engine that the arguments name.
pub(crate) async fn start(args: &Args, template: &Template, allow_private: bool) -> Result<Running, Failed> {
    let policy = Policy {
        allow_private_targets: allow_private,
        disabled_after: SignedDuration::from_hours(args.disabled_after_hours),
        operations: args.operations_tenant.clone(),
        ..Policy::default()
    };
    match args.engine {
        args::Engine::Embedded => embedded(args, template, policy),
        args::Engine::Aws => aws(args, policy).await,
    }
}

fn embedded(args: &Args, template: &Template, policy: Policy) -> Result<Running, Failed> {
    let lock = Lock::take(&args.data)?;
    let is_new = !args.data.exists();
    let template::Queue { visibility, max_receives, .. } = template.fast;
    let settings = QueueSettings { visibility, max_receives };
    let engine = Engine::open(&args.data, settings)?;
    let ports = Ports {
        store: Arc::new(engine.clone()),
        queue: Arc::new(engine.clone()),
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
        policy,
    };
    let source = |lane| Arc::new(Embedded(engine.clone(), lane));
    let housekeeping = Some(Arc::new(Tidied(engine.clone(), lock)) as Arc<dyn Housekeeping>);
    Ok(Running { ports, fast: source(Lane::Fast), slow: source(Lane::Slow), housekeeping, is_new })
}

struct Embedded(Engine, Lane);

#[async_trait]
impl Source for Embedded {
    async fn receive(&self, max: usize, patience: Duration) -> Result<Vec<Record>, Error> {
        let received = self.0.receive(self.1, max, patience, Timestamp::now).await?;
        let record = |message: postrider_embedded::Received| Record {
            receipt: message.id.to_string(),
            body: message.body,
            received: message.received,
        };
        Ok(received.into_iter().map(record).collect())
    }

    async fn settle(&self, done: Vec<String>, failed: Vec<String>) -> Result<(), Error> {
        let ids =
            |receipts: Vec<String>| receipts.iter().filter_map(|id| id.parse().ok()).collect::<Vec<u64>>();
        self.0.delete(self.1, ids(done)).await?;
        if failed.is_empty() {
            return Ok(());
        }
        self.0.put_back(self.1, ids(failed), RETURN_AFTER, Timestamp::now()).await
    }
}

struct Tidied(Engine, #[expect(dead_code, reason = "it is held")] Lock);

#[async_trait]
impl Housekeeping for Tidied {
    async fn tidy(&self) -> Result<(), Error> {
        self.0.purge(Timestamp::now() - KEPT).await.map(drop)
    }
}

async fn aws(args: &Args, policy: Policy) -> Result<Running, Failed> {
    let settings = Settings::from_env();
    let config = postrider_aws::configuration().await;
    let engine = postrider_aws::Engine::new(&config, settings.clone());
    let deployed = settings.policy().map_err(|error| Failed::Usage(error.to_string()))?;
    let ports = Ports {
        store: Arc::new(engine.clone()),
        queue: Arc::new(engine.clone()),
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
        policy: Policy { operator_key: deployed.operator_key, ..policy },
    };
    if args.operator_key.is_none() && ports.policy.operator_key.is_none() {
        let says = "the engine aws needs an operator's key: --operator-key, or POSTRIDER_OPERATOR_KEY_SHA256";
        return Err(Failed::Usage(says.to_owned()));
    }
    let source = |lane| Arc::new(Aws(engine.clone(), lane));
    Ok(Running {
        ports,
        fast: source(Lane::Fast),
        slow: source(Lane::Slow),
        housekeeping: None,
        is_new: false,
    })
}

struct Aws(postrider_aws::Engine, Lane);

#[async_trait]
impl Source for Aws {
    async fn receive(&self, max: usize, patience: Duration) -> Result<Vec<Record>, Error> {
        let received = self.0.receive(self.1, max, patience).await?;
        let record = |message: postrider_aws::Received| Record {
            receipt: message.receipt,
            body: message.body,
            received: message.received,
        };
        Ok(received.into_iter().map(record).collect())
    }

    async fn settle(&self, done: Vec<String>, _failed: Vec<String>) -> Result<(), Error> {
        // What failed comes again after the queue's visibility timeout, as on Lambda.
        self.0.delete_messages(self.1, &done).await
    }
}

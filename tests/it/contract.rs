//! What `ports.rs` promises, as one suite that each engine must pass, and the simulation of them too, for a seed that
//! finds nothing proves no more than that. Each test has an engine of its own.

mod claims;
mod deliveries;
mod events;
mod fan_out;
mod faults;
mod grants;
mod healths;
mod inbox;
mod isolation;
mod items;
mod keys;
mod limits;
mod lines;
mod matching;
mod paging;
mod parked;
mod polling;
mod queue;
mod reopen;
mod replays;
mod restart;
pub(crate) mod samples;
mod secrets;
mod sought;
mod stranded;
mod tenants;
mod topics;
mod undelivered;
mod unrecorded;
mod webhooks;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use postrider::ports::{Queue, Store};
use postrider_tests::{
    faults::{Proxy, every_first_try},
    servers::Servers,
};
use tempfile::TempDir;

use self::inbox::Inbox;

/// Makes a test of a function for each engine.
macro_rules! on_every_engine {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                super::$name(&crate::contract::World::embedded()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn simulated() {
                super::$name(&crate::contract::World::simulated()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn aws() {
                super::$name(&crate::contract::World::aws().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn aws_at_the_second_try() {
                super::$name(&crate::contract::World::aws_at_the_second_try().await).await;
            }
        }
    )+};
}
use on_every_engine;

/// How long a message that was handed out stays invisible here.
const VISIBILITY: Duration = Duration::from_secs(1);
/// How often a message is handed out here.
const MAX_RECEIVES: u32 = 2;

/// An engine behind the ports, with nothing in it.
struct World {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    inbox: Inbox,
    kept: Kept,
}

/// What outlives a process.
enum Kept {
    Embedded { path: PathBuf, _dir: Option<TempDir> },
    Aws { settings: Box<postrider_lambda::Settings>, dead: String, proxy: Option<Arc<Proxy>> },
    Simulated(postrider_sim::world::World),
}

impl World {
    fn embedded() -> Self {
        let dir = tempfile::Builder::new().prefix("postrider-").tempdir().unwrap();
        Self::open(dir.path().join("data.db"), Some(dir))
    }

    fn simulated() -> Self {
        let world = postrider_sim::world::World::direct();
        let mut core = world.lock();
        core.messages.visibility = i64::try_from(VISIBILITY.as_micros()).unwrap();
        core.messages.max_receives = MAX_RECEIVES;
        drop(core);
        Self::enter(world.clone())
    }

    async fn aws() -> Self {
        let (settings, dead) = Self::provision().await;
        Self::connect(settings, dead, None)
    }

    /// The AWS engine, none of whose calls gets through at its first try: what it writes is written, but it does not hear
    /// of it. It keeps to the contract all the same.
    async fn aws_at_the_second_try() -> Self {
        let (settings, dead) = Self::provision().await;
        let proxy = Proxy::start(every_first_try()).await;
        Self::connect(settings, dead, Some(Arc::new(proxy)))
    }

    /// Whether what it did may be done again, for its answer got lost.
    fn loses_answers(&self) -> bool {
        matches!(self.kept, Kept::Aws { proxy: Some(_), .. })
    }

    async fn provision() -> (postrider_lambda::Settings, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("contract-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let queue =
            postrider_aws::provision::QueueSettings { visibility: VISIBILITY, max_receives: MAX_RECEIVES };
        let config = Servers::shared().config();
        postrider_aws::provision::provision(&config, &prefix, queue).await.unwrap()
    }

    /// Another process's view of the same, with caches of its own.
    fn next_process(&self) -> Self {
        match &self.kept {
            Kept::Embedded { path, .. } => Self::open(path.clone(), None),
            Kept::Aws { settings, dead, proxy } => {
                Self::connect((**settings).clone(), dead.clone(), proxy.clone())
            }
            Kept::Simulated(world) => Self::enter(world.clone()),
        }
    }

    fn open(path: PathBuf, dir: Option<TempDir>) -> Self {
        let queue = postrider_embedded::QueueSettings { visibility: VISIBILITY, max_receives: MAX_RECEIVES };
        let engine = postrider_embedded::Engine::open(&path, queue).unwrap();
        Self {
            store: Arc::new(engine.clone()),
            queue: Arc::new(engine.clone()),
            inbox: Inbox::Embedded(engine),
            kept: Kept::Embedded { path, _dir: dir },
        }
    }

    fn enter(world: postrider_sim::world::World) -> Self {
        let who = postrider_sim::executor::Who("contract", 0);
        let queue = postrider_sim::queue::SimQueue::new(world.clone(), who);
        Self {
            store: Arc::new(postrider_sim::store::SimStore::new(world.clone(), who)),
            queue: Arc::new(queue.clone()),
            inbox: Inbox::Simulated(queue),
            kept: Kept::Simulated(world),
        }
    }

    fn connect(settings: postrider_lambda::Settings, dead: String, proxy: Option<Arc<Proxy>>) -> Self {
        let clients = match &proxy {
            None => postrider_aws::Clients::new(&Servers::shared().config()),
            Some(proxy) => persistent(&proxy.config()),
        };
        let engine = postrider_aws::Engine::over(clients.clone(), settings.clone());
        let dead_settings = postrider_lambda::Settings { queue_url: dead.clone(), ..settings.clone() };
        let dead_letters = postrider_aws::Engine::over(clients, dead_settings);
        Self {
            store: Arc::new(engine.clone()),
            queue: Arc::new(engine.clone()),
            inbox: Inbox::Aws { engine, dead_letters },
            kept: Kept::Aws { settings: Box::new(settings), dead, proxy },
        }
    }
}

/// Clients that never grow tired of trying again, as the SDK's do where more than some hundredths of all calls fail.
fn persistent(config: &aws_config::SdkConfig) -> postrider_aws::Clients {
    use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};

    let unlimited = || RetryPartition::custom("tests").token_bucket(TokenBucket::unlimited()).build();
    let db = aws_sdk_dynamodb::config::Builder::from(config).retry_partition(unlimited()).build();
    let sqs = aws_sdk_sqs::config::Builder::from(config).retry_partition(unlimited()).build();
    let kms = aws_sdk_kms::config::Builder::from(config).retry_partition(unlimited()).build();
    postrider_aws::Clients {
        db: aws_sdk_dynamodb::Client::from_conf(db),
        sqs: aws_sdk_sqs::Client::from_conf(sqs),
        kms: aws_sdk_kms::Client::from_conf(kms),
    }
}

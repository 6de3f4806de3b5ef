//! What `ports.rs` promises, as one suite that each engine must pass, and the simulation of them too, for a seed that
//! finds nothing proves no more than that. Each test has an engine of its own.

mod claims;
mod deliveries;
mod events;
mod grants;
mod healths;
mod inbox;
mod isolation;
mod keys;
mod lines;
mod matching;
mod paging;
mod parked;
mod polling;
mod queue;
mod restart;
mod samples;
mod stranded;
mod tenants;
mod topics;
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
use postrider_tests::servers::Servers;
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
    Aws { settings: Box<postrider_lambda::Settings>, dead: String },
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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("contract-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let queue =
            postrider_aws::provision::QueueSettings { visibility: VISIBILITY, max_receives: MAX_RECEIVES };
        let config = Servers::shared().config();
        let (settings, dead) = postrider_aws::provision::provision(&config, &prefix, queue).await.unwrap();
        Self::connect(settings, dead)
    }

    /// Another process's view of the same, with caches of its own.
    fn next_process(&self) -> Self {
        match &self.kept {
            Kept::Embedded { path, .. } => Self::open(path.clone(), None),
            Kept::Aws { settings, dead } => Self::connect((**settings).clone(), dead.clone()),
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

    fn connect(settings: postrider_lambda::Settings, dead: String) -> Self {
        let config = Servers::shared().config();
        let engine = postrider_aws::Engine::new(&config, settings.clone());
        let dead_settings = postrider_lambda::Settings { queue_url: dead.clone(), ..settings.clone() };
        let dead_letters = postrider_aws::Engine::new(&config, dead_settings);
        Self {
            store: Arc::new(engine.clone()),
            queue: Arc::new(engine.clone()),
            inbox: Inbox::Aws { engine, dead_letters },
            kept: Kept::Aws { settings: Box::new(settings), dead },
        }
    }
}

//! The processes: publishers, deliverers, schedulers and who takes registrations. They crash, and are started anew with
//! nothing but what the world has kept.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use futures::future::{Either, select};
use postrider::{hint::Lane, ports::Ports};

use crate::{
    executor::Who,
    faults::{MINUTE, SECOND},
    ports::ports,
    queue::{PATIENCE, Received, SimQueue},
    receivers::SimPost,
    trace::About,
    world::World,
};

/// How long an invocation of the delivery function may take (template.yaml).
const TIMEOUT: i64 = 60 * SECOND;

/// Which processes there are.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Processes that publish.
    pub publishers: usize,
    /// Processes that deliver.
    pub deliverers: usize,
    /// Processes that sweep.
    pub schedulers: usize,
    /// Batches that one process delivers at once.
    pub batches: usize,
}

/// All processes.
pub struct Fleet {
    world: World,
    size: Size,
    /// Those that run, with their ports.
    running: Mutex<BTreeMap<Who, Ports>>,
}

impl Fleet {
    /// All processes, started.
    pub fn start(world: &World, size: Size) -> Arc<Self> {
        let fleet = Arc::new(Self { world: world.clone(), size, running: Mutex::default() });
        for who in fleet.all() {
            fleet.start_one(who);
        }
        fleet
    }

    fn all(&self) -> Vec<Who> {
        let Size { publishers, deliverers, schedulers, .. } = self.size;
        let kinds = [("publisher", publishers), ("deliverer", deliverers), ("scheduler", schedulers)];
        let kinds = kinds.into_iter().chain([("registration", 1)]);
        kinds.flat_map(|(kind, count)| (0..count).map(move |n| Who(kind, n))).collect()
    }

    /// Any process of a kind.
    pub fn any(&self, kind: &str) -> Who {
        let all: Vec<Who> = self.all().into_iter().filter(|who| who.0 == kind).collect();
        self.world.lock().chance.pick(&all)
    }

    /// The ports of a process, if it runs.
    pub fn ports(&self, who: Who) -> Option<Ports> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&who).cloned()
    }

    fn start_one(&self, who: Who) {
        let ports = ports(&self.world, who);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(who, ports.clone());
        if who.0 == "deliverer" {
            for lane in Lane::ALL {
                self.world.spawn(who, pump(self.world.clone(), who, lane, ports.clone(), self.size.batches));
            }
        }
    }

    fn crash(&self, who: Who) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&who);
        self.world.kill(who);
        let mut core = self.world.lock();
        core.ledger.crashes += 1;
        core.note(who, &About::World, || "crashes".into());
    }

    /// Lets processes crash, one every `seconds` or so, until the faults stop.
    pub async fn fate(self: Arc<Self>, seconds: i64) {
        loop {
            let wait = self.world.lock().chance.between(0, 2 * seconds * SECOND);
            self.world.sleep(wait).await;
            let who = {
                let all = self.all();
                self.world.lock().chance.pick(&all)
            };
            if self.world.lock().faults.is_calm {
                return;
            }
            if self.ports(who).is_some() {
                self.crash(who);
                let wait = {
                    let core = &mut *self.world.lock();
                    let most = core.chance.pick(&[SECOND / 10, 10 * SECOND, 5 * MINUTE]);
                    core.chance.between(1000, most)
                };
                self.world.spawn(Who("fate", who.1), self.clone().restart(who, wait));
            }
        }
    }

    async fn restart(self: Arc<Self>, who: Who, wait: i64) {
        self.world.sleep(wait).await;
        self.world.lock().note(who, &About::World, || "starts anew".into());
        self.start_one(who);
    }
}

/// One that counts while it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// From the queue to the delivery function, as Lambda's event source mapping and the runner's pump do it.
async fn pump(world: World, who: Who, lane: Lane, ports: Ports, batches: usize) {
    let queue = SimQueue::new(world.clone(), who);
    let under_way = Arc::new(AtomicUsize::new(0));
    loop {
        queue.arrival(lane).await;
        if under_way.load(Ordering::Relaxed) >= batches {
            world.sleep(SECOND / 5).await;
            continue;
        }
        let max = 1 + world.lock().chance.index(10);
        match queue.receive(lane, max).await {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                under_way.fetch_add(1, Ordering::Relaxed);
                let counted = Counted(under_way.clone());
                let (queue, ports) = (queue.clone(), ports.clone());
                let post = SimPost::new(world.clone(), who);
                let deliver = deliver(world.clone(), queue, ports, post, records);
                world.spawn(who, async move {
                    deliver.await;
                    drop(counted);
                });
            }
            Err(_) => world.sleep(PATIENCE).await,
        }
    }
}

/// One invocation of the delivery function.
async fn deliver(world: World, queue: SimQueue, ports: Ports, post: SimPost, records: Vec<Received>) {
    let ids: Vec<u64> = records.iter().map(|record| record.id).collect();
    let mut event = SqsEvent::default();
    event.records = records.into_iter().map(message).collect();
    let handled = Box::pin(delivery::handle(&ports, &post, event));
    // An invocation that takes too long is ended where it stands; its messages come again.
    let Either::Left((response, _)) = select(handled, world.sleep(TIMEOUT)).await else { return };
    let failures = response.batch_item_failures.into_iter();
    let failed: Vec<u64> = failures.filter_map(|failure| failure.item_identifier.parse().ok()).collect();
    let done: Vec<u64> = ids.into_iter().filter(|id| !failed.contains(id)).collect();
    // Whatever comes of it: what is not deleted comes again.
    let _ = queue.delete(&done).await;
    let (at_once, delay) = {
        let chance = &mut world.lock().chance;
        (chance.in_1000(500), chance.between(0, 30 * SECOND))
    };
    if at_once && !failed.is_empty() {
        let _ = queue.put_back(&failed, delay).await;
    }
}

fn message(record: Received) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.attributes.insert("ApproximateReceiveCount".to_owned(), record.received.to_string());
    message.message_id = Some(record.id.to_string());
    message.body = Some(record.body);
    message
}

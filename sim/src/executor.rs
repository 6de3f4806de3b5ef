//! Tasks on one thread, in simulated time. Which of those that can go on does so is drawn from the seed; when none can,
//! the time jumps to the next timer. A task belongs to a process, and a crash drops all of a process's tasks where
//! they stand.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use crate::world::World;

/// A process, or somebody outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who(pub &'static str, pub usize);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which tasks can go on.
#[derive(Default)]
struct Ready(Mutex<Vec<u64>>);

impl Ready {
    fn push(&self, task: u64) {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&task) {
            ready.push(task);
        }
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.task);
    }
}

/// What is to be done between two steps, for no task can do it to the executor that runs it.
#[derive(Default)]
pub struct Orders {
    spawned: Vec<(Who, Task)>,
    killed: Vec<Who>,
    finished: bool,
}

impl Orders {
    /// Ends the run.
    pub fn stop(&mut self) {
        self.finished = true;
    }
}

/// When a timer goes off; of those of one moment, which comes first is chance.
type Key = (i64, u64, u64);

/// Timers, by when they go off.
#[derive(Default)]
pub struct Timers {
    wakers: BTreeMap<Key, Waker>,
    count: u64,
}

/// Runs the tasks of one world.
pub struct Executor {
    world: World,
    tasks: BTreeMap<u64, (Who, Waker, Task)>,
    ready: Arc<Ready>,
    count: u64,
}

impl Executor {
    /// With no tasks yet but those that were spawned in the world.
    pub fn new(world: World) -> Self {
        Self { world, tasks: BTreeMap::new(), ready: Arc::default(), count: 0 }
    }

    /// Runs until somebody says that it is finished; false: nothing can ever happen any more.
    pub fn run(&mut self) -> bool {
        loop {
            if self.obey() {
                return true;
            }
            if let Some(task) = self.next_ready() {
                self.poll(task);
            } else if !self.jump() {
                return false;
            }
        }
    }

    /// Does what tasks asked for; true: it is finished.
    fn obey(&mut self) -> bool {
        let orders = std::mem::take(&mut self.world.lock().orders);
        // Those that are killed may have just been spawned.
        for (who, task) in orders.spawned {
            if !orders.killed.contains(&who) {
                self.count += 1;
                let waker = Waker::from(Arc::new(TaskWaker { task: self.count, ready: self.ready.clone() }));
                self.tasks.insert(self.count, (who, waker, task));
                self.ready.push(self.count);
            }
        }
        for who in orders.killed {
            // Dropped with the world unlocked: what they hold may want to tell it.
            let dead: Vec<u64> =
                self.tasks.iter().filter(|(_, (whose, ..))| *whose == who).map(|(id, _)| *id).collect();
            for task in dead {
                drop(self.tasks.remove(&task));
            }
        }
        orders.finished
    }

    fn next_ready(&self) -> Option<u64> {
        let mut ready = self.ready.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_empty() {
            return None;
        }
        let at = self.world.lock().chance.index(ready.len());
        Some(ready.swap_remove(at))
    }

    fn poll(&mut self, id: u64) {
        let Some((_, waker, task)) = self.tasks.get_mut(&id) else { return };
        let waker = waker.clone();
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.tasks.remove(&id);
        }
    }

    fn jump(&mut self) -> bool {
        let mut core = self.world.lock();
        let Some(((at, ..), waker)) = core.timers.wakers.pop_first() else { return false };
        core.now = core.now.max(at);
        drop(core);
        waker.wake();
        true
    }
}

impl World {
    /// Starts a task of a process's.
    pub fn spawn(&self, who: Who, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().orders.spawned.push((who, Box::pin(task)));
    }

    /// Drops all tasks of a process where they stand.
    pub fn kill(&self, who: Who) {
        self.lock().orders.killed.push(who);
    }

    /// Ends the run.
    pub fn finish(&self) {
        self.lock().orders.stop();
    }

    /// Waits for so many microseconds.
    pub fn sleep(&self, micros: i64) -> Sleep {
        Sleep { until: self.lock().now + micros.max(0), world: self.clone(), key: None }
    }

    /// Waits until a moment.
    pub fn sleep_until(&self, until: i64) -> Sleep {
        Sleep { until, world: self.clone(), key: None }
    }
}

/// A wait for a moment. If it is dropped, its timer is too.
pub struct Sleep {
    world: World,
    until: i64,
    key: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let world = self.world.clone();
        let mut core = world.lock();
        if let Some(key) = self.key.take() {
            core.timers.wakers.remove(&key);
        }
        if core.now >= self.until {
            return Poll::Ready(());
        }
        core.timers.count += 1;
        let key = (self.until, core.chance.number(), core.timers.count);
        core.timers.wakers.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.world.lock().timers.wakers.remove(&key);
        }
    }
}

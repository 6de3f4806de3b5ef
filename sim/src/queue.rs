//! The queue: at least once, in no order, with delays, visibility and dead letters; messages get lost, doubled and late as
//! the seed says, for the queue is only a hint.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    errand::Errand,
    error::Error,
    fan_out,
    hint::Lane,
    model::Event,
    ports::{MAX_DELAY, Queue, Sending},
};

use crate::{
    executor::{Sleep, Who},
    faults::{MINUTE, Part, SECOND},
    trace::{About, clock},
    world::{Core, START, World},
};

struct Message {
    lane: Lane,
    body: String,
    about: About,
    visible_at: i64,
    received: u32,
}

/// What the queue holds.
pub struct Messages {
    /// How long a message that was handed out stays invisible.
    pub visibility: i64,
    /// How often a message is handed out before it becomes a dead letter.
    pub max_receives: u32,
    waiting: BTreeMap<u64, Message>,
    count: u64,
    dead: usize,
    wakers: Vec<Waker>,
}

impl Default for Messages {
    fn default() -> Self {
        // As template.yaml has them.
        let (visibility, max_receives) = (6 * MINUTE, 5);
        Self { visibility, max_receives, waiting: BTreeMap::new(), count: 0, dead: 0, wakers: Vec::new() }
    }
}

impl Messages {
    /// Whether it holds nothing, visible or not.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many became dead letters.
    pub fn dead(&self) -> usize {
        self.dead
    }

    fn put(&mut self, message: Message) {
        self.count += 1;
        self.waiting.insert(self.count, message);
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn next_visible(&self, lane: Lane) -> Option<i64> {
        self.waiting.values().filter(|message| message.lane == lane).map(|message| message.visible_at).min()
    }
}

impl Core {
    /// Queues hints; some get lost, doubled, or late.
    pub fn enqueue(&mut self, batch: Vec<Sending>) -> Result<(), Error> {
        for Sending { hint, delay, event } in batch {
            let carried = event.as_deref().filter(|_| self.faults.two_steps);
            let body = hint.write(carried)?;
            let (lane, about) = (hint.lane(), hint.delivery.into());
            self.enqueue_one(lane, &body, delay, &about, || format!("attempt {}", hint.attempt));
        }
        Ok(())
    }

    /// Queues what is to be queued of events just accepted.
    pub fn enqueue_new(&mut self, events: &[&Arc<Event>]) -> Result<(), Error> {
        self.enqueue(events.iter().flat_map(|event| Sending::first(event)).collect())?;
        for errand in events.iter().filter_map(|event| fan_out::rest(event, fan_out::PAGE)) {
            self.charge(&errand, Duration::ZERO)?;
        }
        Ok(())
    }

    fn charge(&mut self, errand: &Errand, delay: Duration) -> Result<(), Error> {
        let about = match errand {
            Errand::FanOut { tenant, event, .. } => About::Event(tenant.clone(), event.clone()),
            Errand::Replay { .. } => About::World,
        };
        self.enqueue_one(errand.lane(), &errand.write()?, delay, &about, || format!("{errand:?}"));
        Ok(())
    }

    fn enqueue_one(
        &mut self,
        lane: Lane,
        body: &str,
        delay: Duration,
        about: &About,
        what: impl Fn() -> String,
    ) {
        let delay = i64::try_from(delay.min(MAX_DELAY).as_micros()).unwrap_or_default();
        let faults = &self.faults;
        let rate = |rate| if faults.is_calm { 0 } else { rate };
        let (lost, doubled, held_up) = (rate(faults.lost), rate(faults.doubled), rate(faults.late));
        let copies = if self.chance.in_1000(lost) { 0 } else { 1 + u8::from(self.chance.in_1000(doubled)) };
        for _ in 0..copies {
            let more = if self.chance.in_1000(held_up) { self.chance.between(0, 4 * MINUTE) } else { 0 };
            let (about, visible_at) = (about.clone(), self.now + delay + more);
            self.messages.put(Message { lane, body: body.to_owned(), about, visible_at, received: 0 });
        }
        let who = Who("queue", 0);
        let at = self.now + delay;
        self.trace.note(self.now, who, about, || {
            let lost = if copies == 0 { ", but gets lost" } else { "" };
            format!("{} waits until {}, {copies} times{lost}", what(), clock(at, START).trim())
        });
    }
}

/// A message that was handed out.
#[derive(Debug, Clone)]
pub struct Received {
    /// By which it is deleted or put back.
    pub id: u64,
    /// What its sender wrote.
    pub body: String,
    /// How often it was handed out, this time included.
    pub received: u32,
}

/// One process's view of the queue.
#[derive(Clone)]
pub struct SimQueue {
    world: World,
    who: Who,
}

impl SimQueue {
    /// A view.
    pub fn new(world: World, who: Who) -> Self {
        Self { world, who }
    }

    async fn call<T: Send>(
        &self,
        verb: &'static str,
        about: About,
        effect: impl FnOnce(&mut Core) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        self.world.call(self.who, Part::Queue, verb, about, effect).await
    }

    /// Hands out up to `max` messages of a lane that are visible, any of them.
    pub async fn receive(&self, lane: Lane, max: usize) -> Result<Vec<Received>, Error> {
        let take = |core: &mut Core| Ok(core.take_messages(self.who, lane, max));
        self.call("receive", About::Deliveries(Vec::new()), take).await
    }

    /// Deletes messages that are done with.
    pub async fn delete(&self, ids: &[u64]) -> Result<(), Error> {
        let delete = |core: &mut Core| {
            core.messages.waiting.retain(|id, _| !ids.contains(id));
            Ok(())
        };
        self.call("delete", About::Deliveries(Vec::new()), delete).await
    }

    /// Makes messages visible again.
    pub async fn put_back(&self, ids: &[u64], delay: i64) -> Result<(), Error> {
        let put_back = |core: &mut Core| {
            let visible_at = core.now + delay;
            for id in ids {
                if let Some(message) = core.messages.waiting.get_mut(id) {
                    message.visible_at = visible_at;
                }
            }
            core.messages.wakers.drain(..).for_each(Waker::wake);
            Ok(())
        };
        self.call("put_back", About::Deliveries(Vec::new()), put_back).await
    }

    /// How many messages became dead letters.
    pub fn dead_letters(&self) -> usize {
        self.world.lock().messages.dead
    }

    /// Waits until a message of a lane is visible.
    pub fn arrival(&self, lane: Lane) -> Arrival {
        Arrival { world: self.world.clone(), lane, timer: None }
    }
}

impl Core {
    fn take_messages(&mut self, who: Who, lane: Lane, max: usize) -> Vec<Received> {
        let now = self.now;
        let is_visible = |message: &Message| message.lane == lane && message.visible_at <= now;
        let visible = self.messages.waiting.iter().filter(|(_, message)| is_visible(message));
        let mut visible: Vec<u64> = visible.map(|(id, _)| *id).collect();
        let mut taken = Vec::new();
        while taken.len() < max && !visible.is_empty() {
            let id = visible.swap_remove(self.chance.index(visible.len()));
            let Some(message) = self.messages.waiting.get_mut(&id) else { continue };
            let about = message.about.clone();
            if message.received >= self.messages.max_receives {
                self.messages.waiting.remove(&id);
                self.messages.dead += 1;
                self.note(who, &about, || "the message becomes a dead letter".into());
                continue;
            }
            message.received += 1;
            message.visible_at = now + self.messages.visibility;
            let received = message.received;
            taken.push(Received { id, body: message.body.clone(), received });
            self.note(who, &about, || format!("receives message {id}, handed out {received} times"));
        }
        taken
    }
}

#[async_trait]
impl Queue for SimQueue {
    async fn send(&self, batch: Vec<Sending>) -> Result<(), Error> {
        let about = About::Deliveries(batch.iter().map(|sending| sending.hint.delivery).collect());
        self.call("send", about, |core| core.enqueue(batch)).await
    }

    async fn charge(&self, errand: &Errand, delay: Duration) -> Result<(), Error> {
        let charge = |core: &mut Core| core.charge(errand, delay);
        self.call("charge", About::World, charge).await
    }
}

/// A wait for a message.
pub struct Arrival {
    world: World,
    lane: Lane,
    timer: Option<Sleep>,
}

impl Future for Arrival {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let next = {
            let mut core = self.world.lock();
            core.messages.wakers.push(cx.waker().clone());
            let next = core.messages.next_visible(self.lane);
            if next.is_some_and(|at| at <= core.now) {
                return Poll::Ready(());
            }
            next
        };
        self.timer = next.map(|at| self.world.sleep_until(at));
        match &mut self.timer {
            // It cannot be over: nothing has moved since.
            Some(timer) => Pin::new(timer).poll(cx),
            None => Poll::Pending,
        }
    }
}

/// How long a consumer waits before it looks at a queue again that did not answer.
pub const PATIENCE: i64 = SECOND;

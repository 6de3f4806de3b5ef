//! Publishers: they publish each event until they are told that it is accepted, or lose patience.

use std::sync::Arc;

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use postrider::{
    access::Principal,
    error::Error,
    model::{EventId, Metadata, OrderingKey, Payload, Payloads, TenantId, Topic},
    operation::{NewEvent, Receipt},
    publish,
};

use crate::{executor::Who, faults::SECOND, fleet::Fleet, receivers::mark, trace::About, world::World};

/// How long a publisher waits for an answer.
const PATIENCE: i64 = 29 * SECOND;

/// What one publisher publishes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose events.
    pub tenant: TenantId,
    /// Their topic.
    pub topic: Topic,
    /// How many.
    pub events: usize,
    /// How long he takes for all of them.
    pub span: i64,
    /// How often he tries.
    pub tries: usize,
    /// How many ordering keys his events have.
    pub keys: usize,
}

fn event(plan: &Plan, id: &EventId) -> NewEvent {
    let payload = format!("{{\"id\":\"{}\"}}", mark(&plan.tenant, id.as_str()));
    NewEvent {
        tenant: Some(plan.tenant.clone()),
        id: Some(id.clone()),
        topic: plan.topic.clone(),
        payload: Payload::from_store(payload),
        payloads: Payloads::new(),
        metadata: Metadata::new(),
        ordering_key: key(plan.keys, id),
        occurred_at: None,
    }
}

/// Some have none; an event has the same whenever it is published.
fn key(keys: usize, id: &EventId) -> Option<OrderingKey> {
    let number: usize = id.as_str().trim_start_matches('e').parse().ok()?;
    let key = number.checked_rem(keys).filter(|_| number % 4 != 3)?;
    format!("k{key}").parse().ok()
}

/// Publishes all of it, a few events at a time. Tenants' events have the same ids, for they need not differ.
pub async fn publish(world: World, fleet: Arc<Fleet>, plan: Plan) {
    let ids = (0..plan.events).map(|n| format!("e{n}").parse::<EventId>().expect("an id"));
    let ids: Vec<EventId> = ids.collect();
    let mut left = &ids[..];
    let pause = 2 * plan.span / i64::try_from(plan.events.max(1)).unwrap_or(1);
    while !left.is_empty() {
        let (count, wait) = {
            let chance = &mut world.lock().chance;
            let count = if chance.in_1000(300) { 1 + chance.index(4) } else { 1 };
            (count.min(left.len()), chance.between(0, pause))
        };
        world.sleep(wait * i64::try_from(count).unwrap_or(1)).await;
        let (now, later) = left.split_at(count);
        left = later;
        persist(&world, &fleet, &plan, now.to_vec()).await;
    }
}

/// Publishes until each is accepted, and sometimes once more.
async fn persist(world: &World, fleet: &Arc<Fleet>, plan: &Plan, mut ids: Vec<EventId>) {
    for _ in 0..plan.tries {
        let results = ask(world, fleet, plan, &ids).await;
        let accepted = |id: &EventId, result: &Result<Receipt, Error>| match result {
            Ok(receipt) if receipt.id == *id => true,
            Ok(_) | Err(Error::Unavailable(_)) => false,
            Err(error) => {
                let detail = format!("{id}: {error:?}");
                world.lock().violated("who publishes is told nothing odd", None, detail);
                false
            }
        };
        let mut left = Vec::new();
        for (id, result) in ids.iter().zip(&results) {
            if accepted(id, result) {
                world.lock().promise(Who("client", 0), &plan.tenant, id);
                // Some are not sure that they heard right.
                if world.lock().chance.in_1000(950) {
                    continue;
                }
            }
            left.push(id.clone());
        }
        if left.is_empty() {
            return;
        }
        ids = left;
        let wait = {
            let core = &mut *world.lock();
            let most = core.chance.pick(&[SECOND, 30 * SECOND, 300 * SECOND]);
            core.chance.between(0, most)
        };
        world.sleep(wait).await;
    }
}

/// One request to any of the publishing processes.
async fn ask(world: &World, fleet: &Fleet, plan: &Plan, ids: &[EventId]) -> Vec<Result<Receipt, Error>> {
    let unheard = || vec![Err(Error::Unavailable("no answer".into())); ids.len()];
    let who = fleet.any("publisher");
    let Some(ports) = fleet.ports(who) else { return unheard() };
    let batch: Vec<_> = ids.iter().map(|id| Ok(event(plan, id))).collect();
    for id in ids {
        let about = About::Event(plan.tenant.clone(), id.clone());
        world.lock().note(Who("client", 0), &about, || format!("publishes at {who}"));
    }
    let (answer, answered) = oneshot::channel();
    world.spawn(who, async move {
        let results = publish::publish(&ports, &Principal::operator(), batch).await;
        // Who asked may have lost patience.
        let _ = answer.send(results);
    });
    match select(answered, world.sleep(PATIENCE)).await {
        Either::Left((Ok(results), _)) => results,
        Either::Left((Err(_), _)) | Either::Right(_) => unheard(),
    }
}

//! How much is under way at once: to one webhook, so that it does not take all the room there is; to one host, whosever its
//! webhooks are, so that nobody aims all of us at one victim; and how many connections to one place are being opened.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use postrider::{model::WebhookId, ports::Room};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Exchanges with one webhook: more than a quick receiver ever has under way, and a quarter of the runner's room for first
/// attempts.
const PER_WEBHOOK: usize = 512;
/// How long one waits for another to leave a host: longer than most exchanges with a quick one.
const PATIENCE: Duration = Duration::from_millis(200);
/// Connections to one place that are being opened at once: half of those that a listener which nobody tuned keeps waiting (128,
/// `SOMAXCONN` of old). It drops what comes beyond, and the client asks again after a second (RFC 6298).
const OPENING: usize = 64;
/// How long one waits for the connections of others to open: one of them may be done with by then. Receivers that are
/// farther away, or dead, keep nobody longer.
const OPENED_IN: Duration = Duration::from_millis(250);
/// So many are kept before those that nothing is under way to are dropped.
const MANY: usize = 10_000;

/// The room that is left, by what it is for.
struct Rooms<K> {
    each: usize,
    left: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Hash + Eq> Rooms<K> {
    fn new(each: usize) -> Self {
        Self { each, left: Mutex::default() }
    }

    fn of<Q: Hash + Eq + ToOwned<Owned = K> + ?Sized>(&self, whose: &Q) -> Arc<Semaphore>
    where
        K: Borrow<Q>,
    {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = left.get(whose) {
            return room.clone();
        }
        if left.len() >= MANY {
            // Whoever is about to enter holds it too.
            left.retain(|_, room| Arc::strong_count(room) > 1 || room.available_permits() < self.each);
        }
        left.entry(whose.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.each))).clone()
    }

    /// Room for one more, at once or within a while.
    async fn enter<Q: Hash + Eq + ToOwned<Owned = K> + ?Sized>(
        &self,
        whose: &Q,
        patience: Duration,
    ) -> Option<OwnedSemaphorePermit>
    where
        K: Borrow<Q>,
    {
        let room = self.of(whose);
        match room.clone().try_acquire_owned() {
            Ok(entered) => Some(entered),
            Err(_) => timeout(patience, room.acquire_owned()).await.ok()?.ok(),
        }
    }
}

/// All that is under way.
pub(crate) struct Crowd {
    webhooks: Rooms<WebhookId>,
    hosts: Option<Rooms<String>>,
    opening: Rooms<String>,
}

impl Crowd {
    /// Nothing yet; none: to one host as much as may be.
    pub(crate) fn new(per_host: Option<usize>) -> Self {
        let hosts = per_host.map(Rooms::new);
        Self { webhooks: Rooms::new(PER_WEBHOOK), hosts, opening: Rooms::new(OPENING) }
    }

    /// Room for one more; none: there is none, or none soon.
    pub(crate) async fn enter(&self, webhook: WebhookId, host: Option<&str>) -> Option<Room> {
        let own = self.webhooks.of(&webhook).try_acquire_owned().ok()?;
        let Some((hosts, host)) = self.hosts.as_ref().zip(host) else { return Some(Box::new(own)) };
        let host = hosts.enter(host, PATIENCE).await?;
        Some(Box::new((own, host)))
    }

    /// To be held while a connection is opened. None: others to the same place take long, and it is opened beside them.
    pub(crate) async fn opening(&self, place: &str) -> Option<OwnedSemaphorePermit> {
        self.opening.enter(place, OPENED_IN).await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_host_has_no_more_room_for_many_webhooks_than_for_one() {
        let crowd = Crowd::new(Some(2));
        let enter = async |webhook, host| crowd.enter(WebhookId(Uuid::from_u128(webhook)), Some(host)).await;
        let (first, second) = (enter(1, "victim.example").await, enter(2, "victim.example").await);
        assert!(first.is_some() && second.is_some());
        assert!(enter(3, "victim.example").await.is_none());
        assert!(enter(3, "other.example").await.is_some());
        let soon = async {
            tokio::time::sleep(PATIENCE / 10).await;
            drop(first);
        };
        let (third, ()) = tokio::join!(enter(3, "victim.example"), soon);
        assert!(third.is_some(), "who waits a little gets the room of one who leaves");
    }

    #[tokio::test]
    async fn a_webhook_has_room_of_its_own() {
        let crowd = Crowd::new(None);
        let enter =
            async |webhook| crowd.enter(WebhookId(Uuid::from_u128(webhook)), Some("one.example")).await;
        let mut all = Vec::new();
        for _ in 0..PER_WEBHOOK {
            all.push(enter(1).await.unwrap());
        }
        assert!(enter(1).await.is_none());
        assert!(enter(2).await.is_some());
        all.pop();
        assert!(enter(1).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn few_connections_to_a_place_are_opened_at_once_but_nobody_waits_long() {
        let crowd = Crowd::new(None);
        let mut opening = Vec::new();
        for _ in 0..OPENING {
            opening.push(crowd.opening("https://shop.example").await.unwrap());
        }
        assert!(crowd.opening("https://other.example").await.is_some());
        let began = tokio::time::Instant::now();
        assert!(crowd.opening("https://shop.example").await.is_none());
        assert_eq!(began.elapsed(), OPENED_IN);
        opening.pop();
        assert!(crowd.opening("https://shop.example").await.is_some());
    }

    #[test]
    fn what_nothing_is_under_way_to_is_not_kept_for_ever() {
        let rooms = Rooms::<String>::new(2);
        let taken = rooms.of("taken").try_acquire_owned().unwrap();
        for n in 0..2 * MANY {
            rooms.of(format!("host-{n}").as_str());
        }
        assert!(rooms.left.lock().unwrap().len() <= MANY);
        assert_eq!(rooms.of("taken").available_permits(), 1);
        drop(taken);
        assert_eq!(rooms.of("taken").available_permits(), 2);
    }
}

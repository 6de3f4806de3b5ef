//! What was read a moment ago.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

/// Entries at most.
const CAPACITY: usize = 10_000;

/// Values, each for a short time; this process's own writes make all of them void at once.
pub(crate) struct Brief<K, V> {
    cache: Cache<K, Kept<V>>,
    kept: Duration,
    generation: AtomicU64,
}

#[derive(Clone)]
struct Kept<V> {
    until: Instant,
    generation: u64,
    value: V,
}

impl<K: Hash + Eq + Clone, V: Clone> Brief<K, V> {
    pub(crate) fn new(kept: Duration) -> Self {
        Self { cache: Cache::new(CAPACITY), kept, generation: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let found = self.cache.get(key)?;
        (found.generation == self.generation() && Instant::now() < found.until).then_some(found.value)
    }

    /// To be asked for before the value is read: a write in between then makes the value void.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn put(&self, key: K, generation: u64, value: V) {
        self.cache.insert(key, Kept { until: Instant::now() + self.kept, generation, value });
    }

    pub(crate) fn void(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

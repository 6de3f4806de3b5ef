//! A cache that every write makes void, so it never tells what is no longer so.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::sync::Cache;

/// Values, each with the generation it was read in.
pub(crate) struct Generational<K, V> {
    cache: Cache<K, (u64, V)>,
    generation: Arc<AtomicU64>,
}

impl<K: Hash + Eq + Clone, V: Clone> Generational<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { cache: Cache::new(capacity), generation: Arc::default() }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let (generation, value) = self.cache.get(key)?;
        (generation == self.generation()).then_some(value)
    }

    /// To be asked for before the value is read: a write in between then makes the value void.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn put(&self, key: K, generation: u64, value: V) {
        self.cache.insert(key, (generation, value));
    }

    /// What makes everything void.
    pub(crate) fn voider(&self) -> impl FnOnce() + Send + use<K, V> {
        let generation = self.generation.clone();
        move || {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }
}

//! The filters in use, each compiled once however many topics it is matched for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Compiled, Filter};
use crate::error::Error;

/// Compiled filters by their text, for as long as somebody holds them. What an engine knows of who gets a topic names
/// a webhook's filter for each of its topics: without this, a thousand filters and a hundred topics would be a hundred
/// thousand.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    filters: HashMap<String, Weak<Compiled>>,
    /// When to look for those that nobody holds any more.
    next_look: usize,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} filters]", self.filters.len())
    }
}

impl Shelf {
    /// The filter of this text, which a store kept of an earlier one.
    ///
    /// ```
    /// let shelf = postrider::filter::Shelf::default();
    /// let filter = shelf.filter(r#"{"topic":["order.created"]}"#).unwrap();
    /// assert!(filter.matches(&serde_json::json!({ "topic": "order.created" })));
    /// assert!(shelf.filter("{}").is_err());
    /// ```
    pub fn filter(&self, text: &str) -> Result<Filter, Error> {
        let known = |kept: &Kept| kept.filters.get(text).and_then(Weak::upgrade).map(Filter);
        if let Some(filter) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(filter);
        }
        let odd = |error: &dyn std::fmt::Display| Error::Internal(format!("a filter that was kept: {error}"));
        let pattern = serde_json::from_str(text).map_err(|error| odd(&error))?;
        let filter = Filter::compile(&pattern).map_err(|error| odd(&error))?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been quicker.
        if let Some(filter) = known(&kept) {
            return Ok(filter);
        }
        if kept.filters.len() >= kept.next_look {
            kept.filters.retain(|_, filter| filter.strong_count() > 0);
            kept.next_look = kept.filters.len() * 2 + 64;
        }
        kept.filters.insert(text.to_owned(), Arc::downgrade(&filter.0));
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_compiled_once_and_forgotten_when_nobody_holds_it() {
        let shelf = Shelf::default();
        let text = |n: usize| format!("{{\"payload\":{{\"n\":[{n}]}}}}");
        let held = shelf.filter(&text(0)).unwrap();
        for n in 0..1000 {
            shelf.filter(&text(n)).unwrap();
        }
        assert!(shelf.0.lock().unwrap().filters.len() < 200);
        assert!(Arc::ptr_eq(&held.0, &shelf.filter(&text(0)).unwrap().0));
    }
}

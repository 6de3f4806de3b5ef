//! Filters in our own API.

use super::json::Fields;
use crate::{error::Error, filter::Filter};

/// A webhook's filter; null: it gets every event of its topics.
pub(super) fn filter(fields: &mut Fields) -> Result<Option<Filter>, Error> {
    fields.value("filter").map(|pattern| Filter::of_events(&pattern)).transpose()
}

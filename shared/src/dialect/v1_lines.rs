//! Order in our own API.

use super::json::Fields;
use crate::{error::Error, model::OnFailure};

/// Whether a webhook gets events of one ordering key one after the other, and what becomes of them when one fails.
pub(super) fn ordered(fields: &mut Fields, is_polled: bool) -> Result<Option<OnFailure>, Error> {
    let is_ordered = fields.flag("ordered")?.unwrap_or_default();
    let on_failure = match fields.text("on_failure")?.as_deref() {
        None => None,
        Some("skip") => Some(OnFailure::Skip),
        Some("block") => Some(OnFailure::Block),
        Some(_) => return Err(Error::invalid("on_failure", "must be skip or block")),
    };
    match (is_ordered, on_failure) {
        (true, _) if is_polled => {
            Err(Error::invalid("ordered", "must not be given: who polls gets events in order"))
        }
        (true, on_failure) => Ok(Some(on_failure.unwrap_or(OnFailure::Skip))),
        (false, Some(_)) => Err(Error::invalid("on_failure", "must not be given without ordered")),
        (false, None) => Ok(None),
    }
}

//! How much may go to a webhook, in our own API.

use super::json::Fields;
use crate::{error::Error, model::Rate};

/// How many deliveries may begin in a second; null: any number.
pub(super) fn rate(fields: &mut Fields) -> Result<Option<Rate>, Error> {
    let wrong = Error::field("max_per_second");
    let rate = |value: serde_json::Value| Rate::try_from(value.as_f64().unwrap_or(f64::NAN)).map_err(wrong);
    fields.value("max_per_second").map(rate).transpose()
}

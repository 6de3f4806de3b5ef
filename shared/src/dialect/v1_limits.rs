//! How much may go to a webhook, in our own API.

use super::json::Fields;
use crate::{
    error::Error,
    model::{InFlight, Limits, Rate},
};

/// Both bounds of a webhook that is made.
pub(super) fn limits(fields: &mut Fields) -> Result<Limits, Error> {
    Ok(Limits { max_per_second: rate(fields)?, max_in_flight: in_flight(fields)? })
}

/// How many deliveries may begin in a second; null: any number.
pub(super) fn rate(fields: &mut Fields) -> Result<Option<Rate>, Error> {
    let wrong = Error::field("max_per_second");
    let rate = |value: serde_json::Value| Rate::try_from(value.as_f64().unwrap_or(f64::NAN)).map_err(wrong);
    fields.value("max_per_second").map(rate).transpose()
}

/// How many may be under way at once; null: as many as the process that sends them can do with.
pub(super) fn in_flight(fields: &mut Fields) -> Result<Option<InFlight>, Error> {
    let wrong = Error::field("max_in_flight");
    let most = |value: serde_json::Value| InFlight::try_from(value.as_u64().unwrap_or(0)).map_err(wrong);
    fields.value("max_in_flight").map(most).transpose()
}

//! A webhook's own delivery rules, in our own API.

use serde_json::{Value, json};

use super::json::Fields;
use crate::{
    error::Error,
    in_force::InForce,
    model::{BadId, OwnRules, Statuses, Webhook},
};

/// What a webhook's owner says of its delivery; null, or a part that is null: as its dialect has it.
pub(super) fn rules(fields: &mut Fields) -> Result<OwnRules, Error> {
    let mut parts = match fields.value("delivery") {
        None => return Ok(OwnRules::default()),
        Some(Value::Object(parts)) => Fields::from(parts),
        Some(_) => return Err(Error::invalid("delivery", "must be an object")),
    };
    let rules = OwnRules {
        schedule: read(&mut parts, "schedule", "must be a list of whole seconds")?,
        attempts: read(&mut parts, "attempts", "must be a whole number")?,
        timeout: read(&mut parts, "timeout", "must be whole seconds")?,
        success: statuses(&mut parts)?,
    };
    parts.end().map_err(within)?;
    Ok(rules)
}

fn read<T: serde::de::DeserializeOwned>(
    parts: &mut Fields,
    name: &str,
    wanted: &str,
) -> Result<Option<T>, Error> {
    let read = |value| serde_json::from_value(value).map_err(|_| within(Error::invalid(name, wanted)));
    parts.value(name).map(read).transpose()
}

fn statuses(parts: &mut Fields) -> Result<Option<Vec<Statuses>>, Error> {
    let bad = |reason: &str| within(Error::invalid("success", reason));
    match parts.value("success") {
        None => Ok(None),
        Some(Value::Array(all)) => {
            let read = |status| Statuses::try_from(status).map_err(|error: BadId| bad(error.0));
            all.into_iter().map(read).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(bad("must be a list of statuses, ranges such as \"200-204\", or \"2xx\"")),
    }
}

fn within(error: Error) -> Error {
    match error {
        Error::Invalid { field, reason } => Error::invalid(format!("delivery/{field}"), reason),
        other => other,
    }
}

/// A webhook's own rules, as they were given, so that they can be written back.
pub(super) fn own_view(webhook: &Webhook) -> Value {
    if webhook.rules.is_empty() { Value::Null } else { json!(webhook.rules) }
}

/// All of the rules in force for a webhook, its own and its dialect's.
pub(super) fn in_force_view(webhook: &Webhook) -> Value {
    // Of a dialect that is no more there is nothing to tell.
    let Ok(rules) = InForce::of(webhook) else { return Value::Null };
    let waits = (1..).map_while(|number| rules.wait_after(number)).map(|wait| wait.as_secs());
    json!({
        "schedule": waits.collect::<Vec<_>>(), "attempts": rules.attempts(), "timeout": rules.timeout().as_secs(),
        "success": rules.success(),
    })
}

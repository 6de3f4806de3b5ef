//! Replays in our own API.

use serde_json::{Value, json};

use super::{
    Request,
    json::Fields,
    v1::{asked, page, time},
};
use crate::{
    catalogue::Catalogue,
    error::Error,
    model::{Replay, Stage, TopicPattern, Wanted},
    operation::{Asked, Operation},
    replay::Draft,
};

/// Deliveries that a replay may take up in a second at most.
const FASTEST: u64 = 1000;

/// What the paths below `/v1/replays` ask for.
pub(super) fn operation(
    request: &Request,
    catalogue: &Catalogue,
    method: &str,
    parts: &[&str],
) -> Result<Operation, Error> {
    let id = |text: &str| text.parse().map_err(|_| Error::NotFound("replay"));
    match (method, parts) {
        ("POST", []) => start(request, catalogue),
        ("GET", []) => Ok(Operation::ListReplays(asked(request)?, page(request)?)),
        ("GET", [text]) => Ok(Operation::GetReplay(asked(request)?, id(text)?)),
        ("DELETE", [text]) => Ok(Operation::CancelReplay(asked(request)?, id(text)?)),
        (_, [] | [_]) => Err(Error::MethodNotAllowed),
        _ => Err(Error::NotFound("path")),
    }
}

fn start(request: &Request, catalogue: &Catalogue) -> Result<Operation, Error> {
    let mut fields = Fields::of(request)?;
    let asked = Asked { tenant: fields.parsed("tenant")?, dialect: None };
    let pattern = |name: String| {
        let known = || catalogue.topic(&name).map(TopicPattern::One);
        let pattern = TopicPattern::try_from(name.clone()).ok().or_else(known);
        pattern.ok_or_else(|| Error::invalid("topic", format!("no topic is called {name:?}")))
    };
    let draft = Draft {
        webhook: fields.parsed("webhook")?,
        topic: fields.text("topic")?.map(pattern).transpose()?,
        wanted: wanted(fields.text("status")?.as_deref())?,
        since: time(&mut fields, "since")?.ok_or_else(|| Error::invalid("since", "is required"))?,
        until: time(&mut fields, "until")?,
        per_second: per_second(fields.value("per_second"))?,
    };
    fields.end()?;
    Ok(Operation::StartReplay(asked, Box::new(draft)))
}

fn wanted(status: Option<&str>) -> Result<Wanted, Error> {
    Ok(match status {
        None | Some("failed") => Wanted::Failed,
        Some("missing") => Wanted::Missing,
        Some("delivered") => Wanted::Delivered,
        Some("any") => Wanted::Any,
        Some(_) => return Err(Error::invalid("status", "must be failed, missing, delivered or any")),
    })
}

fn per_second(value: Option<Value>) -> Result<Option<u32>, Error> {
    let Some(value) = value else { return Ok(None) };
    let number = value.as_u64().filter(|number| (1..=FASTEST).contains(number));
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.map(Some).ok_or_else(|| Error::invalid("per_second", "must be a number from 1 to 1000"))
}

/// How a replay is shown.
pub(super) fn view(replay: &Replay) -> Value {
    let question = &replay.question;
    let is_queueing = replay.stage == Stage::Queueing;
    let counts = replay.counted.map(|(counts, _)| counts).unwrap_or_default();
    let seconds = replay.updated_at.duration_since(replay.created_at).as_secs_f64();
    let share = replay.share();
    let left = (is_queueing && share > 0.0).then(|| seconds / share * (1.0 - share));
    let left = left.and_then(|left| jiff::SignedDuration::try_from_secs_f64(left).ok());
    json!({
        "id": replay.id, "tenant": replay.tenant, "webhook": question.webhook, "topic": question.topic,
        "status": question.wanted, "since": question.window.since, "until": question.window.until,
        "per_second": replay.per_second, "state": replay.stage,
        "queued": replay.queued, "total": (!is_queueing).then_some(replay.queued),
        "done": counts.delivered, "failed": counts.failed, "parked": counts.parked, "pending": counts.pending,
        "counted_at": replay.counted.map(|(_, at)| at),
        "rate": (seconds > 0.0).then(|| per_tenth(replay.queued, seconds)).filter(|_| is_queueing),
        "estimated_end": left.and_then(|left| replay.updated_at.checked_add(left).ok()),
        "created_at": replay.created_at, "updated_at": replay.updated_at,
    })
}

/// So many in a second, to a tenth.
#[expect(clippy::cast_precision_loss, reason = "a rate is shown with one decimal")]
fn per_tenth(count: u64, seconds: f64) -> f64 {
    (count as f64 / seconds * 10.0).round() / 10.0
}

//! What a webhook's owner says of its delivery, in the place of what its dialect documents.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BadId;

/// Waits of a schedule at most.
const MAX_WAITS: usize = 100;
/// The longest of them, in seconds: two days.
const MAX_WAIT: u32 = 2 * 86_400;
/// All of them together at most, in seconds. An event is kept for 30 days: with a fifth of spread these are 24, and the
/// rest is for what a receiver asks for.
const MAX_TOTAL: u32 = 20 * 86_400;
/// The longest timeout, in seconds: the delivery function has 60, for a batch that it sends at once and its records.
const MAX_TIMEOUT: u32 = 30;
/// Entries of a success rule at most.
const MAX_STATUSES: usize = 20;

/// What a webhook's owner says of its delivery; what is none is as the webhook's dialect has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OwnRules {
    /// Seconds to wait before each attempt but the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<u32>>,
    /// How many attempts there are at most: no more than the schedule has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Seconds that the whole exchange may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Which statuses count as delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<Vec<Statuses>>,
}

/// One of the rules that is not acceptable, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRule(pub &'static str, pub BadId);

impl OwnRules {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges them, for a webhook whose dialect makes `documented` attempts.
    pub fn check(&self, documented: usize) -> Result<(), BadRule> {
        if let Some(waits) = &self.schedule {
            let bad = |reason| Err(BadRule("schedule", BadId(reason)));
            if waits.len() > MAX_WAITS {
                return bad("must have at most 100 waits");
            }
            if !waits.iter().all(|wait| (1..=MAX_WAIT).contains(wait)) {
                return bad("must be waits of 1 to 172,800 seconds");
            }
            if waits.iter().sum::<u32>() > MAX_TOTAL {
                return bad("must be over within 20 days: an event is kept for 30");
            }
        }
        let most = self.schedule.as_ref().map_or(documented, |waits| waits.len() + 1);
        if self.attempts.is_some_and(|count| count == 0 || usize::try_from(count).is_ok_and(|n| n > most)) {
            return Err(BadRule("attempts", BadId("must be 1 to one more than the schedule has waits")));
        }
        if self.timeout.is_some_and(|seconds| !(1..=MAX_TIMEOUT).contains(&seconds)) {
            return Err(BadRule("timeout", BadId("must be 1 to 30 seconds")));
        }
        if self.success.as_ref().is_some_and(|all| all.is_empty() || all.len() > MAX_STATUSES) {
            return Err(BadRule("success", BadId("must name 1 to 20 statuses or ranges")));
        }
        Ok(())
    }
}

/// Statuses from one to another, both included, that may be taken for success; in JSON a number, or `"2xx"`, or
/// `"200-204"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Statuses {
    from: u16,
    to: u16,
}

impl Statuses {
    /// 200 to 299.
    pub const ANY_2XX: Self = Self { from: 200, to: 299 };
    /// 200 to 209.
    pub const ANY_20X: Self = Self { from: 200, to: 209 };
    /// 200 alone.
    pub const OK: Self = Self { from: 200, to: 200 };

    /// Whether a status is among them.
    pub fn take(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

/// Whether a receiver can mean by it that it has the message: 2xx, or a 4xx such as 409 for what it knows already. Not
/// if it says that it is gone (410, which disables its webhook), or asks for another time (408, 425, 429); nor a
/// redirect, which is not followed, nor a fault of its own.
fn may_succeed(status: u16) -> bool {
    matches!(status, 200..=299 | 400..=499) && !matches!(status, 408 | 410 | 425 | 429)
}

impl TryFrom<Value> for Statuses {
    type Error = BadId;
    fn try_from(written: Value) -> Result<Self, BadId> {
        let range = match &written {
            Value::Number(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()).map(|n| (n, n)),
            Value::String(text) if text == "2xx" => Some((200, 299)),
            Value::String(text) => {
                let status = |part: &str| {
                    let is_one = part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit());
                    is_one.then(|| part.parse().ok())?
                };
                text.split_once('-').and_then(|(from, to)| Some((status(from)?, status(to)?)))
            }
            _ => None,
        };
        let (from, to) =
            range.ok_or(BadId("must be a list of statuses, ranges such as \"200-204\", or \"2xx\""))?;
        if from > to || !(from..=to).all(may_succeed) {
            return Err(BadId("must be 2xx or 4xx, but not 408, 410, 425 or 429"));
        }
        Ok(Self { from, to })
    }
}

impl From<Statuses> for Value {
    fn from(statuses: Statuses) -> Self {
        match statuses {
            Statuses::ANY_2XX => "2xx".into(),
            Statuses { from, to } if from == to => from.into(),
            Statuses { from, to } => format!("{from}-{to}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use serde_json::json;

    fn wrong(rules: Value, documented: usize) -> Option<&'static str> {
        let rules: OwnRules = serde_json::from_value(rules).unwrap();
        rules.check(documented).err().map(|BadRule(which, _)| which)
    }

    #[test]
    fn rules_are_held_to_their_bounds() {
        for (rules, field) in [
            (json!({ "schedule": vec![1; 101] }), "schedule"),
            (json!({ "schedule": [0] }), "schedule"),
            (json!({ "schedule": [172_801] }), "schedule"),
            (json!({ "schedule": vec![172_800; 11] }), "schedule"),
            (json!({ "attempts": 0 }), "attempts"),
            (json!({ "attempts": 11 }), "attempts"),
            (json!({ "schedule": [5], "attempts": 3 }), "attempts"),
            (json!({ "timeout": 0 }), "timeout"),
            (json!({ "timeout": 31 }), "timeout"),
            (json!({ "success": [] }), "success"),
            (json!({ "success": vec![200; 21] }), "success"),
        ] {
            assert_eq!(wrong(rules.clone(), 10), Some(field), "{rules}");
        }
        for rules in [
            json!({}),
            json!({ "schedule": [] }),
            json!({ "schedule": vec![172_800; 10] }),
            json!({ "attempts": 10, "timeout": 30 }),
            json!({ "schedule": [5], "attempts": 2, "timeout": 1, "success": [200] }),
        ] {
            assert_eq!(wrong(rules.clone(), 10), None, "{rules}");
        }
    }

    #[test]
    fn only_what_can_mean_success_is_taken_for_it() {
        let read = |written: Value| Statuses::try_from(written);
        for good in [json!(200), json!(299), json!(409), json!("2xx"), json!("200-204"), json!("400-407")] {
            assert_eq!(Value::from(read(good.clone()).unwrap()), good);
        }
        assert_eq!(read(json!("200-299")), Ok(Statuses::ANY_2XX));
        assert_eq!(read(json!("204-204")), read(json!(204)));
        for bad in [
            json!(410),
            json!(302),
            json!(500),
            json!(100),
            json!(-200),
            json!(200.5),
            json!(65_736),
            json!("200-300"),
            json!("400-499"),
            json!("204-200"),
            json!("+20-204"),
            json!("3xx"),
            json!("2XX"),
            json!("200"),
            json!(""),
            json!("-"),
            json!(null),
            json!([200]),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            (0..1000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "([0-9]{2,4}-[0-9]{2,4}|[1-5]xx|\\PC{0,8})".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from))
    }

    proptest! {
        #[test]
        fn whatever_is_read_as_a_success_rule_is_within_bounds_and_reads_back(written in json_value()) {
            if let Ok(statuses) = Statuses::try_from(written) {
                prop_assert_eq!(Statuses::try_from(Value::from(statuses)), Ok(statuses));
                for status in 0..1000 {
                    prop_assert!(!statuses.take(status) || may_succeed(status), "{}", status);
                }
            }
        }

        #[test]
        fn rules_of_any_kind_are_kept_as_they_are_or_refused(
            schedule in prop::option::of(prop::collection::vec(any::<u32>(), 0..120)),
            attempts in prop::option::of(any::<u32>()), timeout in prop::option::of(any::<u32>()),
        ) {
            let rules = OwnRules { schedule, attempts, timeout, success: None };
            if rules.check(10).is_ok() {
                let total: u64 = rules.schedule.iter().flatten().map(|wait| u64::from(*wait)).sum();
                prop_assert!(total <= u64::from(MAX_TOTAL));
            }
            let kept: OwnRules = serde_json::from_value(json!(rules)).unwrap();
            prop_assert_eq!(kept, rules);
        }
    }
}

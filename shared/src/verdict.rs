//! What an exchange means for its delivery.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::Timestamp;

use crate::{
    in_force::InForce,
    model::{Failure, Phases, Reply, Statuses},
    retry,
};

/// Which statuses a dialect takes for success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// 200 to 299.
    Any2xx,
    /// 200 to 209, as `ShipStream` words it ("non-20X is retried").
    Any20x,
    /// 200 and nothing else.
    Exactly200,
}

impl Success {
    /// The statuses.
    pub fn statuses(self) -> &'static [Statuses] {
        match self {
            Self::Any2xx => &[Statuses::ANY_2XX],
            Self::Any20x => &[Statuses::ANY_20X],
            Self::Exactly200 => &[Statuses::OK],
        }
    }
}

/// How an API delivers, as it documents it.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What counts as delivered.
    pub success: Success,
    /// The delay before each attempt; the first is 0.
    pub schedule: &'static [Duration],
    /// The one deadline over the whole exchange.
    pub timeout: Duration,
    /// The part of it that connecting may take.
    pub connect_timeout: Duration,
}

impl Rules {
    /// Where an API documents nothing.
    pub const STANDARD: Self = Self {
        success: Success::Any2xx,
        schedule: retry::STANDARD,
        timeout: Duration::from_secs(15),
        connect_timeout: Duration::from_secs(5),
    };
}

/// What came of one POST.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// How long each phase took.
    pub phases: Phases,
    /// The address that was dialled, if it came to that on this exchange.
    pub address: Option<String>,
    /// The headers that were sent, if it came to that.
    pub sent: HeaderMap,
    /// The answer, or why there is none.
    pub result: Result<Answer, Broken>,
}

/// An answer that was read.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What is kept of it.
    pub reply: Reply,
    /// Its headers, as they came.
    pub headers: HeaderMap,
}

/// An exchange without an answer.
#[derive(Debug, Clone)]
pub struct Broken {
    /// What kind of failure.
    pub failure: Failure,
    /// In words, free of secrets.
    pub detail: String,
}

/// What is to be done after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Delivered,
    /// Try again, no sooner than the receiver asked.
    Retry {
        /// What `Retry-After` asked for.
        asked: Option<Duration>,
    },
    /// The receiver said that it is gone for good (410): its webhook is disabled.
    Gone,
}

/// Judges an exchange.
pub fn judge(exchange: &Exchange, rules: &InForce<'_>, now: Timestamp) -> Verdict {
    match &exchange.result {
        Ok(answer) if rules.take(answer.reply.status) => Verdict::Delivered,
        Ok(answer) if answer.reply.status == 410 => Verdict::Gone,
        Ok(answer) => {
            let asked = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Verdict::Retry { asked: asked.and_then(|value| retry::retry_after(value, now)) }
        }
        Err(_) => Verdict::Retry { asked: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect,
        model::{KeptHeaders, OwnRules},
    };

    fn verdict(status: u16, name: &str, retry_after: Option<&str>) -> Verdict {
        let answer = Answer {
            reply: Reply { status, body: String::new(), truncated: false, headers: KeptHeaders::default() },
            headers: retry_after.map(|value| (RETRY_AFTER, value.parse().unwrap())).into_iter().collect(),
        };
        let (phases, sent) = (Phases::default(), HeaderMap::new());
        let exchange = Exchange { phases, address: None, sent, result: Ok(answer) };
        let own = OwnRules::default();
        let rules = InForce::new(dialect::named(name).unwrap(), &own);
        judge(&exchange, &rules, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn each_dialects_success_is_its_own() {
        let retry = Verdict::Retry { asked: None };
        for (status, any, twenty, exact) in [
            (200, Verdict::Delivered, Verdict::Delivered, Verdict::Delivered),
            (204, Verdict::Delivered, Verdict::Delivered, retry),
            (226, Verdict::Delivered, retry, retry),
            (302, retry, retry, retry),
            (410, Verdict::Gone, Verdict::Gone, Verdict::Gone),
            (500, retry, retry, retry),
        ] {
            assert_eq!(verdict(status, "v1", None), any, "{status}");
            assert_eq!(verdict(status, "shipstream", None), twenty, "{status}");
            assert_eq!(verdict(status, "centry", None), exact, "{status}");
        }
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it() {
        let asked = Some(Duration::from_secs(7));
        assert_eq!(verdict(503, "v1", Some("7")), Verdict::Retry { asked });
    }
}

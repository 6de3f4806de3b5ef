//! The rules in force for a webhook: its own, and its dialect's where it has none.

use std::time::Duration;

use crate::{
    dialect::{self, Dialect},
    error::Error,
    model::{OwnRules, Statuses, Webhook},
    verdict::Rules,
};

/// How a webhook's deliveries are made. It only borrows: schedules of hundreds of attempts are not copied for each.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'a> {
    documented: &'static Rules,
    own: &'a OwnRules,
}

impl<'a> InForce<'a> {
    /// Those of a webhook.
    pub fn of(webhook: &'a Webhook) -> Result<Self, Error> {
        Ok(Self::new(dialect::named(&webhook.dialect)?, &webhook.rules))
    }

    /// Those of a webhook of this dialect that has these of its own.
    pub fn new(dialect: &dyn Dialect, own: &'a OwnRules) -> Self {
        Self { documented: dialect.rules(), own }
    }

    /// How many attempts there are at most.
    pub fn attempts(&self) -> usize {
        let scheduled = self.own.schedule.as_ref().map(|waits| waits.len() + 1);
        let scheduled = scheduled.unwrap_or(self.documented.schedule.len());
        let most = self.own.attempts.and_then(|most| usize::try_from(most).ok());
        most.map_or(scheduled, |most| most.min(scheduled))
    }

    /// How long to wait after attempt `number` failed (1 is the first), before it is spread; none: it was the last.
    pub fn wait_after(&self, number: u32) -> Option<Duration> {
        let number = usize::try_from(number).ok().filter(|number| *number < self.attempts())?;
        match &self.own.schedule {
            Some(waits) => match number.checked_sub(1) {
                None => Some(Duration::ZERO),
                Some(place) => waits.get(place).map(|wait| Duration::from_secs((*wait).into())),
            },
            None => self.documented.schedule.get(number).copied(),
        }
    }

    /// The one deadline over the whole exchange.
    pub fn timeout(&self) -> Duration {
        self.own.timeout.map_or(self.documented.timeout, |seconds| Duration::from_secs(seconds.into()))
    }

    /// The part of it that connecting may take.
    pub fn connect_timeout(&self) -> Duration {
        self.documented.connect_timeout.min(self.timeout())
    }

    /// Which statuses count as delivered.
    pub fn success(&self) -> &'a [Statuses] {
        match &self.own.success {
            Some(all) => all,
            None => self.documented.success.statuses(),
        }
    }

    /// Whether this status does.
    pub fn take(&self, status: u16) -> bool {
        self.success().iter().any(|statuses| statuses.take(status))
    }
}

/// Judges what a webhook's owner says of its delivery.
pub fn check(dialect: &dyn Dialect, own: &OwnRules) -> Result<(), Error> {
    own.check(dialect.rules().schedule.len())
        .map_err(|bad| Error::invalid(format!("delivery/{}", bad.0), bad.1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(name: &str) -> &'static dyn Dialect {
        dialect::named(name).unwrap()
    }

    #[test]
    fn what_is_not_said_is_the_dialects() {
        for dialect in dialect::ALL {
            let (rules, own) = (dialect.rules(), OwnRules::default());
            let in_force = InForce::new(*dialect, &own);
            assert_eq!(in_force.attempts(), rules.schedule.len());
            for (place, wait) in rules.schedule.iter().enumerate().skip(1) {
                assert_eq!(in_force.wait_after(u32::try_from(place).unwrap()), Some(*wait));
            }
            assert_eq!(in_force.wait_after(u32::try_from(rules.schedule.len()).unwrap()), None);
            assert_eq!(in_force.timeout(), rules.timeout);
            assert_eq!(in_force.success(), rules.success.statuses());
        }
    }

    #[test]
    fn what_is_said_takes_the_place_of_the_dialects() {
        let own = json!({ "schedule": [7, 9], "timeout": 3, "success": [204, "400-404"] });
        let own = serde_json::from_value(own).unwrap();
        let in_force = InForce::new(named("centry"), &own);
        let waits = [1, 2, 3].map(|number| in_force.wait_after(number).map(|wait| wait.as_secs()));
        assert_eq!((in_force.attempts(), waits), (3, [Some(7), Some(9), None]));
        assert_eq!((in_force.timeout().as_secs(), in_force.connect_timeout().as_secs()), (3, 3));
        for (status, taken) in [(200, false), (204, true), (404, true), (405, false), (410, false)] {
            assert_eq!(in_force.take(status), taken, "{status}");
        }
    }

    #[test]
    fn fewer_attempts_end_a_schedule_early() {
        for (own, waits) in [
            (json!({ "attempts": 1 }), [None, None]),
            (json!({ "attempts": 2 }), [Some(5), None]),
            (json!({ "attempts": 2, "schedule": [70, 80, 90] }), [Some(70), None]),
            (json!({ "schedule": [] }), [None, None]),
        ] {
            let own: OwnRules = serde_json::from_value(own).unwrap();
            let in_force = InForce::new(named("v1"), &own);
            assert_eq!([1, 2].map(|number| in_force.wait_after(number).map(|wait| wait.as_secs())), waits);
        }
    }

    #[test]
    fn more_attempts_than_there_are_waits_for_are_refused() {
        let own = OwnRules { attempts: Some(20), ..OwnRules::default() };
        assert_eq!(check(named("sapo"), &own), Ok(()), "its schedule has as many");
        assert!(
            matches!(check(named("v1"), &own), Err(Error::Invalid { field, .. }) if field == "delivery/attempts")
        );
    }
}

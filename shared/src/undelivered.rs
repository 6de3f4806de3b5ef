//! What is accepted and not delivered yet.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    error::Error,
    model::{BadId, DeliveryId, TenantId, Topic, WebhookId},
    operation::PageRequest,
};

/// Whose deliveries are sought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of all tenants.
    All,
    /// A tenant's.
    Tenant(TenantId),
    /// Those of a tenant's to one of its webhooks.
    Webhook(TenantId, WebhookId),
}

impl Whose {
    /// Whether what stands there is among them.
    pub fn takes(&self, tenant: &TenantId, webhook: WebhookId) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(own) => own == tenant,
            Self::Webhook(own, id) => own == tenant && *id == webhook,
        }
    }

    /// After what they begin, or go on beyond where a page ended; none: nothing is left. A cursor may be of another list.
    pub fn beyond(&self, page: &PageRequest) -> Result<Option<Position>, Error> {
        let wrong = |_| Error::invalid("cursor", "is not one that we gave");
        let after = page.after.as_deref().map(str::parse::<Position>).transpose().map_err(wrong)?;
        let (tenant, webhook) = match self {
            Self::All => (String::new(), Uuid::nil()),
            Self::Tenant(tenant) => (tenant.as_str().to_owned(), Uuid::nil()),
            Self::Webhook(tenant, webhook) => (tenant.as_str().to_owned(), webhook.0),
        };
        let begin = Position { tenant, webhook: WebhookId(webhook), event: Uuid::nil() };
        Ok(match after {
            Some(after) if begin < after => self.holds(&after).then_some(after),
            _ => Some(begin),
        })
    }

    fn holds(&self, position: &Position) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(own) => own.as_str() == position.tenant,
            Self::Webhook(own, id) => own.as_str() == position.tenant && *id == position.webhook,
        }
    }
}

/// Where a delivery stands in the list: by tenant, webhook, and the age of its event. Its text sorts as it does, for no name of
/// a tenant has a `#` in it, nor anything that sorts before one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Whose; empty: before all of them.
    pub tenant: String,
    /// To which webhook.
    pub webhook: WebhookId,
    /// The number of the event.
    pub event: Uuid,
}

impl Position {
    /// Of a tenant's delivery.
    pub fn of(tenant: &TenantId, id: DeliveryId) -> Self {
        Self { tenant: tenant.as_str().to_owned(), webhook: id.webhook, event: id.event }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}#{}", self.tenant, self.webhook, self.event.simple())
    }
}

impl FromStr for Position {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId("must be a tenant, a webhook and the number of an event");
        let mut parts = text.split('#');
        let (Some(tenant), Some(webhook), Some(event), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad);
        };
        let tenant = tenant.parse::<TenantId>()?.as_str().to_owned();
        Ok(Self { tenant, webhook: webhook.parse()?, event: Uuid::try_parse(event).map_err(|_| bad)? })
    }
}

/// Which deliveries are sought; what is none does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// Whose.
    pub whose: Whose,
    /// Those of events of a topic.
    pub topic: Option<Topic>,
    /// Those of events accepted before then.
    pub accepted_before: Option<Timestamp>,
}

impl Undelivered {
    /// How many others an engine passes over for one page, about: then it ends the page where it stands.
    pub const PASSED_OVER: usize = 1000;

    /// Whether a delivery is among them, if it is of those [whose](Self::whose) are sought.
    pub fn take(&self, topic: &str, accepted_at: Timestamp) -> bool {
        self.topic.as_ref().is_none_or(|sought| sought.as_str() == topic)
            && self.accepted_before.is_none_or(|before| accepted_at < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(tenant: &str, webhook: u128, event: u128) -> Position {
        Position {
            tenant: tenant.into(),
            webhook: WebhookId(Uuid::from_u128(webhook)),
            event: Uuid::from_u128(event),
        }
    }

    #[test]
    fn a_positions_text_sorts_as_it_does_and_is_read_again() {
        let ids = ["0", "a", "a-", "a-b", "a.b", "a0", "a_b", "aa", "b"];
        let mut all: Vec<_> = ids
            .iter()
            .flat_map(|id| [(1, 2), (1, 16), (2, 1), (u128::MAX, 0)].map(|(w, e)| position(id, w, e)))
            .collect();
        all.sort();
        let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Position>>(), all);
    }

    #[test]
    fn a_cursor_of_another_list_shows_nothing_of_it() {
        let tenant: TenantId = "b".parse().unwrap();
        let webhook = WebhookId(Uuid::from_u128(5));
        let beyond = |whose: &Whose, after: &Position| {
            whose.beyond(&PageRequest { limit: 1, after: Some(after.to_string()) }).unwrap()
        };
        let own = position("b", 5, 7);
        for whose in [Whose::All, Whose::Tenant(tenant.clone()), Whose::Webhook(tenant.clone(), webhook)] {
            assert_eq!(beyond(&whose, &own), Some(own.clone()), "{whose:?}");
            let begin = whose.beyond(&PageRequest::first(1)).unwrap().unwrap();
            let before = beyond(&whose, &position("a", 9, 9)).unwrap();
            assert!(whose == Whose::All || before == begin, "{whose:?}");
            let behind = beyond(&whose, &position("b-", 1, 1));
            assert!((whose == Whose::All) == behind.is_some(), "{whose:?}");
        }
        let others = beyond(&Whose::Webhook(tenant, webhook), &position("b", 6, 1));
        assert_eq!(others, None);
    }
}

//! What is accepted and not delivered yet: the records that say so, and after them the first attempts that no record shows.

use std::{fmt, str::FromStr, time::Duration};

use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    access::Principal,
    error::Error,
    hint::Hint,
    model::{BadId, DeliveryId, DeliverySummary, TenantId, Topic, WebhookId},
    operation::{Asked, Outcome, Page, PageRequest},
    ports::Ports,
};

/// How far back first attempts are looked for where no sweep has been yet.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// How long a page looks for them: API Gateway waits 30 s for an answer, the function has 29.
const TIME: Duration = Duration::from_secs(5);
/// How much of the store's a step looks at.
const STEP: usize = 1000;
/// Events that are read at once.
const AT_ONCE: usize = 32;

/// By what a request narrows the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// Only what goes to this webhook.
    pub webhook: Option<WebhookId>,
    /// Only events of this topic.
    pub topic: Option<Topic>,
    /// Only events that were accepted longer ago than this.
    pub older_than: Option<SignedDuration>,
}

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

    /// Beyond which position a page begins: before all of them, or where the last page ended; none: nothing is left. A cursor may
    /// be another list's.
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

/// Lists what is not delivered yet.
pub async fn list(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    narrowed: Narrowed,
    page: &PageRequest,
) -> Result<Outcome, Error> {
    let whose = whose(ports, principal, asked, narrowed.webhook).await?;
    let now = ports.clock.now();
    let accepted_before = narrowed.older_than.map(|age| now.checked_sub(age).unwrap_or(Timestamp::MIN));
    let sought = Undelivered { whose, topic: narrowed.topic, accepted_before };
    let (mut items, at) = match Cursor::read(page.after.as_deref())? {
        Cursor::Recorded(after) => {
            let found = ports.store.undelivered(&sought, &PageRequest { limit: page.limit, after }).await?;
            if let Some(after) = found.next {
                let next = Some(Cursor::Recorded(Some(after)).write());
                return Ok(Outcome::Undelivered(Page { items: found.items, next }, now));
            }
            (found.items, Unrecorded::default())
        }
        Cursor::Unrecorded(at) => (Vec::new(), at),
    };
    let next = unrecorded(ports, &sought, at, now, &mut items, page.limit).await?;
    Ok(Outcome::Undelivered(Page { items, next: next.map(|at| Cursor::Unrecorded(at).write()) }, now))
}

async fn whose(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    webhook: Option<WebhookId>,
) -> Result<Whose, Error> {
    if let (None, None, None) = (&principal.tenant, &asked.tenant, webhook) {
        return Ok(Whose::All);
    }
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let Some(webhook) = webhook else { return Ok(Whose::Tenant(tenant)) };
    match ports.store.state(&tenant, webhook).await? {
        Some(_) => Ok(Whose::Webhook(tenant, webhook)),
        None => Err(Error::NotFound("webhook")),
    }
}

/// Where a page ended.
enum Cursor {
    /// Among the records: in the store's own words.
    Recorded(Option<String>),
    /// After them.
    Unrecorded(Unrecorded),
}

/// A place among the first attempts that no record shows.
#[derive(Default)]
struct Unrecorded {
    /// Where the store's page began.
    after: Option<String>,
    /// What of it was the last.
    last: Option<DeliveryId>,
}

impl Cursor {
    fn read(text: Option<&str>) -> Result<Self, Error> {
        let wrong = || Error::invalid("cursor", "is not one that we gave");
        let Some(text) = text else { return Ok(Self::Recorded(None)) };
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match text.split_once(' ').ok_or_else(wrong)? {
            ("recorded", after) => Ok(Self::Recorded(some(after))),
            ("unrecorded", rest) => {
                let (last, after) = rest.split_once(' ').ok_or_else(wrong)?;
                let last = some(last).map(|last| last.parse()).transpose().map_err(|_| wrong())?;
                Ok(Self::Unrecorded(Unrecorded { after: some(after), last }))
            }
            _ => Err(wrong()),
        }
    }

    fn write(&self) -> String {
        let after = |after: &Option<String>| after.clone().unwrap_or_default();
        match self {
            Self::Recorded(place) => format!("recorded {}", after(place)),
            Self::Unrecorded(Unrecorded { after: page, last }) => {
                let last = last.map(|id| id.to_string()).unwrap_or_default();
                format!("unrecorded {last} {}", after(page))
            }
        }
    }
}

/// Adds first attempts that no record shows, up to `limit`, about in the order of acceptance. They are looked for from the sweep's
/// mark on: of what is older, each is on record. Returns where to go on; none: that was all.
async fn unrecorded(
    ports: &Ports,
    sought: &Undelivered,
    mut at: Unrecorded,
    now: Timestamp,
    items: &mut Vec<DeliverySummary>,
    limit: usize,
) -> Result<Option<Unrecorded>, Error> {
    let from = ports.store.swept_until().await?.unwrap_or(now - WINDOW);
    let until = sought.accepted_before.map_or(now, |before| before.min(now));
    if until <= from {
        return Ok(None);
    }
    let mut looked_at = 0;
    loop {
        let page = PageRequest { limit: STEP, after: at.after.clone() };
        let found = ports.store.stranded(from, until, &page).await?;
        let mut hints = found.items;
        hints.retain(|hint| {
            at.last.is_none_or(|last| last < hint.delivery)
                && sought.whose.takes(&hint.tenant, hint.delivery.webhook)
        });
        hints.sort_unstable_by_key(|hint| hint.delivery);
        for some in hints.chunks(AT_ONCE) {
            for (summary, id) in summaries(ports, some).await?.into_iter().zip(some) {
                if items.len() == limit || looked_at == Undelivered::PASSED_OVER {
                    return Ok(Some(at));
                }
                looked_at += 1;
                at.last = Some(id.delivery);
                items.extend(summary.filter(|one| sought.take(one.topic.as_str(), one.created_at)));
            }
        }
        let Some(after) = found.next else { return Ok(None) };
        at = Unrecorded { after: Some(after), last: None };
        if ports.clock.now().duration_since(now).unsigned_abs() > TIME {
            return Ok(Some(at));
        }
    }
}

/// What is to be shown of first attempts, in their order; none: their event is gone. Each event is read once.
async fn summaries(ports: &Ports, hints: &[Hint]) -> Result<Vec<Option<DeliverySummary>>, Error> {
    let of_one_event = hints.chunk_by(|one, next| one.delivery.event == next.delivery.event);
    let read = of_one_event.map(async |hints| {
        let Some(first) = hints.first() else { return Ok(Vec::new()) };
        let event = ports.store.event(&first.tenant, &first.event).await?;
        let summary = |hint: &Hint| event.as_ref().map(|event| DeliverySummary::of(&hint.blank(event)));
        Ok::<_, Error>(hints.iter().map(summary).collect())
    });
    Ok(try_join_all(read).await?.concat())
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

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let last = DeliveryId { event: Uuid::from_u128(1), webhook: WebhookId(Uuid::from_u128(2)) };
        for text in [
            format!("recorded {}", position("a", 1, 2)),
            "unrecorded  ".to_owned(),
            format!("unrecorded {last} "),
            format!("unrecorded {last} 17"),
        ] {
            assert_eq!(Cursor::read(Some(&text)).unwrap().write(), text);
        }
        for odd in ["", "x", "later 1", "unrecorded", "unrecorded 1", "unrecorded x 1"] {
            assert!(Cursor::read(Some(odd)).is_err(), "{odd:?}");
        }
    }
}

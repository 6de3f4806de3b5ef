//! What is not delivered yet: looked for among all there is.

use postrider::{
    error::Error,
    model::DeliverySummary,
    operation::{Page, PageRequest},
    undelivered::{Position, Undelivered},
};

use super::{SimStore, page};
use crate::{trace::About, world::Core};

impl SimStore {
    pub(super) async fn list_undelivered(
        &self,
        sought: &Undelivered,
        request: &PageRequest,
    ) -> Result<Page<DeliverySummary>, Error> {
        let list = |core: &mut Core| {
            let Some(beyond) = sought.whose.beyond(request)? else {
                return Ok(Page { items: Vec::new(), next: None });
            };
            let all = core.tables.deliveries.values().map(|kept| &kept.delivery);
            let open = all.filter(|delivery| delivery.state.is_open());
            let own = open.filter(|delivery| sought.whose.takes(&delivery.tenant, delivery.id.webhook));
            let mut found: Vec<_> = own
                .map(|delivery| (Position::of(&delivery.tenant, delivery.id), delivery))
                .filter(|(position, delivery)| {
                    beyond < *position && sought.take(delivery.topic.as_str(), delivery.created_at)
                })
                .collect();
            found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let summaries = found.into_iter().map(|(_, delivery)| DeliverySummary::of(delivery));
            Ok(page(summaries, request, |one| Position::of(&one.tenant, one.id).to_string()))
        };
        self.call("undelivered", About::World, list).await
    }
}

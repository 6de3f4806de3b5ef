//! Taking deliveries up again.

use jiff::Timestamp;
use postrider::{error::Error, model::Delivery};

use super::{KeptDelivery, SimStore, Tables};
use crate::world::Core;

impl Tables {
    fn reopen(&mut self, kept: &Delivery, again: &Delivery, now: Timestamp, due: Timestamp) -> bool {
        if let Some(there) = self.deliveries.get(&kept.id)
            && (!there.delivery.stands_as(kept) || there.leased_until.is_some_and(|end| now < end))
        {
            return false;
        }
        let new = KeptDelivery { delivery: again.clone(), due: Some(due), leased_until: None };
        self.deliveries.insert(kept.id, new);
        true
    }
}

impl SimStore {
    pub(super) async fn put_again(
        &self,
        kept: &Delivery,
        again: &Delivery,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<bool, Error> {
        let reopen = |core: &mut Core| {
            let reopened = core.tables.reopen(kept, again, now, due);
            if reopened {
                let webhook = core.tables.webhooks.get(&(kept.tenant.clone(), kept.id.webhook));
                let policy = webhook.and_then(|webhook| webhook.ordered);
                core.ledger.is_reopened(kept.id, policy.is_some_and(|policy| policy.lets_go(kept.state)));
            }
            core.say(format!("{:?} after {}: {reopened}", kept.state, kept.attempt_count));
            Ok(reopened)
        };
        self.call("reopen", kept.id.into(), reopen).await
    }
}

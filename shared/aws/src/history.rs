//! A webhook's deliveries, newest first: those that are sought among them.

use aws_sdk_dynamodb::operation::query::{QueryOutput, builders::QueryFluentBuilder};
use postrider::{
    error::Error,
    model::{Delivery, DeliveryId, TenantId, WebhookId},
    operation::{Page, PageRequest, Sought},
};
use uuid::Uuid;

use crate::{
    Engine,
    deliveries::{delivery, state_text},
    fault::fault,
    item::{Item, Read, text},
};

/// Queries of one page at most. Each reads up to 1 MB, whatever of it is sought.
const QUERIES: usize = 20;

/// What a query leaves out, so that it need not come over the wire. Times are judged of what comes.
fn filtered(query: QueryFluentBuilder, sought: &Sought) -> QueryFluentBuilder {
    let mut conditions = Vec::new();
    let mut query = query;
    if let Some(state) = sought.state {
        conditions.push("#state = :state");
        query = query
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", text(state_text(state)));
    }
    if let Some(topic) = &sought.topic {
        conditions.push("topic = :topic");
        query = query.expression_attribute_values(":topic", text(topic.as_str()));
    }
    let all = (!conditions.is_empty()).then(|| conditions.join(" AND "));
    query.set_filter_expression(all)
}

impl Engine {
    pub(crate) async fn list_deliveries(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        sought: &Sought,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let wrong = |_| Error::invalid("cursor", "is not one that we gave");
        let after = page.after.as_deref().map(str::parse::<DeliveryId>).transpose().map_err(wrong)?;
        let mut items: Vec<Delivery> = Vec::new();
        let Some(numbers) = sought.numbers(after.map(|id| id.event)) else {
            return Ok(Page { items, next: None });
        };
        let (mut start, mut passed_over) = (None, 0);
        let mut looked_at = page.limit.saturating_add(1).min(Sought::PASSED_OVER);
        for _ in 0..QUERIES {
            let found = self.query_deliveries(webhook, sought, numbers, start.take(), looked_at).await?;
            passed_over += usize::try_from(found.scanned_count() - found.count()).unwrap_or_default();
            for item in found.items().iter().filter(|item| !item.is_expired()) {
                let delivery = delivery(item)?;
                let is_sought = sought.take(delivery.state, delivery.topic.as_str(), delivery.created_at);
                if delivery.tenant != *tenant || !is_sought {
                    passed_over += 1;
                } else if items.len() == page.limit {
                    let next = items.last().map(|delivery| delivery.id.to_string());
                    return Ok(Page { items, next });
                } else {
                    items.push(delivery);
                }
            }
            let Some(key) = found.last_evaluated_key else { return Ok(Page { items, next: None }) };
            if passed_over >= Sought::PASSED_OVER {
                return ended_at(webhook, &key, items);
            }
            start = Some(key);
            // Where few are sought, a page takes a look at many.
            looked_at = (looked_at * 2).min(Sought::PASSED_OVER - passed_over);
        }
        match start {
            Some(key) => ended_at(webhook, &key, items),
            None => Ok(Page { items, next: None }),
        }
    }

    async fn query_deliveries(
        &self,
        webhook: WebhookId,
        sought: &Sought,
        (oldest, newest): (Uuid, Uuid),
        start: Option<Item>,
        looked_at: usize,
    ) -> Result<QueryOutput, Error> {
        let query = self
            .0
            .db
            .query()
            .table_name(&self.0.settings.deliveries_table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :oldest AND :newest")
            .expression_attribute_values(":pk", text(webhook.to_string()))
            .expression_attribute_values(":oldest", text(oldest.simple().to_string()))
            .expression_attribute_values(":newest", text(newest.simple().to_string()))
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .set_limit(i32::try_from(looked_at).ok());
        filtered(query, sought).send().await.map_err(fault("listing deliveries"))
    }
}

/// A page that ends where a query did.
fn ended_at(webhook: WebhookId, key: &Item, items: Vec<Delivery>) -> Result<Page<Delivery>, Error> {
    let next = DeliveryId { webhook, event: key.parsed("sk")? };
    Ok(Page { items, next: Some(next.to_string()) })
}

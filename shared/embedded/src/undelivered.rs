//! What is not delivered yet, by an index of nothing else.

use jiff::Timestamp;
use postrider::{
    error::Error,
    model::DeliverySummary,
    operation::{Page, PageRequest},
    undelivered::{Position, Undelivered, Whose},
};
use rusqlite::{Connection, params};

use crate::{
    Engine,
    deliveries::{COLUMNS, delivery},
    rows,
};

/// Those beyond a position. The condition on the state is the index's own, word for word: else it could not be used.
fn query(whose: &Whose) -> String {
    let beyond = match whose {
        Whose::All => "(tenant, webhook, event) > (?1, ?2, ?3)",
        Whose::Tenant(_) => "tenant = ?1 AND (webhook, event) > (?2, ?3)",
        Whose::Webhook(..) => "tenant = ?1 AND webhook = ?2 AND event > ?3",
    };
    format!(
        "SELECT {COLUMNS} FROM deliveries INDEXED BY deliveries_undelivered
         WHERE state IN ('pending', 'parked', 'waiting') AND {beyond} ORDER BY tenant, webhook, event"
    )
}

fn list(
    db: &Connection,
    sought: &Undelivered,
    beyond: &Position,
    limit: usize,
) -> rusqlite::Result<Page<DeliverySummary>> {
    let (mut items, mut passed_over) = (Vec::<DeliverySummary>::new(), 0);
    let position = |one: &DeliverySummary| Position::of(&one.tenant, one.id).to_string();
    let mut query = db.prepare_cached(&query(&sought.whose))?;
    let (webhook, event) = (beyond.webhook.0.as_bytes(), beyond.event.as_bytes());
    let mut found = query.query(params![beyond.tenant, webhook, event])?;
    while let Some(row) = found.next()? {
        let topic = row.get_ref(4)?.as_str().map_err(|error| rows::odd(4, error))?;
        let created_at: Timestamp = rows::time(row, 8)?;
        if !sought.take(topic, created_at) {
            passed_over += 1;
            if passed_over == Undelivered::PASSED_OVER {
                let next = position(&DeliverySummary::of(&delivery(row)?));
                return Ok(Page { items, next: Some(next) });
            }
        } else if items.len() == limit {
            let next = items.last().map(position);
            return Ok(Page { items, next });
        } else {
            items.push(DeliverySummary::of(&delivery(row)?));
        }
    }
    Ok(Page { items, next: None })
}

impl Engine {
    pub(crate) async fn list_undelivered(
        &self,
        sought: &Undelivered,
        page: &PageRequest,
    ) -> Result<Page<DeliverySummary>, Error> {
        let Some(beyond) = sought.whose.beyond(page)? else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let (sought, limit) = (sought.clone(), page.limit);
        self.read(move |db| list(db, &sought, &beyond, limit)).await
    }
}

#[cfg(test)]
mod tests {
    use postrider::{
        model::{Delivery, DeliveryId, DeliveryState, TenantId, WebhookId},
        ports::Deliveries,
    };
    use uuid::Uuid;

    use super::*;

    fn engine() -> (tempfile::TempDir, Engine) {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("d.db"), crate::QueueSettings::default()).unwrap();
        (dir, engine)
    }

    #[tokio::test]
    async fn each_list_is_a_walk_through_the_index() {
        let (_dir, engine) = engine();
        let tenant: TenantId = "acme".parse().unwrap();
        let one = Whose::Webhook(tenant.clone(), WebhookId(Uuid::nil()));
        for (whose, range) in [
            (Whose::All, "(tenant,webhook,event)>(?,?,?)"),
            (Whose::Tenant(tenant), "tenant=? AND (webhook,event)>(?,?)"),
            (one, "tenant=? AND webhook=? AND event>?"),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", query(&whose));
            let steps = engine.read(move |db| {
                let mut plan = db.prepare(&sql)?;
                let step = plan.query_map(params!["acme", [0_u8; 16], [0_u8; 16]], |row| row.get(3))?;
                step.collect::<rusqlite::Result<Vec<String>>>()
            });
            let steps = steps.await.unwrap();
            let step = format!("SEARCH deliveries USING INDEX deliveries_undelivered ({range})");
            assert_eq!(steps, [step], "nothing is sorted");
        }
    }

    #[tokio::test]
    async fn what_is_delivered_at_once_is_never_in_the_index() {
        let (_dir, engine) = engine();
        let webhook = WebhookId(Uuid::from_u128(2));
        // Cells of its pages, by SQLite's own account.
        let entries = async || {
            let cells = "SELECT sum(ncell) FROM dbstat WHERE name = 'deliveries_undelivered'";
            engine.read(move |db| db.query_row(cells, [], |row| row.get::<_, i64>(0))).await.unwrap()
        };
        let record = async |event: u128, state: DeliveryState| {
            let delivery = Delivery {
                id: DeliveryId { webhook, event: Uuid::from_u128(event) },
                tenant: "acme".parse().unwrap(),
                event: "e-1".parse().unwrap(),
                topic: "order.created".parse().unwrap(),
                state,
                attempt_count: 1,
                attempts: Vec::new(),
                created_at: Timestamp::UNIX_EPOCH,
                probes: 0,
                parked_at: None,
                replay: None,
                next_attempt_at: None,
                ordering_key: None,
            };
            assert!(engine.record(&delivery, None).await.unwrap());
        };
        for event in 0..10 {
            record(event, DeliveryState::Delivered).await;
        }
        assert_eq!(entries().await, 0);
        for event in 10..13 {
            record(event, DeliveryState::Pending).await;
        }
        assert_eq!(entries().await, 3);
    }
}

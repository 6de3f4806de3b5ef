//! The places of deliveries in the sequence of their webhook: `sequence#W` / event number, and `sequence#W` / `last`.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use jiff::Timestamp;
use postrider::{error::Error, model::DeliveryId};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, expiry, key, number},
};

/// How often a place is asked for anew when others of its webhook are given theirs at the same time.
const TRIES: usize = 20;

/// When an event was accepted: its number begins with its milliseconds.
fn accepted_at(id: DeliveryId) -> Timestamp {
    let bytes = id.event.as_bytes();
    let millis = bytes[..6].iter().fold(0, |millis, byte| (millis << 8) | i64::from(*byte));
    Timestamp::from_millisecond(millis).unwrap_or_default()
}

impl Engine {
    pub(crate) async fn place(&self, id: DeliveryId) -> Result<u64, Error> {
        let pk = format!("sequence#{}", id.webhook);
        let (own, last) = (key(&pk, id.event.simple().to_string()), key(&pk, "last"));
        for _ in 0..TRIES {
            if let Some(place) = self.number_of(&own).await? {
                return Ok(place);
            }
            let before = self.number_of(&last).await?;
            let place = before.unwrap_or_default() + 1;
            if self.take_place(id, &own, &last, before, place).await? {
                return Ok(place);
            }
        }
        Err(Error::Unavailable("numbering a delivery: too many at once".into()))
    }

    async fn number_of(&self, of: &Item) -> Result<Option<u64>, Error> {
        let table = &self.0.settings.deliveries_table;
        let get = self.0.db.get_item().table_name(table).set_key(Some(of.clone())).consistent_read(true);
        let found = get.send().await.map_err(fault("reading a sequence"))?.item;
        let number = found.map(|item| item.number("number")).transpose()?;
        number.map(u64::try_from).transpose().map_err(|_| odd("number"))
    }

    async fn take_place(
        &self,
        id: DeliveryId,
        own: &Item,
        last: &Item,
        before: Option<u64>,
        place: u64,
    ) -> Result<bool, Error> {
        let table = &self.0.settings.deliveries_table;
        let mut item = own.clone();
        item.insert("number".into(), number(place));
        item.insert("expires_at".into(), expiry(accepted_at(id)));
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(last.clone()))
            .update_expression("SET #n = :next")
            .expression_attribute_names("#n", "number")
            .expression_attribute_values(":next", number(place));
        let update = match before {
            None => update.condition_expression("attribute_not_exists(pk)"),
            Some(before) => update
                .condition_expression("#n = :before")
                .expression_attribute_values(":before", number(before)),
        };
        let writes = vec![
            TransactWriteItem::builder().put(put.map_err(|_| odd("put"))?).build(),
            TransactWriteItem::builder().update(update.build().map_err(|_| odd("update"))?).build(),
        ];
        Ok(self.transact(writes, "numbering a delivery").await?.is_ok())
    }
}

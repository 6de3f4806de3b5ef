//! What operators say of topics: `topics` / T.

use std::sync::Arc;

use async_trait::async_trait;
use postrider::{
    catalogue::Catalogue,
    error::Error,
    model::{CustomTopic, Topic},
    operation::PageRequest,
    ports::Topics,
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, key, text},
};

const LIST: &str = "topics";

fn topic(item: &Item) -> Result<CustomTopic, Error> {
    serde_json::from_str(item.text("body")?).map_err(|_| odd("topic"))
}

#[async_trait]
impl Topics for Engine {
    async fn catalogue(&self) -> Result<Arc<Catalogue>, Error> {
        if let Some(known) = self.0.catalogue.get(&()) {
            return Ok(known);
        }
        let generation = self.0.catalogue.generation();
        let (table, all) = (&self.0.settings.webhooks_table, PageRequest::all());
        let found = self.page(table, LIST.to_owned(), "", &all, |item| topic(&item).map(Some)).await?;
        let catalogue = Arc::new(Catalogue::new(found.items));
        self.0.catalogue.put((), generation, catalogue.clone());
        Ok(catalogue)
    }

    async fn put_topic(&self, topic: &CustomTopic) -> Result<(), Error> {
        let mut item = key(LIST, topic.topic.as_str());
        item.insert("body".into(), text(serde_json::to_string(topic).map_err(|_| odd("topic"))?));
        let put = self.0.db.put_item().table_name(&self.0.settings.webhooks_table).set_item(Some(item));
        let put = put.send().await;
        self.0.catalogue.void();
        put.map(drop).map_err(fault("keeping a topic"))
    }

    async fn remove_topic(&self, topic: &Topic) -> Result<bool, Error> {
        let removed = self.delete_once(key(LIST, topic.as_str()), "removing a topic").await;
        self.0.catalogue.void();
        removed
    }
}

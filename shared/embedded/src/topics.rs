//! What operators say of topics.

use std::sync::Arc;

use async_trait::async_trait;
use postrider::{
    catalogue::Catalogue,
    error::Error,
    model::{CustomTopic, Topic},
    ports::Topics,
};

use crate::{Engine, rows};

#[async_trait]
impl Topics for Engine {
    async fn catalogue(&self) -> Result<Arc<Catalogue>, Error> {
        if let Some(known) = self.0.catalogue.get(&()) {
            return Ok(known);
        }
        let generation = self.0.catalogue.generation();
        let query = self.read(|db| {
            db.prepare_cached("SELECT body FROM topics")?
                .query_map([], |row| rows::json::<CustomTopic>(row, 0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        let catalogue = Arc::new(Catalogue::new(query.await?));
        self.0.catalogue.put((), generation, catalogue.clone());
        Ok(catalogue)
    }

    async fn put_topic(&self, topic: &CustomTopic) -> Result<(), Error> {
        let (name, body) = (topic.topic.clone(), rows::to_json(topic)?);
        let void = self.0.catalogue.voider();
        let write = self.0.writer.write(
            move |db| {
                db.execute(
                    "INSERT OR REPLACE INTO topics (topic, body) VALUES (?, ?)",
                    [name.as_str(), &body],
                )
            },
            |done| {
                void();
                done
            },
        );
        write.await.map(drop)
    }

    async fn remove_topic(&self, topic: &Topic) -> Result<bool, Error> {
        let topic = topic.clone();
        let void = self.0.catalogue.voider();
        let write = self.0.writer.write(
            move |db| db.execute("DELETE FROM topics WHERE topic = ?", [topic.as_str()]),
            |done| {
                void();
                done
            },
        );
        Ok(write.await? > 0)
    }
}

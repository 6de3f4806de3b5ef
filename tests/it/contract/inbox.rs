//! The receiving end of a queue, which is no port: each engine's consumer has its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use postrider::{
    errand::Errand,
    hint::{Hint, Lane},
    model::Event,
};

/// How long one look waits for a message.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) enum Inbox {
    Embedded(postrider_embedded::Engine),
    Aws { engine: postrider_aws::Engine, dead_letters: postrider_aws::Engine },
    Simulated(postrider_sim::queue::SimQueue),
}

/// A message that was handed out.
#[derive(Debug)]
pub(crate) struct Message {
    token: Token,
    pub(crate) lane: Lane,
    pub(crate) hint: Hint,
    pub(crate) event: Option<Arc<Event>>,
    pub(crate) received: u32,
}

/// What a message is about.
#[derive(Debug)]
pub(crate) enum Body {
    Hint(Hint),
    Errand(Errand),
}

#[derive(Debug, Clone)]
enum Token {
    Numbered(u64),
    Aws(String),
}

impl Message {
    fn new(lane: Lane, token: Token, body: &str, received: u32) -> Self {
        let (hint, event) = Hint::read(body).unwrap();
        Self { token, lane, hint, event, received }
    }
}

impl Inbox {
    /// Looks once into each lane, until there is something.
    pub(crate) async fn receive(&self, max: usize) -> Vec<Message> {
        for lane in Lane::ALL {
            let bodies = self.bodies(lane, max).await;
            if !bodies.is_empty() {
                let read =
                    |(token, body, received): (_, String, _)| Message::new(lane, token, &body, received);
                return bodies.into_iter().map(read).collect();
            }
        }
        Vec::new()
    }

    /// Looks once into each lane, and takes away what it finds.
    pub(crate) async fn take(&self, max: usize) -> Vec<Body> {
        let mut taken = Vec::new();
        for lane in Lane::ALL {
            for (token, body, _) in self.bodies(lane, max).await {
                self.remove(lane, token).await;
                taken.push(match Hint::read(&body) {
                    Ok((hint, _)) => Body::Hint(hint),
                    Err(_) => Body::Errand(Errand::read(&body).unwrap()),
                });
            }
        }
        taken
    }

    async fn bodies(&self, lane: Lane, max: usize) -> Vec<(Token, String, u32)> {
        match self {
            Self::Embedded(engine) => {
                let found = engine.receive(lane, max, PATIENCE, Timestamp::now).await.unwrap();
                found.into_iter().map(|m| (Token::Numbered(m.id), m.body, m.received)).collect()
            }
            Self::Aws { engine, .. } => {
                let found = engine.receive(lane, max, PATIENCE).await.unwrap();
                found.into_iter().map(|m| (Token::Aws(m.receipt), m.body, m.received)).collect()
            }
            Self::Simulated(queue) => {
                let end = Instant::now() + PATIENCE;
                loop {
                    let found = queue.receive(lane, max).await.unwrap();
                    if !found.is_empty() || Instant::now() >= end {
                        return found
                            .into_iter()
                            .map(|m| (Token::Numbered(m.id), m.body, m.received))
                            .collect();
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    pub(crate) async fn delete(&self, message: &Message) {
        self.remove(message.lane, message.token.clone()).await;
    }

    async fn remove(&self, lane: Lane, token: Token) {
        match (self, token) {
            (Self::Embedded(engine), Token::Numbered(id)) => engine.delete(lane, vec![id]).await.unwrap(),
            (Self::Aws { engine, .. }, Token::Aws(receipt)) => {
                engine.delete_messages(lane, &[receipt]).await.unwrap();
            }
            (Self::Simulated(queue), Token::Numbered(id)) => queue.delete(&[id]).await.unwrap(),
            _ => panic!("another queue's message"),
        }
    }

    /// Whether there is a dead letter. Where that means receiving it, this finds it once.
    pub(crate) async fn has_dead_letter(&self) -> bool {
        match self {
            Self::Embedded(engine) => engine.dead_letters().await.unwrap() > 0,
            Self::Aws { dead_letters, .. } => {
                !dead_letters.receive(Lane::Fast, 1, Duration::ZERO).await.unwrap().is_empty()
            }
            Self::Simulated(queue) => queue.dead_letters() > 0,
        }
    }
}

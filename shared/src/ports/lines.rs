//! What use cases need of lines.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    error::Error,
    hint::Hint,
    model::{Delivery, Line},
};

/// What came of a delivery's waiting for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It waits.
    Waits,
    /// The one before it has left the line.
    Moved,
    /// It does not stand in the line any more: nobody would wake it.
    Apart,
    /// Its record is not as it was: somebody else sees to it.
    Lost,
}

/// Lines: deliveries of a webhook that go out one after the other. [`Events::accept`](super::Events::accept) puts them there, and there they
/// stand until they are taken out. What is said here is true at the moment, whatever a cache or an index knows.
#[async_trait]
pub trait Lines: Send + Sync {
    /// The number of the first event in a line.
    async fn first(&self, line: &Line) -> Result<Option<Uuid>, Error>;
    /// Keeps a delivery that waits, of which `had` attempts were on record, if it and the event `before` it still stand in the
    /// line: in one step, so that whoever takes that one out finds this one waiting.
    async fn wait_behind(
        &self,
        delivery: &Delivery,
        had: u32,
        line: &Line,
        before: Uuid,
    ) -> Result<Turn, Error>;
    /// Takes `gone` out of a line, if it stands there. Then, if the first that is left waits, it is pending again, due at
    /// `due` should the message about it get lost. Only then is `gone`, if it is settled, due no more.
    async fn advance(&self, line: &Line, gone: Option<Uuid>, due: Timestamp) -> Result<Option<Hint>, Error>;
}

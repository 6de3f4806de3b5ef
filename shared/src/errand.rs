//! What waits in the queue beside attempts: steps of longer work. Tagged and versioned, as hints are; a reader that is older
//! than them refuses them, and they come again.

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    hint::Lane,
    model::{EventId, ReplayId, TenantId},
};

/// A step of longer work, of which the store knows whether it is still to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Errand {
    /// The next step of a replay.
    Replay {
        /// Whose it is.
        tenant: TenantId,
        /// Which.
        replay: ReplayId,
        /// The step that is to be made.
        step: u32,
    },
    /// The first attempts of an event for its webhooks, from a place in their list on.
    FanOut {
        /// Whose it is.
        tenant: TenantId,
        /// Which.
        event: EventId,
        /// The place.
        from: usize,
    },
}

impl Errand {
    /// By which way it goes: an event's other webhooks are not to wait for slow receivers.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Replay { .. } => Lane::Slow,
            Self::FanOut { .. } => Lane::Fast,
        }
    }

    /// On whose behalf it is done.
    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Replay { tenant, .. } | Self::FanOut { tenant, .. } => tenant,
        }
    }

    /// Writes the message.
    pub fn write(&self) -> Result<String, Error> {
        let message = Message { v: VERSION, errand: self.clone() };
        serde_json::to_string(&message).map_err(|e| Error::Internal(format!("writing a queue message: {e}")))
    }

    /// Reads a message back.
    pub fn read(text: &str) -> Result<Self, Error> {
        let message: Message = serde_json::from_str(text)
            .map_err(|e| Error::Malformed(format!("not a queue message of ours: {e}")))?;
        if message.v == VERSION {
            Ok(message.errand)
        } else {
            Err(Error::Malformed(format!("a queue message of version {}", message.v)))
        }
    }
}

/// Hints are version 1.
const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Message {
    v: u32,
    errand: Errand,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hint::Hint;

    #[test]
    fn an_errand_reads_back_and_is_no_hint() {
        let replay = ReplayId(Uuid::from_u128(7));
        let errand = Errand::Replay { tenant: "acme".parse().unwrap(), replay, step: 3 };
        let message = errand.write().unwrap();
        assert_eq!(Errand::read(&message).unwrap(), errand);
        assert!(matches!(Hint::read(&message), Err(Error::Malformed(_))), "an older reader refuses it");
        for poison in ["", "{}", &message.replace("\"v\":2", "\"v\":3"), &message.replace("replay\"", "x\"")]
        {
            assert!(matches!(Errand::read(poison), Err(Error::Malformed(_))), "{poison}");
        }
    }
}

//! The real clock, and real chance.

use jiff::Timestamp;
use postrider::ports::{Clock, Dice};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // As fine as the stores keep it, so that what is answered now reads the same later.
        Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or_default()
    }
}

/// A generator fit for secrets, seeded by the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDice;

impl Dice for SystemDice {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

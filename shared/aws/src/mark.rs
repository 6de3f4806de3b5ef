//! By what a write knows itself again. The SDK tries again when an answer gets lost; what its first try wrote may make
//! the condition of the next untrue, as if somebody else had been first.

use aws_sdk_dynamodb::types::AttributeValue;
use postrider::ports::Dice;
use postrider_lambda::SystemDice;

use crate::item::{Item, text};

/// An attribute that no other write has the same of.
pub(crate) struct Mark(AttributeValue);

impl Mark {
    pub(crate) fn new() -> Self {
        let dice: &dyn Dice = &SystemDice;
        Self(text(dice.letters(16)))
    }

    /// For the write.
    pub(crate) fn value(&self) -> AttributeValue {
        self.0.clone()
    }

    /// Whether what is there instead is what this write left there.
    pub(crate) fn is_on(&self, kept: &Item) -> bool {
        kept.get("mark") == Some(&self.0)
    }
}

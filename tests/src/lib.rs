//! The suite that guards the whole.

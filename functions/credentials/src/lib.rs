//! The credentials function.

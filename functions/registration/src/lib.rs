//! The registration function.

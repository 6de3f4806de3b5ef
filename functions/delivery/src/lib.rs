//! The delivery function.

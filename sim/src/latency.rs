//! Whom a noisy tenant delays.

//! Tiki's names of topics.

/// Canonical, and Tiki's (seed 004, "Supported events").
pub(super) const TOPICS: &[(&str, &str)] = &[
    ("product_request.approved", "product:request:approved"),
    ("product_request.rejected", "product:request:rejected"),
    ("product_request.locked", "product:request:locked"),
];

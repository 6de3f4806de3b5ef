//! Centry's names of topics: the flags of a webhook (seed 003, and those that its documents of 2024 add).

/// Canonical, and Centry's. One flag stands for all that saves a thing.
pub(super) const TOPICS: &[(&str, &str)] = &[
    ("product.updated", "on_product_save"),
    ("product.created", "on_product_save"),
    ("product.deleted", "on_product_delete"),
    ("order.updated", "on_order_save"),
    ("order.created", "on_order_save"),
    ("order.deleted", "on_order_delete"),
    ("integration_config.updated", "on_integration_config_save"),
    ("integration_config.created", "on_integration_config_save"),
    ("integration_config.deleted", "on_integration_config_delete"),
];

//! Ultimate Multisite's names of topics, and what it tells of them.

/// Canonical, and Ultimate Multisite's (`ultimate-multisite.md`, from its event manager).
pub(super) const TOPICS: &[(&str, &str)] = &[
    ("payment.received", "payment_received"),
    ("site.published", "site_published"),
    ("customer.email_verification_needed", "confirm_email_address"),
    ("domain.created", "domain_created"),
    ("payment.renewal_created", "renewal_payment_created"),
    ("customer.created", "customer_created"),
    ("customer.updated", "customer_updated"),
    ("membership.created", "membership_created"),
    ("membership.updated", "membership_updated"),
    ("payment.created", "payment_created"),
    ("payment.updated", "payment_updated"),
];

/// What `GET /hooks` answers: slug, name, description and a full sample payload of each.
pub(super) const HOOKS: &str = include_str!("ultimate_hooks.json");

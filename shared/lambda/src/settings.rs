//! Settings of a deployed function: environment variables, read once.

use std::num::NonZeroUsize;

use jiff::SignedDuration;
use postrider::{model::KeyHash, ports::Policy};

/// What a function needs to know; `template.yaml` sets for each only what it uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The table of tenants, webhooks and credentials.
    pub webhooks_table: String,
    /// The table of keys.
    pub keys_table: String,
    /// The table of events.
    pub events_table: String,
    /// The table of deliveries.
    pub deliveries_table: String,
    /// The queue of first attempts.
    pub queue_url: String,
    /// The queue of all other attempts.
    pub slow_queue_url: String,
    /// The KMS key that seals secrets.
    pub kms_key_id: Option<String>,
    /// SHA-256 of the operator's first key, in hexadecimal digits.
    pub operator_key_sha256: Option<String>,
    /// The operator's own tenant, which is told what happens to the webhooks of all.
    pub operations_tenant: Option<String>,
    /// Hours of nothing but failures after which a webhook is disabled.
    pub disabled_after_hours: Option<String>,
    /// The name of the deployment, under which its metrics stand.
    pub stack: Option<String>,
    /// Deliveries that one process may have under way to one host name at once.
    pub max_per_host: Option<String>,
    /// Whether deliveries may go to private addresses; only tests set it.
    pub allow_private_targets: bool,
}

/// A setting that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {0} {1}")]
pub struct Missing(&'static str, &'static str);

impl Settings {
    /// Reads the environment.
    pub fn from_env() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let text = |name: &str| read(name).unwrap_or_default();
        Self {
            webhooks_table: text("POSTRIDER_WEBHOOKS_TABLE"),
            keys_table: text("POSTRIDER_KEYS_TABLE"),
            events_table: text("POSTRIDER_EVENTS_TABLE"),
            deliveries_table: text("POSTRIDER_DELIVERIES_TABLE"),
            queue_url: text("POSTRIDER_QUEUE_URL"),
            slow_queue_url: text("POSTRIDER_SLOW_QUEUE_URL"),
            kms_key_id: read("POSTRIDER_KMS_KEY_ID"),
            operator_key_sha256: read("POSTRIDER_OPERATOR_KEY_SHA256"),
            operations_tenant: read("POSTRIDER_OPERATIONS_TENANT"),
            disabled_after_hours: read("POSTRIDER_DISABLED_AFTER_HOURS"),
            stack: read("POSTRIDER_STACK"),
            max_per_host: read("POSTRIDER_MAX_PER_HOST"),
            allow_private_targets: read("POSTRIDER_ALLOW_PRIVATE_TARGETS").as_deref() == Some("true"),
        }
    }

    /// How many deliveries may be under way to one host name at once, from this process; none: any number.
    pub fn per_host(&self) -> Result<Option<NonZeroUsize>, Missing> {
        let wrong = Missing("POSTRIDER_MAX_PER_HOST", "must be a whole number from 1 on");
        self.max_per_host.as_ref().map(|count| count.parse().map_err(|_| wrong)).transpose()
    }

    /// What the operator decided.
    pub fn policy(&self) -> Result<Policy, Missing> {
        let hash = |hex: &String| {
            KeyHash::from_hex(hex)
                .ok_or(Missing("POSTRIDER_OPERATOR_KEY_SHA256", "must be 64 hexadecimal digits"))
        };
        let tenant = |id: &String| {
            id.parse().map_err(|_| Missing("POSTRIDER_OPERATIONS_TENANT", "must be a tenant's id"))
        };
        let hours = |hours: &String| {
            let hours = hours.parse().ok().filter(|hours| (1..=600).contains(hours));
            hours
                .map(SignedDuration::from_hours)
                .ok_or(Missing("POSTRIDER_DISABLED_AFTER_HOURS", "must be a whole number from 1 to 600"))
        };
        let standard = Policy::default();
        let disabled_after = self.disabled_after_hours.as_ref().map(hours).transpose()?;
        Ok(Policy {
            disabled_after: disabled_after.unwrap_or(standard.disabled_after),
            operations: self.operations_tenant.as_ref().map(tenant).transpose()?,
            allow_private_targets: self.allow_private_targets,
            operator_key: self.operator_key_sha256.as_ref().map(hash).transpose()?,
            ..standard
        })
    }
}

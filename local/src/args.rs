//! Flags, each also an environment variable.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use clap::{Parser, ValueEnum};
use postrider::model::TenantId;
use postrider_outbound::{Authorities, LocalName};

/// Webhooks for commerce platforms, as one process on one machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "postrider", version)]
pub(crate) struct Args {
    /// The address to listen on
    #[arg(long, env = "POSTRIDER_HOST", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// The port to listen on
    #[arg(long, env = "POSTRIDER_PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// The database, made when it is not there; the key that seals secrets lies beside it in FILE.key
    #[arg(long, env = "POSTRIDER_DATA", value_name = "FILE", default_value = "postrider.db")]
    pub(crate) data: PathBuf,
    /// The operator's key (prk_, 16 of a-z and 0-9, _, 32 letters or digits); without it, the first start makes one
    #[arg(long, env = "POSTRIDER_OPERATOR_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) operator_key: Option<String>,
    /// The operator's own tenant: its webhooks are told of failing webhooks and exhausted deliveries of all tenants
    #[arg(long, env = "POSTRIDER_OPERATIONS_TENANT", value_name = "TENANT", value_parser = |id: &str| id.parse::<TenantId>())]
    pub(crate) operations_tenant: Option<TenantId>,
    /// Hours of nothing but failures after which a webhook is disabled
    #[arg(long, env = "POSTRIDER_DISABLED_AFTER_HOURS", value_name = "HOURS", default_value_t = 120,
          value_parser = clap::value_parser!(i64).range(1..=600))]
    pub(crate) disabled_after_hours: i64,
    /// Whether deliveries may go to private addresses; the default is yes while listening on loopback alone
    #[arg(long, env = "POSTRIDER_ALLOW_PRIVATE_TARGETS", value_name = "BOOL", num_args = 0..=1,
          default_missing_value = "true")]
    pub(crate) allow_private_targets: Option<bool>,
    /// Deliveries under way to one host name at once, whosever they are; the default is 256, or any number where private
    /// addresses may be reached
    #[arg(long, env = "POSTRIDER_MAX_PER_HOST", value_name = "COUNT")]
    pub(crate) max_per_host: Option<NonZeroUsize>,
    /// A name that resolves as told, as in shop.test=127.0.0.1; may be given several times
    #[arg(long, env = "POSTRIDER_RESOLVE", value_name = "NAME=ADDRESS", value_delimiter = ',')]
    pub(crate) resolve: Vec<LocalName>,
    /// A name server to ask for receivers' names, in the place of the system's; may be given several times
    #[arg(long, env = "POSTRIDER_NAME_SERVER", value_name = "ADDRESS:PORT", value_delimiter = ',')]
    pub(crate) name_server: Vec<SocketAddr>,
    /// Certificate authorities, in PEM form, that may vouch for receivers beside the public ones
    #[arg(long, env = "POSTRIDER_TRUST", value_name = "FILE", value_parser = |path: &str| Authorities::read(path))]
    pub(crate) trust: Option<Authorities>,
    /// Where tenants, webhooks, events and deliveries are kept
    #[arg(long, env = "POSTRIDER_ENGINE", value_enum, default_value_t = Engine::Embedded)]
    pub(crate) engine: Engine,
    /// Another template than the one that was built in
    #[arg(long, env = "POSTRIDER_TEMPLATE", value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
}

/// What is behind the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// SQLite, in one file
    Embedded,
    /// `DynamoDB`, SQS and KMS: names by the variables that template.yaml sets, addresses by `AWS_ENDPOINT_URL` and its siblings
    Aws,
}

impl Args {
    /// What to listen on.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

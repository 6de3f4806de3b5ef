//! Logs.

use tracing_subscriber::EnvFilter;

/// Starts writing logs as JSON lines, as `CloudWatch` Logs Insights reads them; `RUST_LOG` says how much.
pub fn start_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Started twice, the first stays in force.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_ansi(false).try_init();
}

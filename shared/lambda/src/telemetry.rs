//! Logs, metrics and traces.

use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::traces::Traces;

/// What the metrics stand under in `CloudWatch`.
const NAMESPACE: &str = "Postrider";

/// What a deployed function tells of itself.
pub struct Telemetry {
    metrics: Option<&'static Collector>,
    traces: Traces,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Starts logs, metrics and traces; `stack` parts the metrics of one deployment from those of another.
    pub fn start(stack: Option<&str>) -> Self {
        let traces = start_logs("info", std::io::stdout);
        let metrics = Builder::new().cloudwatch_namespace(NAMESPACE);
        let metrics = metrics.with_dimension("Stack", stack.unwrap_or("local").to_owned()).init();
        if let Err(error) = &metrics {
            tracing::warn!(%error, "there are no metrics");
        }
        postrider::telemetry::describe();
        Self { metrics: metrics.ok(), traces }
    }

    /// Writes out what has gathered: after each event, for what follows it is not said to come.
    pub fn flush(&self) {
        self.flush_to(std::io::stdout());
    }

    /// Metrics are lines of the log, from which `CloudWatch` takes the figures: no request is made for them.
    fn flush_to(&self, log: impl std::io::Write) {
        if let Some(Err(error)) = self.metrics.map(|metrics| metrics.flush(log)) {
            tracing::warn!(%error, "metrics were not written");
        }
        self.traces.flush();
    }
}

/// Starts writing logs as JSON lines, as `CloudWatch` Logs Insights reads them, and sending traces, if they are asked for;
/// `RUST_LOG` says how much is logged, else `filter`.
pub fn start_logs(filter: &str, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Traces {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let lines =
        tracing_subscriber::fmt::layer().json().with_ansi(false).with_span_list(false).with_writer(writer);
    let (layer, traces) = Traces::start();
    // Started twice, the first stays in force.
    let _ = registry().with(layer).with(lines.with_filter(filter)).try_init();
    traces
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn figures_are_written_as_cloudwatch_takes_them_from_a_log() {
        let telemetry = Telemetry::start(Some("shop"));
        metrics::counter!("postrider_attempts", "outcome" => "failed").increment(2);
        let mut log = Vec::new();
        telemetry.flush_to(&mut log);
        let line: Value = serde_json::from_slice(&log).unwrap();
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(
            (&metrics["Namespace"], &metrics["Dimensions"]),
            (&json!("Postrider"), &json!([["Stack", "outcome"]]))
        );
        assert_eq!(metrics["Metrics"], json!([{ "Name": "postrider_attempts", "Unit": "Count" }]));
        let figures = json!([line["Stack"], line["outcome"], line["postrider_attempts"]]);
        assert_eq!(figures, json!(["shop", "failed", 2]));
        log.clear();
        telemetry.flush_to(&mut log);
        assert_eq!(log, b"", "each is told once");
    }
}

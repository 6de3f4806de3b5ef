//! Traces: spans sent to an OpenTelemetry collector by OTLP, if `OTEL_EXPORTER_OTLP_ENDPOINT` (the variable of its
//! specification) says where one is.

#[cfg(feature = "otlp")]
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{Layer, Registry};

/// Spans on their way to a collector.
#[derive(Debug, Default)]
pub struct Traces {
    #[cfg(feature = "otlp")]
    provider: Option<SdkTracerProvider>,
}

type Spans = Option<Box<dyn Layer<Registry> + Send + Sync>>;

#[cfg(not(feature = "otlp"))]
impl Traces {
    pub(crate) fn start() -> (Spans, Self) {
        (None, Self::default())
    }

    /// Sends what has gathered.
    pub fn flush(&self) {}
}

#[cfg(feature = "otlp")]
impl Traces {
    pub(crate) fn start() -> (Spans, Self) {
        use opentelemetry::trace::TracerProvider as _;
        use tracing::level_filters::LevelFilter;
        use tracing_subscriber::filter::Targets;

        let is_wanted = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        if !is_wanted {
            return (None, Self::default());
        }
        let exporter = match opentelemetry_otlp::SpanExporter::builder().with_http().build() {
            Ok(exporter) => exporter,
            Err(error) => {
                // There is no log yet.
                eprintln!("postrider: no traces are sent: {error}");
                return (None, Self::default());
            }
        };
        let resource = opentelemetry_sdk::Resource::builder().with_service_name("postrider").build();
        let provider =
            SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        // Our own spans alone: those of the exporter's client would make more of themselves.
        let ours = Targets::new().with_target("postrider", LevelFilter::INFO);
        let spans =
            tracing_opentelemetry::layer().with_tracer(provider.tracer("postrider")).with_filter(ours);
        (Some(Box::new(spans)), Self { provider: Some(provider) })
    }

    /// Sends what has gathered.
    pub fn flush(&self) {
        if let Some(Err(error)) = self.provider.as_ref().map(SdkTracerProvider::force_flush) {
            tracing::warn!(%error, "traces were not sent");
        }
    }
}

//! `/metrics`, for Prometheus. For the operator alone: what a whole platform sends is not everybody's business.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use postrider::{access, model::Scope, ports::Ports};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::http::{Answer, gateway};

/// Bounds of the buckets of what is timed: from a receiver beside us to one at the end of its schedule.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 86_400.0];

/// How long figures wait to be taken in: some thousands, at most.
const UPKEEP: Duration = Duration::from_millis(200);

/// What was counted and timed since the start.
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to count.
    pub(crate) fn start() -> Result<Self, BuildError> {
        let timed = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(timed, &SECONDS)?;
        let handle = builder.with_recommended_naming(true).install_recorder()?;
        postrider::telemetry::describe();
        Ok(Self(handle))
    }

    /// Takes in what was timed, again and again until told to stop: until then each figure is kept by itself, asked for or not.
    pub(crate) fn upkeep(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        let handle = self.0.clone();
        async move {
            while stop.run_until_cancelled(sleep(UPKEEP)).await.is_some() {
                handle.run_upkeep();
            }
        }
    }

    pub(crate) async fn answer(&self, ports: &Ports, headers: &HeaderMap) -> Answer {
        let key: Vec<_> = access::bearer(headers).into_iter().collect();
        match access::authenticate(ports, &key).await {
            Ok(principal) if principal.covers(Scope::Admin) => {}
            Ok(_) => return gateway(StatusCode::FORBIDDEN, "Forbidden"),
            Err(_) => return gateway(StatusCode::UNAUTHORIZED, "Unauthorized"),
        }
        let mut response = Response::new(Full::from(Bytes::from(self.0.render())));
        // The version of Prometheus's text format.
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

//! Wires the function: settings, engine, way out, runtime.

use lambda_http::{Request, service_fn};
use postrider_outbound::Outbound;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = postrider_lambda::Settings::from_env();
    let telemetry = postrider_lambda::Telemetry::start(settings.stack.as_deref());
    let ports = postrider_aws::ports(&settings).await?;
    let post = Outbound::new(postrider_outbound::Settings {
        allow_private: settings.allow_private_targets,
        ..Default::default()
    })?;
    let (ports, post, telemetry) = (&ports, &post, &telemetry);
    lambda_http::run(service_fn(async move |event: Request| {
        let answer = testing::handle(ports, post, event).await;
        telemetry.flush();
        Ok::<_, std::convert::Infallible>(answer)
    }))
    .await
}

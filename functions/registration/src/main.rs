//! Wires the function: settings, engine, runtime.

use lambda_http::{Request, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = postrider_lambda::Settings::from_env();
    let telemetry = postrider_lambda::Telemetry::start(settings.stack.as_deref());
    let ports = postrider_aws::ports(&settings).await?;
    let (ports, telemetry) = (&ports, &telemetry);
    lambda_http::run(service_fn(async move |event: Request| {
        let answer = registration::handle(ports, event).await;
        telemetry.flush();
        Ok::<_, std::convert::Infallible>(answer)
    }))
    .await
}

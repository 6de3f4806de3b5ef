//! Wires the function: settings, engine, way out, runtime.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{LambdaEvent, service_fn};
use postrider_outbound::Outbound;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = postrider_lambda::Settings::from_env();
    let telemetry = postrider_lambda::Telemetry::start(settings.stack.as_deref());
    let ports = postrider_aws::ports(&settings).await?;
    let post = Outbound::new(postrider_outbound::Settings {
        allow_private: settings.allow_private_targets,
        per_host: settings.per_host()?,
        ..Default::default()
    })?;
    let (ports, post, telemetry) = (&ports, &post, &telemetry);
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<SqsEvent>| {
        let answer = delivery::handle(ports, post, event.payload).await;
        telemetry.flush();
        Ok::<_, std::convert::Infallible>(answer)
    }))
    .await
}

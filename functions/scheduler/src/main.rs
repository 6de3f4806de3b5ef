//! Wires the function: settings, engine, runtime.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = postrider_lambda::Settings::from_env();
    let telemetry = postrider_lambda::Telemetry::start(settings.stack.as_deref());
    let ports = postrider_aws::ports(&settings).await?;
    let (ports, telemetry) = (&ports, &telemetry);
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<EventBridgeEvent>| {
        let swept = scheduler::handle(ports, event.payload).await;
        telemetry.flush();
        swept.map(drop).map_err(lambda_runtime::Error::from)
    }))
    .await
}

//! Wires the function: settings, engine, runtime.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    postrider_lambda::start_logs();
    let ports = postrider_aws::ports(&postrider_lambda::Settings::from_env()).await?;
    let ports = &ports;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<EventBridgeEvent>| {
        scheduler::handle(ports, event.payload).await.map(drop).map_err(lambda_runtime::Error::from)
    }))
    .await
}

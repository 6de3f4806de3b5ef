//! Wires the function: settings, engine, runtime.

use lambda_http::{Request, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    postrider_lambda::start_logs();
    let ports = postrider_aws::ports(&postrider_lambda::Settings::from_env()).await?;
    let ports = &ports;
    lambda_http::run(service_fn(async move |event: Request| {
        Ok::<_, std::convert::Infallible>(publish::handle(ports, event).await)
    }))
    .await
}

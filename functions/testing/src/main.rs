//! Wires the function: settings, engine, way out, runtime.

use lambda_http::{Request, service_fn};
use postrider_outbound::Outbound;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    postrider_lambda::start_logs();
    let settings = postrider_lambda::Settings::from_env();
    let ports = postrider_aws::ports(&settings).await?;
    let post = Outbound::new(postrider_outbound::Settings {
        allow_private: settings.allow_private_targets,
        ..Default::default()
    })?;
    let (ports, post) = (&ports, &post);
    lambda_http::run(service_fn(async move |event: Request| {
        Ok::<_, std::convert::Infallible>(testing::handle(ports, post, event).await)
    }))
    .await
}

//! Tenants, keys, webhooks, and the record of deliveries, behind API Gateway.

use lambda_http::{Body, Request, Response};
use postrider::{door::Desk, ports::Ports};

/// Answers one event of the HTTP API.
pub async fn handle(ports: &Ports, event: Request) -> Response<Body> {
    postrider_lambda::answer(ports, Desk::Registration, event).await
}

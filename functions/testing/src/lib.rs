//! Test events, behind API Gateway: sent at once, and answered with what the receiver answered.
//!
//! A function of its own, for it is the only one that lets a caller choose where a request goes and read the answer.

use lambda_http::{Body, Request, Response};
use postrider::{
    door::Desk,
    ports::{Ports, Post},
};

/// Answers one event of the HTTP API.
pub async fn handle(ports: &Ports, post: &dyn Post, event: Request) -> Response<Body> {
    postrider_lambda::answer(ports, Desk::Testing(post), event).await
}

//! No system at all: a publish goes straight to the receiver. Its numbers are the ceiling that
//! this harness can measure on this machine, so a real target near them is harness-bound.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use anyhow::{Context, Result};
use async_trait::async_trait;
use http::{Method, Request, header::CONTENT_TYPE};

use super::{Endpoint, Message, Target};
use crate::client::{Body, HttpClient};

/// The receiver's URL of each application; the last one registered, as there is no fan-out here.
#[derive(Default)]
pub(super) struct Null(RwLock<HashMap<String, String>>);

#[async_trait]
impl Target for Null {
    fn name(&self) -> &'static str {
        "null"
    }

    async fn probe(&self, _: &HttpClient) -> Result<()> {
        Ok(())
    }

    async fn create_app(&self, _: &HttpClient, label: &str) -> Result<String> {
        Ok(label.to_owned())
    }

    async fn create_endpoint(&self, _: &HttpClient, app: &str, url: &str) -> Result<Endpoint> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(app.to_owned(), url.to_owned());
        Ok(Endpoint { secret: None })
    }

    fn publish(&self, message: Message<'_>) -> Result<Request<Body>> {
        let urls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let url = urls.get(message.app).context("an application without an endpoint")?;
        Ok(Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Body::new(message.payload.clone()))?)
    }
}

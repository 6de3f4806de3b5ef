//! The HTTP API: each request becomes the event that API Gateway would send, for the function that the template
//! names.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use http::{Method, Request, Response, StatusCode, uri::Authority};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use lambda_http::Body;
use postrider::ports::{Ports, Post};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    inspect::Inspector,
    metrics::Metrics,
    template::{Function, Routes},
};

/// The longest request body, as an HTTP API takes it.
const MAX_BODY: usize = 10 << 20;
/// How long a client may take over its headers, and how long a connection may be idle.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may take over its body: the rest of the 30 s after which an HTTP API gives up is for the answer.
const BODY_WITHIN: Duration = Duration::from_secs(20);
/// The longest request line and headers, with room for what an HTTP API takes (10,240 bytes), so that the answer to
/// what is longer is ours.
const MAX_HEAD: usize = 64 << 10;
/// Connections at once: with what a process may have open by default (1,024 files), as many again are left for
/// deliveries. Others wait to be accepted until one of them ends, which idle ones soon do.
const CONNECTIONS: usize = 512;

pub(crate) type Answer = Response<Full<Bytes>>;

/// What requests are answered with.
pub(crate) struct Server {
    pub(crate) routes: Routes,
    pub(crate) ports: Ports,
    pub(crate) post: Arc<dyn Post>,
    pub(crate) inspector: Arc<Inspector>,
    pub(crate) metrics: Metrics,
}

/// Serves until told to stop; requests under way are answered.
pub(crate) async fn serve(listener: TcpListener, server: Server, stop: CancellationToken) {
    let server = Arc::new(server);
    let connections = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, _)) = accepted else {
            // Too many open files, for one: it passes, and is not made better by asking at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let server = server.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        // A client that breaks off hears nothing more, and nobody else needs to.
        tokio::spawn(async move {
            drop(connection.await);
            drop(permit);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let reading = Limited::new(body, MAX_BODY).collect();
        let Ok(read) = tokio::time::timeout(BODY_WITHIN, reading).await else {
            return gateway(StatusCode::REQUEST_TIMEOUT, "Request Timeout");
        };
        let body = match read {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return gateway(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
            }
            Err(_) => return gateway(StatusCode::BAD_REQUEST, "Bad Request"),
        };
        let path = parts.uri.path();
        if let Some(bin) = path.strip_prefix("/inspect/") {
            return self.inspector.answer(bin, &parts, &body);
        }
        if path == "/metrics" && parts.method == Method::GET {
            return self.metrics.answer(&self.ports, &parts.headers).await;
        }
        let Some(function) = self.routes.find(&parts.method, path) else {
            return gateway(StatusCode::NOT_FOUND, "Not Found");
        };
        let query = parts.uri.query().unwrap_or_default();
        // RFC 9112, 3.2: a Host that is none is answered 400.
        let host = parts.headers.get(http::header::HOST).map(|host| Authority::try_from(host.as_bytes()));
        if matches!(host, Some(Err(_))) {
            return gateway(StatusCode::BAD_REQUEST, "Bad Request");
        }
        if path.len() + query.len() > postrider_lambda::MAX_TARGET {
            return gateway(StatusCode::URI_TOO_LONG, "Request URI Too Long");
        }
        let event = postrider_lambda::event(parts.method, path, query, parts.headers, &body);
        let handling = async { self.handle(function, postrider_lambda::decode(event)).await };
        let handled = AssertUnwindSafe(handling).catch_unwind().await;
        handled.map_or_else(
            // What API Gateway answers when a function fails.
            |_| gateway(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            |response| response.map(bytes_of),
        )
    }

    async fn handle(&self, function: Function, event: lambda_http::Request) -> Response<Body> {
        match function {
            Function::Registration => registration::handle(&self.ports, event).await,
            Function::Credentials => credentials::handle(&self.ports, event).await,
            Function::Publish => publish::handle(&self.ports, event).await,
            Function::Testing => testing::handle(&self.ports, &*self.post, event).await,
        }
    }
}

fn bytes_of(body: Body) -> Full<Bytes> {
    Full::new(match body {
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    })
}

/// An answer of API Gateway's own.
pub(crate) fn gateway(status: StatusCode, message: &str) -> Answer {
    json(status, &serde_json::json!({ "message": message }))
}

/// A JSON answer of the runner's.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    answer
}

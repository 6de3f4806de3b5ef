//! API Gateway's HTTP API events (payload format 2.0), and the domain's requests.
//!
//! `lambda_http` does the reading on AWS; the local runner makes the same event and goes through the same
//! reading, so the two cannot drift apart.

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header::HOST};
use lambda_http::{Body, request::LambdaRequest};
use postrider::{
    dialect::{Request, Response},
    door::{self, Desk},
    ports::Ports,
};

/// The longest path and query together. API Gateway takes 10,240 bytes of request line and headers; and
/// `lambda_http` unwraps a URL that must not grow beyond what a URI may be when it is percent-encoded.
pub const MAX_TARGET: usize = 10_240;

/// The event that API Gateway would make of a request. Its `Host` and `X-Forwarded-Proto` are the gateway's own,
/// not the client's: `lambda_http` builds a URL from them, and unwraps it.
pub fn event(
    method: Method,
    raw_path: &str,
    query: &str,
    mut headers: HeaderMap,
    body: &[u8],
) -> ApiGatewayV2httpRequest {
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    let (body, is_base64_encoded) = match str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        // Only a body that is no text is encoded, as API Gateway does.
        Err(_) => (STANDARD.encode(body), true),
    };
    let mut event = ApiGatewayV2httpRequest::default();
    event.version = Some("2.0".to_owned());
    event.raw_path = Some(raw_path.to_owned());
    event.raw_query_string = Some(query.to_owned());
    event.headers = headers;
    event.body = (!body.is_empty()).then_some(body);
    event.is_base64_encoded = is_base64_encoded;
    event.request_context.stage = Some("$default".to_owned());
    event.request_context.http.method = method;
    event
}

/// Reads an event as `lambda_http` does on AWS.
pub fn decode(event: ApiGatewayV2httpRequest) -> lambda_http::Request {
    LambdaRequest::ApiGatewayV2(event).into()
}

/// The domain's request.
fn request(request: lambda_http::Request) -> Request {
    request.map(|body| match body {
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        // Empty; or, should the enum grow, of a kind that cannot be read here.
        _ => Bytes::new(),
    })
}

/// The answer as `lambda_http` sends it.
pub fn encode(response: Response) -> http::Response<Body> {
    response.map(|body| match String::from_utf8(body.into()) {
        Ok(text) => Body::Text(text),
        Err(error) => Body::Binary(error.into_bytes()),
    })
}

/// What an HTTP function does with an event.
pub async fn answer(ports: &Ports, desk: Desk<'_>, event: lambda_http::Request) -> http::Response<Body> {
    encode(door::answer(ports, desk, &request(event)).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn an_event_reads_back_as_the_request_it_was_made_of() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.com:8080"));
        headers.insert("tiki-api", HeaderValue::from_static("k"));
        for body in [&b""[..], b"{}", b"\xff\xfe"] {
            let event = event(Method::PUT, "/a%20b/c", "x=1&y=%26", headers.clone(), body);
            let event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            let read = request(decode(event));
            assert_eq!(read.method(), Method::PUT);
            assert_eq!(read.uri().path(), "/a%20b/c");
            assert_eq!(read.uri().query(), Some("x=1&y=%26"));
            assert_eq!(read.headers()["tiki-api"], "k");
            assert_eq!(&read.body()[..], body);
        }
    }

    #[test]
    fn a_host_of_the_clients_making_goes_no_further() {
        for host in ["a b/c", "x:65536", ":80", ""] {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static(host));
            headers.insert("x-forwarded-proto", HeaderValue::from_static("a b"));
            let read = request(decode(event(Method::GET, "/x", "", headers, b"")));
            assert_eq!(read.uri(), "https://localhost/x");
        }
    }

    #[test]
    fn the_longest_target_is_read_whatever_it_grows_to() {
        let path = format!("/{}", "\"".repeat(MAX_TARGET - 1));
        request(decode(event(Method::GET, &path, "", HeaderMap::new(), b"")));
    }
}

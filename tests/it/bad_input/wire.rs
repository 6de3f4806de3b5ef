//! What is wrong with a request before any dialect sees it.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Stage, raw::say};

#[tokio::test]
async fn a_request_that_is_not_http_is_refused_or_closed() {
    let stage = Stage::set("wire").await;
    let key = &stage.tenant.key;
    let auth = format!("authorization: Bearer {key}\r\nconnection: close\r\n");
    let long = "a".repeat(1 << 20);
    for (request, allowed) in [
        // Statuses that may come; none: the connection may close without one.
        (format!("GET /v1/webhooks HTTP/1.1\r\nhost: a b\r\n{auth}\r\n"), &[400][..]),
        (format!("GET /v1/webhooks HTTP/1.1\r\nhost: \u{1}\r\n{auth}\r\n"), &[400]),
        (format!("GET /v1/webhooks HTTP/1.1\r\nhost: x:99999999\r\n{auth}\r\n"), &[400, 200]),
        (format!("GET /v1/webhooks HTTP/1.1\r\nhost:\r\n{auth}\r\n"), &[400, 200]),
        (format!("GET /v1/webhooks HTTP/1.1\r\nhost: é\r\n{auth}\r\n"), &[400]),
        (format!("GET /v1/webhooks HTTP/1.0\r\n{auth}\r\n"), &[400, 200]),
        (
            format!("GET http://other.example/v1/webhooks HTTP/1.1\r\nhost: other.example\r\n{auth}\r\n"),
            &[200, 400, 404],
        ),
        (format!("GET /v1/webhooks?tenant=%ff&limit=%00 HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[422]),
        (format!("GET /v1/%ff%fe HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[404]),
        (format!("GET /v1/webhooks/%2e%2e%2f HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[404]),
        (format!("GET //v1//webhooks HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[404]),
        (format!("OPTIONS * HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[400, 404, 405]),
        (format!("CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[400, 404, 405]),
        (format!("BREW /v1/webhooks HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[400, 404, 405]),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n{auth}\r\n"), &[400, 404, 414, 431]),
        (format!("GET /v1/webhooks HTTP/1.1\r\nhost: x\r\nx: {long}\r\n{auth}\r\n"), &[400, 431]),
        (
            format!("GET /v1/webhooks HTTP/1.1\r\nhost: x\r\n{}{auth}\r\n", "a: b\r\n".repeat(500)),
            &[400, 431],
        ),
        (format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n{auth}\r\n{{}}"), &[400]),
        (format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n{auth}\r\n{{}}"), &[400]),
        (
            format!(
                "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n{auth}\r\n{{}}"
            ),
            &[400],
        ),
        (
            format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{auth}\r\nzz\r\n"),
            &[400],
        ),
        ("\0\0\0\0".to_owned(), &[400]),
        ("SSH-2.0-x\r\n".to_owned(), &[400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400]),
        (String::new(), &[]),
    ] {
        let status = say(request.as_bytes()).await;
        let begin: String = request.chars().take(120).collect();
        assert!(status.is_none_or(|status| allowed.contains(&status)), "{status:?} to {begin:?}");
    }
    let mut bytes = format!("GET /v1/webhooks HTTP/1.1\r\nhost: x\r\n{auth}tiki-api: ").into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\r\n\r\n");
    assert_eq!(say(&bytes).await, Some(200), "a header that is no text is nobody's key");
    stage.is_unchanged().await;
}

#[tokio::test]
async fn a_body_over_10_mib_is_too_large_for_every_route() {
    let stage = Stage::set("large").await;
    let whole = Bytes::from(vec![b' '; (10 << 20) + 1]);
    for (method, path) in [
        (Method::POST, "/v1/events"),
        (Method::POST, "/v1/webhooks"),
        (Method::PUT, "/integration/v1/webhooks/credentials"),
        (Method::GET, "/v1/webhooks"),
    ] {
        let answer =
            stage.tenant.client.send_bytes(method, path, Some(whole.clone()), &HeaderMap::new()).await;
        // As on AWS, where the gateway says so and no function is asked: the shape is the gateway's.
        assert_eq!(answer.expect(413), json!({ "message": "Request Entity Too Large" }), "{path}");
    }
    // What is just within reaches the function, which finds no JSON in it.
    let within = whole.slice(1..);
    let answer =
        stage.tenant.client.send_bytes(Method::POST, "/v1/events", Some(within), &HeaderMap::new()).await;
    assert_eq!(answer.expect(400)["type"], "urn:postrider:problem:malformed");
    stage.is_unchanged().await;
}

#[tokio::test]
async fn a_header_cannot_be_smuggled_through_a_stored_value() {
    let stage = Stage::set("smuggle").await;
    for value in ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\u{0}b", "a\u{85}b"] {
        let body = json!({ "url": "https://example.com/", "topics": ["*"], "headers": { "x-a": value } });
        assert_eq!(stage.tenant.client.post("/v1/webhooks", &body).await.expect(422)["field"], "headers");
        let answer = stage.tenant.client.put("/v1/credentials", &json!({ "id": "a", "secret": value })).await;
        assert_eq!(answer.expect(422)["field"], Value::from("secret"));
    }
    stage.is_unchanged().await;
}

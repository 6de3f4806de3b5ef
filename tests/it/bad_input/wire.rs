//! What is wrong with a request before any dialect sees it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Stage, raw::say};

/// How long an answer may take that is to come.
const PATIENCE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_request_that_is_not_http_is_refused_or_closed() {
    let stage = Stage::set("wire").await;
    let key = &stage.tenant.key;
    let auth = format!("authorization: Bearer {key}\r\nconnection: close\r\n");
    let long = "a".repeat(1 << 20);
    for (request, allowed) in [
        // The statuses that may come; 0: the connection closes without one.
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
        (format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n{auth}\r\n{{}}"), &[400, 0]),
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
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400, 0]),
        (String::new(), &[0]),
    ] {
        let status = say(request.as_bytes(), PATIENCE).await;
        let begin: String = request.chars().take(120).collect();
        assert!(allowed.contains(&status.unwrap_or_default()), "{status:?} to {begin:?}");
    }
    let mut bytes = format!("GET /v1/webhooks HTTP/1.1\r\nhost: x\r\n{auth}tiki-api: ").into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\r\n\r\n");
    assert_eq!(say(&bytes, PATIENCE).await, Some(200), "a header that is no text is nobody's key");
    stage.is_unchanged().await;
}

#[tokio::test]
async fn a_header_that_becomes_part_of_a_url_breaks_nothing() {
    let stage = Stage::set("url-parts").await;
    let auth = format!("authorization: Bearer {}\r\nconnection: close\r\n", stage.tenant.key);
    let hosts = [
        "x",
        "x:65535",
        "x:65536",
        "x:99999999",
        "x:",
        ":80",
        ":",
        "",
        "a b",
        "a@b",
        "u:p@x:8",
        "[::1]",
        "[::1]:8",
        "[::1",
        "[g]",
        "x/y",
        "x?y",
        "x#y",
        "a%20b",
        "%00",
        "é",
        "xn--",
        "xn--a",
        "\u{1}",
        "1.2.3.4.5",
        "0x",
        "x:80:80",
        "a..b",
        "\\",
        "<>",
        "^",
        "|",
        "\"",
        "127.0.0.1.",
    ];
    let hosts = hosts.map(|host| format!("host: {host}\r\n"));
    let schemes = [
        "http",
        "wss",
        "",
        " ",
        "1",
        "1x",
        "a b",
        ":",
        "://",
        "é",
        "javascript",
        "data",
        "file",
        "http://evil/",
        "\u{1}",
    ];
    let schemes = schemes.map(|scheme| format!("host: x\r\nx-forwarded-proto: {scheme}\r\n"));
    for header in hosts.iter().chain(&schemes) {
        for path in ["/v1/webhooks", "/nowhere", "/v1/webhooks/../tenants", "/v1/webhooks?x=%"] {
            let status = say(format!("GET {path} HTTP/1.1\r\n{header}{auth}\r\n").as_bytes(), PATIENCE).await;
            assert!(matches!(status, Some(200 | 400 | 403 | 404)), "{status:?} to {path} with {header:?}");
        }
    }
    // Each of these is written with three characters in a URL, and a URL has a length that parsers take.
    for (character, count) in [('"', 30_000), ('{', 60_000), ('é', 30_000), ('a', 65_000)] {
        let path = character.to_string().repeat(count);
        let status = say(format!("GET /{path} HTTP/1.1\r\nhost: x\r\n{auth}\r\n").as_bytes(), PATIENCE).await;
        assert!(matches!(status, Some(400 | 404 | 414 | 431)), "{status:?} to {count} of {character:?}");
    }
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

#[tokio::test]
async fn an_answer_says_what_http_asks_of_it_in_every_dialect() {
    let stage = Stage::set("http").await;
    let client = stage.tenant.client.anonymous();
    for path in [
        "/v1/webhooks",
        "/integration/v1/webhooks",
        "/admin/webhooks.json",
        "/conexion/v1/webhooks.json",
        "/wp-json/wu/v2/webhook",
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 401, "{answer}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"), "{path}");
        let head = stage.tenant.client.send(Method::HEAD, path, None).await;
        let get = stage.tenant.client.get(path).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
    }
    let wrong = client.send(Method::PATCH, "/admin/webhooks.json", None).await;
    assert_eq!((wrong.status, wrong.headers["allow"].to_str().unwrap()), (405, "GET, HEAD, POST"));
    assert_eq!(client.send(Method::HEAD, "/v1/health", None).await.status, 200);
    stage.is_unchanged().await;
}

//! What OAuth2's endpoints are not to be asked; the plain cases are in `tests/dialects/centry/oauth.json` and Tiki's.

use http::Method;
use postrider_tests::{client::Answer, tenant::text};
use serde_json::json;

use super::{NOT_JSON, Stage, Wrong, hard_json, wrong};

const TOKEN: [&str; 2] = ["/oauth/token", "/sc/oauth2/token"];
const AUTHORIZE: [&str; 2] = ["/oauth/authorize", "/sc/oauth2/auth"];

/// RFC 6749, 5.2: each answer is an object of `error` and `error_description`, which has `names` in it.
fn judge(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "application/json", "{answer}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{answer}");
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 2, "{answer}");
    let error = match answer.status {
        401 => "invalid_client",
        _ => "invalid_request",
    };
    assert_eq!(body["error"], error, "{answer}");
    assert!(text(&body, "error_description").contains(names), "it is to name {names:?}: {answer}");
}

/// Each answer is a page, and sends nobody anywhere.
fn judge_page(answer: &Answer, names: &'static str) {
    assert_eq!(answer.content_type(), "text/html", "{answer}");
    assert!(!answer.headers.contains_key("location"), "{answer}");
    let page = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(page.contains(names) && !page.contains("<script"), "it is to name {names:?}: {answer}");
}

fn any(path: &str) -> Vec<Wrong> {
    let mut table = Vec::new();
    for body in NOT_JSON.into_iter().filter(|body| !body.is_empty()) {
        table.push(wrong(Method::POST, path, body, 400, "JSON"));
    }
    for body in [json!([]), json!(null), json!(5), json!("text")] {
        table.push(wrong(Method::POST, path, body, 400, "JSON object"));
    }
    for body in hard_json() {
        let is_json = body.starts_with(b"{\"key");
        let status = if is_json && path.ends_with("token") { 401 } else { 400 };
        let mut row = wrong(Method::POST, path, (), status, "");
        row.body = Some(body);
        table.push(row);
    }
    for value in [json!(1), json!(true), json!(["code"]), json!({})] {
        table.push(wrong(Method::POST, path, json!({ "client_id": "a", "scope": value }), 400, "scope"));
    }
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        table.push(wrong(method, path, json!({}), 405, "method"));
    }
    let long = json!({ "client_id": "a", "redirect_uri": "a", "state": "a".repeat(4097) });
    table.push(wrong(Method::POST, path, long, 400, "state"));
    table
}

#[tokio::test]
async fn a_token_endpoint_refuses_in_oauths_shape() {
    let stage = Stage::set("oauth-bad").await;
    let client = stage.tenant.client.anonymous();
    let (id, secret) = stage.tenant.key.rsplit_once('_').unwrap();
    let with = |more: &str| format!("client_id={id}&client_secret={secret}&{more}");
    let mut table = Vec::new();
    for path in TOKEN {
        table.extend(any(path));
        table.push(wrong(Method::POST, path, (), 401, ""));
        table.push(wrong(Method::GET, path, (), 405, "method"));
        for (query, status, names) in [
            (
                with("grant_type=client_credentials&grant_type=client_credentials"),
                400,
                "grant_type: is there twice",
            ),
            (with("grant_type=client_credentials&client_id="), 400, "client_id"),
            (with(""), 400, "grant_type"),
            (with("grant_type=authorization_code"), 400, "code"),
            (with("grant_type=refresh_token"), 400, "refresh_token"),
            ("grant_type=client_credentials&client_id=%ff&client_secret=%00".to_owned(), 401, ""),
            (format!("client_id={id}&grant_type=client_credentials"), 401, ""),
            (format!("client_secret={secret}&grant_type=client_credentials"), 401, ""),
        ] {
            table.push(wrong(Method::POST, &format!("{path}?{query}"), (), status, names));
        }
    }
    stage.check(&client, &table, judge).await;
}

#[tokio::test]
async fn a_question_that_cannot_be_read_is_put_to_nobody() {
    let stage = Stage::set("oauth-bad-page").await;
    let client = stage.tenant.client.anonymous();
    let mut table = Vec::new();
    for path in AUTHORIZE {
        table.extend(any(path));
        table.push(wrong(Method::POST, path, (), 400, "client_id"));
        // The key of whoever consents has no place in a URL, nor has what goes with it.
        let asked = "client_id=aaaaaaaaaaaaaaaa&redirect_uri=https://a.example/";
        table.push(wrong(Method::POST, &format!("{path}?{asked}"), (), 400, "client_id: is required"));
        for (query, names) in [
            ("", "client_id"),
            ("client_id=aaaaaaaaaaaaaaaa", "redirect_uri"),
            (asked, "client_id"),
            ("client_id=a&client_id=b", "client_id"),
            ("client_id=%00&redirect_uri=%ff", "client_id"),
            ("client_id=%3Cscript%3E&redirect_uri=%3Cscript%3E", "client_id"),
        ] {
            table.push(wrong(Method::GET, &format!("{path}?{query}"), (), 400, names));
        }
    }
    stage.check(&client, &table, judge_page).await;
}

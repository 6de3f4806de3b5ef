//! A place to receive webhooks and look at them, so that the first delivery needs no other service.
//!
//! `POST /inspect/{bin}` takes anything; `GET /inspect/{bin}` shows what came, newest first. It is kept in
//! memory, and not much of it.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::http::json as answer;

/// Bins, and requests of each, at most; the oldest give way.
const BINS: usize = 100;
const REQUESTS: usize = 50;
/// What is kept of a body.
const BODY: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Inspector {
    bins: Mutex<Bins>,
}

#[derive(Default)]
struct Bins {
    requests: HashMap<String, VecDeque<Value>>,
    by_age: VecDeque<String>,
}

impl Inspector {
    pub(crate) fn answer(&self, path: &str, parts: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
        let bin = path.split('/').next().unwrap_or_default();
        if bin.is_empty() || bin.len() > 64 {
            return answer(
                StatusCode::NOT_FOUND,
                &json!({ "message": "a bin's name has 1 to 64 characters" }),
            );
        }
        if parts.method == Method::GET {
            let data = self.shown(bin);
            let wants_page = parts.headers.get("accept").and_then(|v| v.to_str().ok());
            return if wants_page.is_some_and(|accept| accept.contains("text/html")) {
                page(bin, &data)
            } else {
                answer(StatusCode::OK, &json!({ "data": data }))
            };
        }
        self.keep(bin, parts, body);
        answer(StatusCode::OK, &json!({ "received": true }))
    }

    fn shown(&self, bin: &str) -> Vec<Value> {
        let bins = self.bins.lock().unwrap_or_else(PoisonError::into_inner);
        bins.requests.get(bin).map(|requests| requests.iter().cloned().collect()).unwrap_or_default()
    }

    fn keep(&self, bin: &str, parts: &Parts, body: &[u8]) {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers: serde_json::Map<String, Value> =
            parts.headers.iter().map(|(name, value)| (name.to_string(), json!(text(value)))).collect();
        let request = json!({
            "at": Timestamp::now(),
            "method": parts.method.as_str(),
            "path": parts.uri.path(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body[..body.len().min(BODY)]),
        });
        let mut bins = self.bins.lock().unwrap_or_else(PoisonError::into_inner);
        if !bins.requests.contains_key(bin) {
            bins.by_age.push_back(bin.to_owned());
            if bins.by_age.len() > BINS
                && let Some(oldest) = bins.by_age.pop_front()
            {
                bins.requests.remove(&oldest);
            }
        }
        let requests = bins.requests.entry(bin.to_owned()).or_default();
        requests.push_front(request);
        requests.truncate(REQUESTS);
    }
}

fn page(bin: &str, data: &[Value]) -> Response<Full<Bytes>> {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{bin}</title><style>body{{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         pre{{background:#8881;padding:1rem;overflow:auto}}:root{{color-scheme:light dark}}</style>\
         <h1>{bin}</h1><p>{count} received, newest first.</p>",
        bin = escape(bin),
        count = data.len(),
    );
    for request in data {
        let shown = serde_json::to_string_pretty(request).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(html, "<pre>{}</pre>", escape(&shown));
    }
    let mut response = Response::new(Full::from(html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    headers.insert("content-security-policy", policy);
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

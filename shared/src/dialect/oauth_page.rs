//! The pages that people see on the way to a token. They run no script, load nothing, and stand in no frame.

use std::{fmt::Write, sync::LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use html_escape::encode_safe;
use http::{
    HeaderValue, StatusCode,
    header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};

use super::{
    Response,
    oauth_params::{DECISION, KEY, Parameters},
};
use crate::{
    model::Scope,
    oauth::{Again, Question, Terms, Word},
};

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem}\
input,button{font:inherit;padding:.4rem .8rem}input{width:100%;box-sizing:border-box;margin:.3rem 0 1rem}\
.wrong{color:#a00}code{overflow-wrap:anywhere}";

/// `form-action` is left out: browsers hold the redirect that follows to it as well.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()).as_ref());
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'");
    HeaderValue::from_str(&policy).ok()
});

/// The parameters that the form carries on.
const CARRIED: [&str; 7] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// The question, with a form that answers it at `action`.
pub(super) fn question(
    action: &str,
    parameters: &Parameters,
    question: &Question,
    terms: &Terms,
) -> Response {
    let (status, problem) = match question.again {
        None => (StatusCode::OK, None),
        Some(Again::WrongKey) => (StatusCode::UNAUTHORIZED, Some("That key is missing, wrong or expired.")),
        Some(Again::NoTenant) => {
            (StatusCode::FORBIDDEN, Some("That key is the operator's, not an account's."))
        }
        Some(Again::TooLittle) => (StatusCode::FORBIDDEN, Some("That key may do less than is asked here.")),
    };
    let mut body = String::new();
    let (name, client) = (encode_safe(&question.name), question.client.as_str());
    // Writing to a String cannot fail, here and below.
    let _ = write!(body, "<p><strong>{name}</strong> (client <code>{client}</code>) asks to:</p><ul>");
    for word in question.wish.words() {
        let _ = write!(body, "<li>{} (<code>{}</code>)</li>", meaning(word, terms), encode_safe(word.name));
    }
    // What is written there was compared with what the client's key was made with.
    let place = encode_safe(parameters.get("redirect_uri").unwrap_or_default());
    let _ = write!(body, "</ul><p>The answer goes to <code>{place}</code>.</p>");
    if let Some(problem) = problem {
        let _ = write!(body, "<p class=\"wrong\" role=\"alert\">{problem}</p>");
    }
    let _ = write!(body, "<form method=\"post\" action=\"{}\">", encode_safe(action));
    for name in CARRIED {
        if let Some(value) = parameters.get(name) {
            let _ = write!(body, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", encode_safe(value));
        }
    }
    let _ = write!(
        body,
        "<label for=\"key\">An API key of your account</label>\
         <input id=\"key\" type=\"password\" name=\"{KEY}\" autocomplete=\"off\">\
         <button name=\"{DECISION}\" value=\"allow\">Allow</button> \
         <button name=\"{DECISION}\" value=\"deny\">Deny</button></form>"
    );
    page(status, "Allow access?", &body)
}

/// What a word opens, for people.
fn meaning(word: &Word, terms: &Terms) -> &'static str {
    match word.opens {
        [] if terms.refreshed_with == Some(word.name) => "go on with that while you are away",
        [Scope::Read] => "see your webhooks and their deliveries",
        [Scope::Write] => "change your webhooks",
        [_, ..] => "see and change your webhooks",
        [] => "do what has nothing to do with webhooks; it opens nothing here",
    }
}

/// The code, to be copied into the client.
pub(super) fn code(code: &str) -> Response {
    let body =
        format!("<p>Copy this code to where you came from:</p><p><code>{}</code></p>", encode_safe(code));
    page(StatusCode::OK, "Access allowed", &body)
}

/// What went wrong, where no client can be told.
pub(super) fn failure(status: StatusCode, message: &str) -> Response {
    page(status, "This did not work", &format!("<p>{}</p>", encode_safe(message)))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>"
    );
    let mut response = Response::new(html.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(policy) = &*POLICY {
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

//! Access tokens by client credentials (RFC 6749, 4.4): what a token endpoint is asked, and what its answer means.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use crate::{
    authentication::{bearer, header},
    error::Error,
    model::{AuthStyle, Reply, Secret, TokenSource},
    ports::Outgoing,
};

/// A token without `expires_in` may end at any time; until the next 401 it is taken to last so long.
const UNTOLD: u64 = 300;
/// The longest that a token is kept, whatever it says of itself.
const LONGEST: u64 = 24 * 3600;
/// The longest token that is sent: a header of it.
const MAX_TOKEN: usize = 8 * 1024;
/// What may be told of a refusal: the words of RFC 6749, 5.2, which say nothing of the client.
const REFUSALS: [&str; 6] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// A token that was got.
#[derive(Debug, Clone)]
pub struct Token {
    /// The whole of `Authorization`.
    pub authorization: HeaderValue,
    /// How long it is to be used: a little less than it lasts.
    pub lasts: Duration,
}

/// The request for a token.
pub fn request(
    source: &TokenSource,
    timeout: Duration,
    connect_timeout: Duration,
) -> Result<Outgoing, Error> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", &source.scope), ("audience", &source.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    match source.style {
        AuthStyle::Basic => {
            // Each half is written as in a form before they are put together (RFC 6749, 2.3.1).
            let half = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let secret = Zeroizing::new(half(source.client_secret.reveal()));
            let pair = Zeroizing::new(format!("{}:{}", half(&source.client_id), *secret));
            let basic = Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            headers.insert(AUTHORIZATION, header(&basic)?);
        }
        AuthStyle::Body => {
            form.append_pair("client_id", &source.client_id);
            form.append_pair("client_secret", source.client_secret.reveal());
        }
    }
    let (url, body) = (source.url.shared(), Bytes::from(form.finish()));
    Ok(Outgoing { url, headers, body, timeout, connect_timeout, token: None, certificate: None })
}

/// Reads an answer; in words what is wrong with it, of which nothing is what the endpoint said, for that may be secret.
pub fn read(reply: &Reply) -> Result<Token, String> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        #[serde(default)]
        token_type: Option<String>,
        #[serde(default)]
        expires_in: Option<Seconds>,
    }
    #[derive(Deserialize)]
    struct Refused {
        error: String,
    }
    if reply.status != 200 {
        let refused = serde_json::from_str::<Refused>(&reply.body).ok();
        let word = refused.and_then(|refused| REFUSALS.into_iter().find(|word| *word == refused.error));
        let word = word.map(|word| format!(": {word}")).unwrap_or_default();
        return Err(format!("the token endpoint answered {}{word}", reply.status));
    }
    if reply.truncated {
        return Err("the token endpoint's answer is longer than 16 KiB".into());
    }
    let granted: Granted = serde_json::from_str(&reply.body)
        .map_err(|_| "the token endpoint's answer is not as RFC 6749 has it".to_owned())?;
    // It is case insensitive (RFC 6749, 5.1), and some leave it out.
    if granted.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token endpoint's token is not a bearer token".into());
    }
    let token = Zeroizing::new(granted.access_token);
    if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the token endpoint's token cannot be sent".into());
    }
    let authorization = header(&bearer(&token)).map_err(|error| error.to_string())?;
    let told = granted.expires_in.map_or(UNTOLD, |Seconds(told)| told.min(LONGEST));
    // A tenth of it, at most half a minute, for what the way takes, and for clocks that differ.
    Ok(Token { authorization, lasts: Duration::from_secs(told - (told / 10).min(30)) })
}

/// A number of seconds; some endpoints write it as a text, or with a fraction.
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Whole(u64),
            Fraction(f64),
            Text(String),
        }
        let told = match Written::deserialize(source)? {
            Written::Whole(told) => Some(told),
            Written::Fraction(told) => Duration::try_from_secs_f64(told).ok().map(|told| told.as_secs()),
            Written::Text(told) => told.trim().parse().ok(),
        };
        // What cannot be read is as good as not told.
        Ok(Self(told.unwrap_or(UNTOLD)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeptHeaders, TargetUrl};

    fn source(style: AuthStyle) -> TokenSource {
        TokenSource {
            url: TargetUrl::parse("https://id.example/token?x=1", false).unwrap(),
            client_id: "shop:1".into(),
            client_secret: Secret::new("a b+%é"),
            scope: Some("hooks orders".into()),
            audience: Some("https://shop.example/".into()),
            style,
        }
    }

    fn asked(style: AuthStyle) -> (Option<String>, String) {
        let second = Duration::from_secs(1);
        let asked = request(&source(style), second, second).unwrap();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        assert_eq!(text(&asked.headers[CONTENT_TYPE]), "application/x-www-form-urlencoded");
        let authorization = asked.headers.get(AUTHORIZATION);
        assert!(authorization.is_none_or(HeaderValue::is_sensitive));
        (authorization.map(text), String::from_utf8(asked.body.to_vec()).unwrap())
    }

    #[test]
    fn a_client_proves_itself_in_a_header_or_in_the_body() {
        let form = "grant_type=client_credentials&scope=hooks+orders&audience=https%3A%2F%2Fshop.example%2F";
        let (header, body) = asked(AuthStyle::Basic);
        let pair = STANDARD.encode("shop%3A1:a+b%2B%25%C3%A9");
        assert_eq!((header.unwrap(), body.as_str()), (format!("Basic {pair}"), form));
        let (header, body) = asked(AuthStyle::Body);
        assert_eq!(header, None);
        assert_eq!(body, format!("{form}&client_id=shop%3A1&client_secret=a+b%2B%25%C3%A9"));
    }

    fn answer(status: u16, body: &str) -> Result<Token, String> {
        read(&Reply { status, body: body.into(), truncated: false, headers: KeptHeaders::default() })
    }

    #[test]
    fn a_token_is_used_for_a_little_less_than_it_lasts() {
        for (told, lasts) in [
            (r#","token_type":"Bearer","expires_in":3600"#, 3570),
            (r#","token_type":"bearer","expires_in":60"#, 54),
            (r#","expires_in":"3600""#, 3570),
            (r#","expires_in":59.9"#, 54),
            (r#","expires_in":1"#, 1),
            (r#","expires_in":0"#, 0),
            (r#","expires_in":-5"#, 270),
            (r#","expires_in":null"#, 270),
            (r#","expires_in":1e300"#, 270),
            (r#","expires_in":18446744073709551615"#, 86_370),
            ("", 270),
        ] {
            let token = answer(200, &format!(r#"{{"access_token":"abc"{told}}}"#)).unwrap();
            assert_eq!(token.lasts.as_secs(), lasts, "{told}");
            assert_eq!(token.authorization, "Bearer abc");
            assert!(token.authorization.is_sensitive());
        }
    }

    #[test]
    fn nothing_that_an_endpoint_says_is_repeated_but_the_words_of_the_rfc() {
        for (status, body, says) in [
            (400, r#"{"error":"invalid_client","error_description":"hush"}"#, "answered 400: invalid_client"),
            (401, r#"{"error":"hush"}"#, "answered 401"),
            (500, "hush", "answered 500"),
            (302, "", "answered 302"),
            (200, "hush", "is not as RFC 6749 has it"),
            (200, r#"{"token":"hush"}"#, "is not as RFC 6749 has it"),
            (200, r#"{"access_token":"hush","token_type":"mac"}"#, "is not a bearer token"),
            (200, r#"{"access_token":""}"#, "cannot be sent"),
            (200, r#"{"access_token":"hush\r\nx: y"}"#, "cannot be sent"),
            (200, r#"{"access_token":"hush hush"}"#, "cannot be sent"),
        ] {
            let said = answer(status, body).unwrap_err();
            assert!(said.ends_with(says) && !said.contains("hush"), "{said}");
        }
        let long = Reply { status: 200, body: "{".into(), truncated: true, headers: KeptHeaders::default() };
        assert!(read(&long).unwrap_err().contains("16 KiB"));
    }
}

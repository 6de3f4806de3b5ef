//! Reading OAuth2's requests: parameters, wherever they stand, and who the client is.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Request, json::Fields};
use crate::{access, error::Error, model::Secret};

/// What is read; all else is let pass (RFC 6749, 3.1 and 3.2).
const NAMES: [&str; 15] = [
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "response_mode",
    "response_type",
    "scope",
    "state",
    KEY,
    DECISION,
];
/// The field of our own page for the key of whoever consents.
pub(super) const KEY: &str = "api_key";
/// The field of our own page for what he says.
pub(super) const DECISION: &str = "decision";
/// The longest value: some are sent back in a header.
const LONGEST: usize = 4096;

/// The parameters of a request.
pub(super) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// Those of the query string.
    pub(super) fn of_query(request: &Request) -> Result<Self, Error> {
        Self::form(request.uri().query().unwrap_or_default().as_bytes())
    }

    /// Those of the body, a form's or JSON's.
    pub(super) fn of_body(request: &Request) -> Result<Self, Error> {
        let body = request.body();
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if is_json(request.headers()) && first.is_some() || first == Some(&b'{') {
            return Self::json(Fields::parse(body)?);
        }
        Self::form(body)
    }

    /// Those of the body, or else of the query string: RFC 6749, 2.3.1 forbids that, and a client of Centry's does it.
    pub(super) fn of_either(request: &Request) -> Result<Self, Error> {
        let body = Self::of_body(request)?;
        if body.0.is_empty() { Self::of_query(request) } else { Ok(body) }
    }

    fn json(mut fields: Fields) -> Result<Self, Error> {
        let mut found = Self(Vec::new());
        for name in NAMES {
            match fields.value(name) {
                None => {}
                Some(Value::String(text)) => found.add(name, text)?,
                Some(_) => return Err(Error::invalid(name, "must be a string")),
            }
        }
        Ok(found)
    }

    fn form(text: &[u8]) -> Result<Self, Error> {
        let mut found = Self(Vec::new());
        for (name, value) in url::form_urlencoded::parse(text) {
            if let Some(name) = NAMES.into_iter().find(|known| *known == name) {
                found.add(name, value.into_owned())?;
            }
        }
        Ok(found)
    }

    /// RFC 6749, 3.1 and 3.2: each once at most, and one without a value is not there.
    fn add(&mut self, name: &'static str, value: String) -> Result<(), Error> {
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(Error::invalid(name, "is there twice"));
        }
        if value.len() > LONGEST {
            return Err(Error::invalid(name, "must be at most 4,096 bytes"));
        }
        self.0.push((name, value));
        Ok(())
    }

    /// One of them.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// One that must not be shown.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(Secret::new)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"))
}

/// The client's key: by HTTP Basic or among the parameters, but not both (RFC 6749, 2.3).
pub(super) fn client(request: &Request, parameters: &Parameters) -> Result<Option<Secret>, Error> {
    let named = parameters.get("client_id");
    let Some((id, secret)) = pair(request.headers()) else {
        let secret = parameters.get("client_secret");
        return Ok(named.zip(secret).map(|(id, secret)| access::whole(id, secret)));
    };
    if parameters.get("client_secret").is_some() {
        return Err(Error::invalid("client_secret", "must not be there beside the header Authorization"));
    }
    if named.is_some_and(|named| bare(named) != bare(&id)) {
        return Err(Error::invalid("client_id", "is not the one of the header Authorization"));
    }
    Ok(Some(access::whole(&id, &secret)))
}

/// A client's id without the prefix that its key has.
pub(super) fn bare(id: &str) -> &str {
    id.strip_prefix(access::PREFIX).unwrap_or(id)
}

fn encoded(headers: &HeaderMap) -> Option<&str> {
    let (scheme, pair) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| pair.trim())
}

/// RFC 6749, 2.3.1: both halves are encoded as in a form first.
fn pair(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let pair = Zeroizing::new(String::from_utf8(STANDARD.decode(encoded(headers)?).ok()?).ok()?);
    let (id, secret) = pair.split_once(':')?;
    Some((unescaped(id), Zeroizing::new(unescaped(secret))))
}

fn unescaped(text: &str) -> String {
    // A pair without a name is how the parser takes a lone value.
    let value = url::form_urlencoded::parse(text.as_bytes()).next().map(|(value, _)| value.into_owned());
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &'static str, kind: &'static str, query: &str) -> Request {
        let uri = format!("/oauth/token{query}");
        http::Request::post(uri).header("content-type", kind).body(body.into()).unwrap()
    }

    #[test]
    fn parameters_are_found_wherever_a_client_puts_them() {
        for request in [
            request("grant_type=a+b&state=%26", "application/x-www-form-urlencoded", ""),
            request(r#"{"grant_type": "a b", "state": "&"}"#, "application/json; charset=utf-8", ""),
            request(r#"{"grant_type": "a b", "state": "&"}"#, "text/plain", "?state=other"),
            request("", "application/json", "?grant_type=a%20b&state=%26"),
            request("{}", "application/json", "?grant_type=a%20b&state=%26&unknown=1&unknown=2"),
        ] {
            let found = Parameters::of_either(&request).unwrap();
            assert_eq!((found.get("grant_type"), found.get("state")), (Some("a b"), Some("&")));
            assert_eq!((found.get("scope"), found.get("unknown")), (None, None));
        }
        let empty = Parameters::of_either(&request("scope=", "", "")).unwrap();
        assert_eq!(empty.get("scope"), None);
    }

    #[test]
    fn what_cannot_be_read_is_said_by_name() {
        let long = format!("?state={}", "a".repeat(LONGEST + 1));
        for (request, named) in [
            (request("scope=a&scope=a", "", ""), "scope: "),
            (request("", "", "?code=a&code="), "code: "),
            (request(r#"{"code": 5}"#, "application/json", ""), "code: "),
            (request("", "", &long), "state: "),
            (request("[]", "application/json", ""), "must be a JSON object"),
            (request("{", "", ""), "not valid JSON"),
            (request("code=a", "application/json", ""), "not valid JSON"),
        ] {
            let error = Parameters::of_either(&request).err().unwrap().to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }

    #[test]
    fn a_client_shows_who_it_is_in_one_way() {
        const SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
        let key = Some(Secret::new(format!("prk_test0000000000ab_{SECRET}")));
        let found = |header: Option<&str>, body: String| {
            let mut request = Request::new(body.into());
            if let Some(pair) = header {
                let value = format!("basic {}", STANDARD.encode(pair)).parse().unwrap();
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            let parameters = Parameters::of_either(&request).unwrap();
            client(&request, &parameters).map_err(|error| error.to_string())
        };
        for id in ["test0000000000ab", "prk_test0000000000ab"] {
            assert_eq!(found(None, format!("client_id={id}&client_secret={SECRET}")), Ok(key.clone()));
            assert_eq!(found(Some(&format!("{id}:{SECRET}")), String::new()), Ok(key.clone()));
            assert_eq!(found(Some(&format!("{id}:{SECRET}")), format!("client_id={id}")), Ok(key.clone()));
        }
        assert_eq!(found(Some(&format!("%74est0000000000ab:{SECRET}")), String::new()), Ok(key));
        for body in ["", "client_id=test0000000000ab", "client_secret=a"] {
            assert_eq!(found(None, body.into()), Ok(None), "{body}");
        }
        for body in ["client_id=other", "client_secret=a"] {
            assert!(found(Some("a:b"), body.into()).is_err(), "{body}");
        }
    }
}

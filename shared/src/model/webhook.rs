//! Webhooks: registered URLs and what goes to them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    Auth, BadId, ClientCertificate, Limits, OnFailure, OwnRules, SigningSecret, TenantId, TopicPattern,
    WebhookId,
};
use crate::{filter::Filter, guard};

/// The longest URL that is taken, in characters.
const MAX_URL: usize = 2048;

/// A URL that deliveries may go to. Its host is judged again at connect time, on the address dialled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetUrl {
    /// As the client wrote it: that is what its API shows back.
    written: Arc<str>,
    parsed: Arc<Url>,
}

impl TargetUrl {
    /// Parses and judges a URL; `allow_private` takes addresses that only local work may reach.
    pub fn parse(text: &str, allow_private: bool) -> Result<Self, BadId> {
        if text.chars().count() > MAX_URL {
            return Err(BadId("must be at most 2,048 characters long"));
        }
        let url = Url::parse(text).map_err(|_| BadId("must be an absolute http or https URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadId("must be an absolute http or https URL"));
        }
        // The parser forgets a user name and password that are empty.
        let authority = text.split(['/', '\\']).find(|part| !part.is_empty() && !part.ends_with(':'));
        if url.has_authority() && authority.is_some_and(|authority| authority.contains('@')) {
            return Err(BadId("must not carry a user name or a password"));
        }
        if url.fragment().is_some() {
            return Err(BadId("must not have a fragment"));
        }
        // The URL parser drops tabs and line feeds, as browsers do; a registration with them is a mistake.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(BadId("must not contain spaces or control characters"));
        }
        if !allow_private && guard::host_is_private(&url) {
            return Err(BadId("must not point at a private, local or otherwise special address"));
        }
        Ok(Self { written: text.into(), parsed: Arc::new(url) })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// In visible ASCII, as a header can carry it.
    pub fn as_header(&self) -> &str {
        if self.written.bytes().all(|b| b.is_ascii_graphic()) { &self.written } else { self.parsed.as_str() }
    }

    /// As it is dialled.
    pub fn shared(&self) -> Arc<Url> {
        self.parsed.clone()
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl TryFrom<String> for TargetUrl {
    type Error = BadId;
    /// Reads back what a store kept; it was judged when it was registered, and is again when it is dialled.
    fn try_from(text: String) -> Result<Self, BadId> {
        Self::parse(&text, true)
    }
}

impl From<TargetUrl> for String {
    fn from(url: TargetUrl) -> String {
        url.written.as_ref().to_owned()
    }
}

/// A header that its owner wants on every delivery.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name, lower case.
    pub name: String,
    /// Its value: visible ASCII, spaces and tabs.
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [set]", self.name)
    }
}

/// Headers that a webhook may not set: they frame the message, or are ours to say (RFC 9110, RFC 9112).
const RESERVED: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "proxy-authorization",
];

impl Header {
    /// Judges a header: no line break can be smuggled in, and none of ours is overridden.
    pub fn new(name: &str, value: &str) -> Result<Self, BadId> {
        let name = http::HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| BadId("a header name must be an HTTP token"))?;
        if name.as_str().len() > 256 || value.len() > 4096 {
            return Err(BadId("a header must be at most 256 + 4,096 characters long"));
        }
        if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("webhook-") {
            return Err(BadId("this header is not free to set"));
        }
        if !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            return Err(BadId("a header value must be visible ASCII"));
        }
        Ok(Self { name: name.as_str().to_owned(), value: value.to_owned() })
    }
}

/// In what form a message's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// As JSON.
    #[default]
    Json,
    /// As XML, where a dialect offers it.
    Xml,
}

/// What a dialect keeps of a webhook that nobody else understands.
pub type Attributes = BTreeMap<String, serde_json::Value>;

/// Whether a webhook gets deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// It does.
    Active,
    /// Its owner stopped it for now: its deliveries are parked.
    Paused,
    /// We stopped it: its deliveries are parked.
    Disabled {
        /// Why, for its owner to read.
        reason: String,
    },
    /// Its receiver fetches them: its deliveries are parked until it has. For good: it has no URL.
    Polled,
}

/// What came of the deliveries to a webhook, for dialects that show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Events that its receiver has answered, whatever it said.
    pub sent: u64,
    /// When an attempt last failed.
    pub failed_at: Option<Timestamp>,
}

/// A registered URL with its topics, dialect, headers, secrets and state. What stores seal is not in its JSON:
/// [`seal_webhook`](crate::sealing::SealingKey::seal_webhook) writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its name.
    pub id: WebhookId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its number within the tenant, for dialects whose ids are integers.
    pub number: u64,
    /// The dialect that it was registered in, and in whose shape its messages are.
    pub dialect: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where deliveries go; none: nowhere, for it is polled.
    pub url: Option<TargetUrl>,
    /// What it subscribes to.
    pub topics: Vec<TopicPattern>,
    /// Which of their events it gets; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// In what form its messages are written.
    #[serde(default)]
    pub format: Format,
    /// What its dialect keeps of it for itself, by the dialect's own names. Sealed, for headers may be among it.
    #[serde(skip)]
    pub attributes: Attributes,
    /// Headers on every delivery. Sealed, for they may be secrets.
    #[serde(skip)]
    pub headers: Vec<Header>,
    /// How much may go to it.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// What its owner says of its delivery.
    #[serde(default, skip_serializing_if = "OwnRules::is_empty")]
    pub rules: OwnRules,
    /// What its deliveries have in `Authorization`; none: what its dialect puts there. Sealed.
    #[serde(skip)]
    pub auth: Option<Auth>,
    /// What its receiver may ask for in the TLS handshake. Sealed.
    #[serde(skip)]
    pub certificate: Option<ClientCertificate>,
    /// Whether events with an ordering key come to it one after the other, and what becomes of the others when one
    /// fails. For good: what was accepted stands in its line already, or does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<OnFailure>,
    /// Whether it gets deliveries.
    #[serde(flatten)]
    pub state: State,
    /// What signs its deliveries by HMAC: the current secret first, then the one that retires. Sealed.
    #[serde(skip)]
    pub secrets: Vec<SigningSecret>,
    /// What signs them by Ed25519, in the same order. Sealed.
    #[serde(skip)]
    pub key_pairs: Vec<SigningSecret>,
    /// What came of its deliveries, where its dialect shows it. Kept apart, for it changes with each of them.
    #[serde(skip)]
    pub tally: Tally,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Webhook {
    /// Its URL as it was written; of one that is polled, nothing.
    pub fn address(&self) -> &str {
        self.url.as_ref().map_or("", TargetUrl::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_judged_when_registered() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        let bad = [
            "",
            "example.com",
            "ftp://example.com/",
            "https://u@example.com/",
            "https://u:p@example.com/",
            "https://example.com/#x",
            "https://exa mple.com/",
            "https://example.com/a\r\nb",
            "http://",
            &long,
            "http://127.0.0.1/",
            "http://localhost/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://a.localhost./",
        ];
        for url in bad {
            assert!(TargetUrl::parse(url, false).is_err(), "{url}");
        }
        for url in ["https://example.com/hook?x=1", "http://93.184.216.34:8080/", "https://例え.jp/"] {
            assert_eq!(TargetUrl::parse(url, false).unwrap().as_str(), url);
        }
        assert!(TargetUrl::parse("http://127.0.0.1:9/", true).is_ok());
    }

    #[test]
    fn headers_carry_no_line_break_and_override_nothing() {
        assert!(Header::new("X-Middleware-Id", "0f3c").is_ok());
        for (name, value) in
            [("a b", "x"), ("", "x"), ("x", "a\r\nb: c"), ("x", "é"), ("Host", "x"), ("Webhook-Id", "x")]
        {
            assert!(Header::new(name, value).is_err(), "{name}: {value}");
        }
    }
}

//! What a client was allowed (RFC 6749): a grant is a key's record whose secret is first a code, then one refresh
//! token after the other.

use std::{fmt, net::IpAddr, str::FromStr};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use url::{Host, Url};

use super::{BadId, KeyId};

/// The longest text of a redirect URI.
const LONGEST: usize = 2048;

/// Where a client's users are sent back to. It is compared as it is written, letter by letter (RFC 9700, 2.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

impl RedirectUri {
    /// For clients that cannot be sent anything: the code is shown, to be copied.
    pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

    /// The URI as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the code is to be shown, not sent.
    pub fn is_out_of_band(&self) -> bool {
        self.0 == Self::OUT_OF_BAND
    }
}

impl FromStr for RedirectUri {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        if text == Self::OUT_OF_BAND || is_safe(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadId(
            "must be an https URL (http: on this machine alone) without user and fragment, \
             or urn:ietf:wg:oauth:2.0:oob",
        ))
    }
}

/// Codes go through it in clear: over TLS, or not over a network at all (RFC 8252, 7.3). RFC 6749, 3.1.2: no
/// fragment.
fn is_safe(text: &str) -> bool {
    let Some(url) = Some(text)
        .filter(|text| text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'))
        .and_then(|text| Url::parse(text).ok())
    else {
        return false;
    };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    // `//` must be there: browsers would read a URL without, and so does the parser.
    let written = text.to_ascii_lowercase();
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    plain && (written.starts_with("https://") || (is_loopback && written.starts_with("http://")))
}

impl TryFrom<String> for RedirectUri {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody allowed a client. The record's own `session_of` is the key that allowed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The client: the key whose halves are its id and its secret.
    pub client: KeyId,
    /// The dialect in which it was given, and in which alone it is exchanged.
    pub dialect: String,
    /// What was allowed, in the dialect's own words.
    pub scope: String,
    /// What its code is bound to; none: the code was redeemed, and the secret is a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The one access token that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<KeyId>,
}

/// What a code is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Where it was sent.
    pub redirect_uri: String,
    /// What its client must prove to know (RFC 7636).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
}

/// A code challenge (RFC 7636, 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Challenge {
    /// SHA-256 of the verifier, in base64url.
    S256(String),
    /// The verifier itself.
    Plain(String),
}

impl Challenge {
    /// Reads what a client sent; none: it is no challenge.
    pub fn read(challenge: &str, method: Option<&str>) -> Option<Self> {
        if !is_verifier(challenge) {
            return None;
        }
        match method {
            Some("S256") => Some(Self::S256(challenge.to_owned())),
            // RFC 7636, 4.3: the default.
            Some("plain") | None => Some(Self::Plain(challenge.to_owned())),
            Some(_) => None,
        }
    }

    /// Whether `verifier` is what was promised (RFC 7636, 4.6).
    pub fn is_met_by(&self, verifier: &str) -> bool {
        let is = |a: &str, b: &str| a.as_bytes().ct_eq(b.as_bytes()).into();
        is_verifier(verifier)
            && match self {
                Self::S256(hash) => {
                    is(hash, &URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref()))
                }
                Self::Plain(same) => is(same, verifier),
            }
    }
}

/// RFC 7636, 4.1 and 4.2: 43 to 128 unreserved characters, of a verifier and a challenge alike.
fn is_verifier(text: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sent_over_tls_or_not_over_a_network() {
        for good in [
            "https://app.example/callback?a=b",
            "https://app.example:8443/",
            "http://localhost:3000/cb",
            "http://127.0.0.1/",
            "http://[::1]:9/cb",
            RedirectUri::OUT_OF_BAND,
        ] {
            assert_eq!(good.parse::<RedirectUri>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/callback",
            "http://app.example/",
            "http://localhost.example/",
            "https://app.example/#part",
            "https://app.example/#",
            "https://user@app.example/",
            "https://app.example/a b",
            "https://app.example/\r\nx: y",
            "https:app.example",
            "https:\\\\app.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "app://callback",
            "urn:ietf:wg:oauth:2.0:oob:auto",
            &format!("https://app.example/{}", "a".repeat(LONGEST)),
        ] {
            assert!(bad.parse::<RedirectUri>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_specifications_verifier_meets_its_challenge() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let hashed = Challenge::read(challenge, Some("S256")).unwrap();
        assert!(hashed.is_met_by(verifier));
        assert!(!hashed.is_met_by(challenge));
        for method in [None, Some("plain")] {
            let plain = Challenge::read(verifier, method).unwrap();
            assert!(plain.is_met_by(verifier) && !plain.is_met_by(challenge));
        }
        assert_eq!(Challenge::read(challenge, Some("S512")), None);
        assert_eq!(Challenge::read("short", None), None);
        assert_eq!(Challenge::read(&"a".repeat(129), None), None);
    }
}

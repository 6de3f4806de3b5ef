//! Headers as a record keeps them: enough to explain an attempt, and nothing that would let somebody repeat it.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

/// Bytes of names and values at most.
const MAX_BYTES: usize = 8 * 1024;
/// Headers at most.
const MAX_HEADERS: usize = 40;
/// Bytes of one value at most.
const MAX_VALUE: usize = 1024;
/// What stands for those that are not kept.
const MORE: &str = "…";
/// What stands for a value that is not shown.
const HIDDEN: &str = "[hidden]";

/// What a header's name has in it whose value may be a secret, or a signature.
const SECRET: [&str; 11] = [
    "auth",
    "cookie",
    "credential",
    "hmac",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
    "csrf",
];
/// Challenges: they have `auth` in their names, are no secrets, and explain a 401 (RFC 9110, 11.6.1 and 11.7.1).
const CHALLENGES: [&str; 2] = ["www-authenticate", "proxy-authenticate"];

/// Headers by name; several of one name as one, as RFC 9110, 5.3 allows. Values that may be secrets are hidden.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeptHeaders(BTreeMap<String, String>);

impl KeptHeaders {
    /// What is kept of a message's headers. Hidden are values that are marked as sensitive, which all are that a
    /// webhook's owner set, and those of names that tell of a secret.
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut kept, mut bytes) = (BTreeMap::<String, String>::new(), 0);
        for (seen, (name, value)) in headers.iter().enumerate() {
            let name = name.as_str();
            let is_secret = SECRET.iter().any(|word| name.contains(word)) && !CHALLENGES.contains(&name);
            let text = match value.as_bytes() {
                _ if is_secret || value.is_sensitive() => HIDDEN.into(),
                bytes => String::from_utf8_lossy(bytes),
            };
            let shown = &text[..text.floor_char_boundary(MAX_VALUE)];
            bytes += name.len() + shown.len();
            if bytes > MAX_BYTES || seen == MAX_HEADERS {
                kept.insert(MORE.into(), format!("{} more", headers.len() - seen));
                break;
            }
            let cut = if shown.len() < text.len() { MORE } else { "" };
            let all = kept.entry(name.to_owned()).or_default();
            *all += if all.is_empty() { "" } else { ", " };
            *all += shown;
            *all += cut;
        }
        Self(kept)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Leaves nothing but how many there were.
    pub(super) fn give_way(&mut self) {
        if !self.0.is_empty() {
            let told = format!("{} more", self.0.len());
            self.0 = [(MORE.to_owned(), told)].into();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use http::{HeaderName, HeaderValue};

    fn kept(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        KeptHeaders::of(&map).iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_may_be_a_secret_is_not_kept() {
        for name in [
            "Authorization",
            "Proxy-Authorization",
            "Set-Cookie",
            "Cookie",
            "X-Api-Key",
            "X-Auth-Token",
            "webhook-signature",
            "X-Sapo-Hmac-Sha256",
            "Authentication-Info",
            "X-CSRF-Token",
        ] {
            assert_eq!(kept(&[(name, "hush")]), [(name.to_lowercase(), "[hidden]".to_owned())]);
        }
        for name in ["www-authenticate", "server", "retry-after", "content-type", "x-request-id"] {
            assert_eq!(kept(&[(name, "a b")]), [(name.to_owned(), "a b".to_owned())]);
        }
        let mut own = HeaderValue::from_static("shop 7");
        own.set_sensitive(true);
        let own = KeptHeaders::of(&[(HeaderName::from_static("x-shop"), own)].into_iter().collect());
        assert_eq!(own.iter().collect::<Vec<_>>(), [("x-shop", "[hidden]")]);
    }

    #[test]
    fn several_of_one_name_are_kept_as_one() {
        assert_eq!(kept(&[("via", "a"), ("via", "b")]), [("via".to_owned(), "a, b".to_owned())]);
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let long = "é".repeat(5000);
        let one = kept(&[("x", &long)]);
        assert!(one[0].1.len() <= MAX_VALUE + MORE.len() && one[0].1.ends_with("é…"));
        let many: Vec<_> = (0..100).map(|n| format!("x-{n}")).collect();
        let some = kept(&many.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>());
        assert_eq!((some.len(), &some[40]), (41, &("…".to_owned(), "60 more".to_owned())));
        let all = kept(&many.iter().map(|name| (name.as_str(), long.as_str())).collect::<Vec<_>>());
        assert!(all.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() < MAX_BYTES + 100);
    }

    proptest! {
        // Each is some 40 KB.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn whatever_comes_is_kept_within_bounds_and_reads_back(
            headers in prop::collection::vec(("[a-zA-Z-]{1,60}", "[ -~é]{0,1500}"), 0..50),
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                    map.append(name.parse::<HeaderName>().unwrap(), value);
                }
            }
            let kept = KeptHeaders::of(&map);
            let bytes: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
            // Beside the values there are commas, and marks where one is cut.
            prop_assert!(kept.0.len() <= MAX_HEADERS + 1 && bytes <= MAX_BYTES + 10 * MAX_HEADERS, "{}", bytes);
            let read: KeptHeaders = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
            prop_assert_eq!(read, kept);
        }
    }
}

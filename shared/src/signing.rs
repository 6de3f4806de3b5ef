//! Signatures by the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, Signature},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::{
    error::Error,
    model::{EventId, Secret, SigningSecret},
};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Adds the three headers. Every secret and key pair that has not retired signs, so that a receiver may change over
/// in its own time; without one there is no signature, but the id is there for its idempotency.
pub fn sign<'a>(
    headers: &mut HeaderMap,
    id: &EventId,
    now: Timestamp,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a SigningSecret>,
) -> Result<(), Error> {
    let mut signatures = String::new();
    for secret in secrets.into_iter().filter(|secret| secret.signs_at(now)) {
        let written = secret.key.reveal();
        let before = if signatures.is_empty() { "" } else { " " };
        if let Some(key) = written.strip_prefix("whsec_") {
            signatures.extend([before, "v1,"]);
            STANDARD.encode_string(symmetric(key, id, now, body)?, &mut signatures);
        } else if let Some(seed) = written.strip_prefix("whsk_") {
            signatures.extend([before, "v1a,"]);
            STANDARD.encode_string(asymmetric(seed, id, now, body)?, &mut signatures);
        }
    }
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| Error::Internal("a header that cannot be sent".into()))
    };
    headers.insert(ID, value(id.as_str())?);
    headers.insert(TIMESTAMP, HeaderValue::from(now.as_second()));
    if !signatures.is_empty() {
        headers.insert(SIGNATURE, value(&signatures)?);
    }
    Ok(())
}

/// HMAC-SHA256 of a body in base64, as most webhook APIs sign.
pub fn hmac_base64(key: &Secret, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes());
    STANDARD.encode(hmac::sign(&key, body))
}

/// HMAC-SHA256 over the id, the time and the body, with a point between each two.
fn symmetric(key: &str, id: &EventId, now: Timestamp, body: &[u8]) -> Result<hmac::Tag, Error> {
    let key = STANDARD.decode(key).map(Zeroizing::new).unwrap_or_default();
    if key.is_empty() {
        return Err(malformed());
    }
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    for part in [id.as_str().as_bytes(), b".", now.as_second().to_string().as_bytes(), b".", body] {
        context.update(part);
    }
    Ok(context.sign())
}

/// Ed25519 (RFC 8032) over the same; it needs all of it in one piece.
fn asymmetric(seed: &str, id: &EventId, now: Timestamp, body: &[u8]) -> Result<Signature, Error> {
    let seed = STANDARD.decode(seed).map(Zeroizing::new).unwrap_or_default();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| malformed())?;
    let head = format!("{}.{}.", id.as_str(), now.as_second());
    Ok(pair.sign(&[head.as_bytes(), body].concat()))
}

fn malformed() -> Error {
    Error::Internal("a signing secret is not in the specification's form".into())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use proptest::prelude::*;

    use super::*;
    use crate::model::Secret;

    #[test]
    fn the_specifications_example_is_met() {
        let key = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap();
        let retired = SigningSecret { key: key.clone(), retires_at: Some(now) };
        let current = SigningSecret { key, retires_at: None };
        let mut headers = HeaderMap::new();
        sign(&mut headers, &id, now, br#"{"test": 2432232314}"#, [&current, &retired]).unwrap();
        assert_eq!(headers[SIGNATURE], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers[TIMESTAMP], "1614265330");
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the specification's library tells the time by the real clock"
    )]
    fn the_specifications_own_library_agrees() {
        let secret = SigningSecret::generate(&[7; 32]);
        let verifier = standardwebhooks::Webhook::new(secret.key.reveal()).unwrap();
        for body in ["", "{}", "{\"name\":\"Trà Đá\"}", &"x".repeat(300_000)] {
            let mut headers = HeaderMap::new();
            let now = Timestamp::try_from(std::time::SystemTime::now()).unwrap();
            sign(&mut headers, &"e-1".parse().unwrap(), now, body.as_bytes(), [&secret]).unwrap();
            verifier.verify(body.as_bytes(), &headers).unwrap();
            assert!(verifier.verify(b"another", &headers).is_err());
        }
    }

    #[test]
    fn a_secret_that_is_not_one_signs_nothing() {
        for bad in ["whsec_", "whsec_!", "whsk_", "whsk_!", "whsk_AAAA"] {
            let secret = SigningSecret { key: Secret::new(bad), retires_at: None };
            let id = "e-1".parse().unwrap();
            let signed = sign(&mut HeaderMap::new(), &id, Timestamp::UNIX_EPOCH, b"{}", [&secret]);
            assert!(signed.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn while_secrets_overlap_both_sign() {
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let old = SigningSecret {
            retires_at: Some("2999-01-01T00:00:00Z".parse().unwrap()),
            ..SigningSecret::generate(&[1; 24])
        };
        let mut headers = HeaderMap::new();
        sign(&mut headers, &"e".parse().unwrap(), now, b"{}", [&SigningSecret::generate(&[2; 24]), &old])
            .unwrap();
        assert_eq!(headers[SIGNATURE].to_str().unwrap().split(' ').count(), 2);
    }

    #[test]
    fn key_pairs_sign_what_secrets_sign() {
        let (secret, pair) = (SigningSecret::generate(&[1; 24]), SigningSecret::generate_key_pair(&[7; 32]));
        let id = "e-1".parse().unwrap();
        let mut headers = HeaderMap::new();
        sign(&mut headers, &id, Timestamp::from_second(1_614_265_330).unwrap(), b"{}", [&secret, &pair])
            .unwrap();
        let (symmetric, asymmetric) = headers[SIGNATURE].to_str().unwrap().split_once(' ').unwrap();
        assert!(symmetric.starts_with("v1,"));
        let signature = STANDARD.decode(asymmetric.strip_prefix("v1a,").unwrap()).unwrap();
        let public = STANDARD.decode(&pair.public_key().unwrap().standard()["whpk_".len()..]).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, public);
        key.verify(b"e-1.1614265330.{}", &signature).unwrap();
        assert!(key.verify(b"e-1.1614265331.{}", &signature).is_err());
    }

    proptest! {
        #[test]
        fn a_secret_of_any_text_signs_what_the_specifications_library_would_or_nothing(
            text in prop_oneof!["\\PC*", "whsec_[A-Za-z0-9+/=]{0,60}"], body in "\\PC*",
        ) {
            let secret = SigningSecret { key: Secret::new(text.clone()), retires_at: None };
            let (now, mut headers) = (Timestamp::from_second(1_614_265_330).unwrap(), HeaderMap::new());
            let id = "e-1".parse().unwrap();
            match sign(&mut headers, &id, now, body.as_bytes(), [&secret]) {
                Ok(()) if secret.is_standard() => {
                    let own = standardwebhooks::Webhook::new(&text).unwrap();
                    prop_assert_eq!(&headers[SIGNATURE], &own.sign("e-1", now.as_second(), body.as_bytes()).unwrap());
                }
                Ok(()) => prop_assert!(!headers.contains_key(SIGNATURE)),
                Err(error) => {
                    // What an error says is logged.
                    prop_assert!(!headers.contains_key(SIGNATURE));
                    let said = format!("{error:?}");
                    prop_assert!(text.len() < 8 || !said.contains(&text));
                }
            }
        }
    }
}

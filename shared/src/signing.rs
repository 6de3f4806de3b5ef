//! Signatures by the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::{
    error::Error,
    model::{EventId, SigningSecret},
};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Adds the three headers. Every secret that has not retired signs, so that a receiver may change over in its
/// own time; without a secret there is no signature, but the id is there for its idempotency.
pub fn sign(
    headers: &mut HeaderMap,
    id: &EventId,
    now: Timestamp,
    body: &[u8],
    secrets: &[SigningSecret],
) -> Result<(), Error> {
    let mut signatures = String::new();
    for secret in secrets.iter().filter(|secret| secret.signs_at(now)) {
        let signer = standardwebhooks::Webhook::new(secret.key.reveal())
            .map_err(|_| Error::Internal("a signing secret is not in the specification's form".into()))?;
        let signature = signer
            .sign(id.as_str(), now.as_second(), body)
            .map_err(|error| Error::Internal(format!("signing: {error}")))?;
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        signatures.push_str(&signature);
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

#[cfg(test)]
mod tests {
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
        sign(&mut headers, &id, now, br#"{"test": 2432232314}"#, &[current, retired]).unwrap();
        assert_eq!(headers[SIGNATURE], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers[TIMESTAMP], "1614265330");
    }

    #[test]
    fn while_secrets_overlap_both_sign() {
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let old = SigningSecret {
            retires_at: Some("2999-01-01T00:00:00Z".parse().unwrap()),
            ..SigningSecret::generate(&[1; 24])
        };
        let mut headers = HeaderMap::new();
        sign(&mut headers, &"e".parse().unwrap(), now, b"{}", &[SigningSecret::generate(&[2; 24]), old])
            .unwrap();
        assert_eq!(headers[SIGNATURE].to_str().unwrap().split(' ').count(), 2);
    }
}

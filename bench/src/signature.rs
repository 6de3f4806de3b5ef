//! Checks Standard Webhooks signatures, independently of the sender's code.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;

/// The key in a secret of the form `whsec_<base64>`.
pub(crate) fn key(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.strip_prefix("whsec_")?).ok()
}

/// Standard Webhooks v1 (`webhook-*` headers, or the older `svix-*` names). The timestamp is not held
/// against the clock: a late delivery is measured, not refused.
pub(crate) fn good(key: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let get = |name: &str| {
        ["webhook-", "svix-"].iter().find_map(|p| headers.get(format!("{p}{name}"))?.to_str().ok())
    };
    let (Some(id), Some(timestamp), Some(signatures)) = (get("id"), get("timestamp"), get("signature"))
    else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let want = STANDARD.encode(mac.finalize().into_bytes());
    signatures.split(' ').any(|s| s.strip_prefix("v1,") == Some(&want))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_example() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap());
        headers.insert("webhook-timestamp", "1614265330".parse().unwrap());
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        headers.insert("webhook-signature", signature.parse().unwrap());
        assert!(good(&key, &headers, br#"{"test": 2432232314}"#));
        assert!(!good(&key, &headers, br#"{"test": 2432232315}"#));
    }
}

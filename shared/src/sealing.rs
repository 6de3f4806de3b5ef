//! Secrets at rest: sealed with AES-256-GCM under the engine's data key, bound to what they belong to.

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    model::{Credentials, Secret, Webhook},
};
use webhook::PlainWebhook;

mod webhook;

/// Bytes of a data key.
pub const KEY_LENGTH: usize = 32;

/// What seals and opens.
pub struct SealingKey(RandomizedNonceKey);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[sealing key]")
    }
}

impl SealingKey {
    /// Takes the data key.
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        RandomizedNonceKey::new(&AES_256_GCM, key)
            .map(Self)
            .map_err(|_| Error::Internal("a data key must be 32 bytes long".into()))
    }

    /// Seals what of a webhook is not in its JSON.
    pub fn seal_webhook(&self, webhook: &Webhook) -> Result<String, Error> {
        self.seal(&webhook.id.to_string(), &PlainWebhook::of(webhook))
    }

    /// Puts into a webhook what was sealed of it.
    pub fn open_webhook(&self, webhook: &mut Webhook, sealed: &str) -> Result<(), Error> {
        let plain = self.open(&webhook.id.to_string(), sealed)?;
        serde_json::from_slice::<PlainWebhook<'_>>(&plain).map_err(unreadable)?.put_into(webhook)
    }

    /// Seals what a tenant granted.
    pub fn seal_credentials(&self, tenant: &str, granted: &Credentials) -> Result<String, Error> {
        self.seal(
            tenant,
            &PlainCredentials { id: (&*granted.id).into(), secret: granted.secret.reveal().into() },
        )
    }

    /// Opens it.
    pub fn open_credentials(&self, tenant: &str, sealed: &str) -> Result<Credentials, Error> {
        let plain = self.open(tenant, sealed)?;
        let granted: PlainCredentials<'_> = serde_json::from_slice(&plain).map_err(unreadable)?;
        Ok(Credentials { id: granted.id.into_owned(), secret: Secret::new(granted.secret) })
    }

    fn seal(&self, owner: &str, plain: &impl Serialize) -> Result<String, Error> {
        let fault = |_| Error::Internal("sealing failed".into());
        let mut bytes = Zeroizing::new(serde_json::to_vec(plain).map_err(unreadable)?);
        let nonce = self.0.seal_in_place_append_tag(Aad::from(owner), &mut *bytes).map_err(fault)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&bytes);
        Ok(STANDARD_NO_PAD.encode(sealed))
    }

    fn open(&self, owner: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let fault = || Error::Internal("a sealed secret does not open".into());
        let mut bytes = Zeroizing::new(STANDARD_NO_PAD.decode(sealed).map_err(|_| fault())?);
        let (nonce, rest) = bytes.split_at_mut_checked(aws_lc_rs::aead::NONCE_LEN).ok_or_else(fault)?;
        let nonce = aws_lc_rs::aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| fault())?;
        let plain = self.0.open_in_place(nonce, Aad::from(owner), rest).map_err(|_| fault())?;
        Ok(Zeroizing::new(plain.to_vec()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for map_err")]
fn unreadable(error: serde_json::Error) -> Error {
    Error::Internal(format!("a secret's record: {error}"))
}

#[derive(Serialize, Deserialize)]
struct PlainCredentials<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    secret: std::borrow::Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_owner_only() {
        let key = SealingKey::new(&[7; KEY_LENGTH]).unwrap();
        let granted = Credentials { id: "ü\"".into(), secret: Secret::new("a\\b\"") };
        let sealed = key.seal_credentials("acme", &granted).unwrap();
        assert_eq!(key.open_credentials("acme", &sealed).unwrap(), granted);
        assert!(key.open_credentials("other", &sealed).is_err());
        assert!(SealingKey::new(&[8; KEY_LENGTH]).unwrap().open_credentials("acme", &sealed).is_err());
        assert_ne!(key.seal_credentials("acme", &granted).unwrap(), sealed, "a nonce is used once");
        for bad in ["", "AAAA", "!"] {
            assert!(key.open_credentials("acme", bad).is_err());
        }
    }
}

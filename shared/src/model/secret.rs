//! Secrets: they cannot print, they are wiped when dropped, and they are compared in constant time.

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A text that must not be shown. [`Secret::reveal`] is the one way to read it, so a search finds every use.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: only for the wire, for sealing, or for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// A signing secret: in a form of the Standard Webhooks specification, base64 after `whsec_` (HMAC) or `whsk_` (the
/// seed of an Ed25519 key pair), or of a dialect's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningSecret {
    /// What signs, in its written form.
    pub key: Secret,
    /// Until when it signs beside its successor; none: it is the current one.
    pub retires_at: Option<Timestamp>,
}

impl SigningSecret {
    /// A current secret of these random bytes (the specification asks for 24 to 64).
    pub fn generate(random: &[u8]) -> Self {
        Self { key: Secret::new(format!("whsec_{}", STANDARD.encode(random))), retires_at: None }
    }

    /// A current key pair of this random seed.
    pub fn generate_key_pair(seed: &[u8; 32]) -> Self {
        Self { key: Secret::new(format!("whsk_{}", STANDARD.encode(seed))), retires_at: None }
    }

    /// Whether it is the specification's form for HMAC: a dialect's own may be any text.
    pub fn is_standard(&self) -> bool {
        self.key.reveal().starts_with("whsec_")
    }

    /// What receivers verify a key pair's signatures with; none: it is not a key pair.
    pub fn public_key(&self) -> Option<PublicKey> {
        let seed = STANDARD.decode(self.key.reveal().strip_prefix("whsk_")?).map(Zeroizing::new).ok()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        pair.public_key().as_ref().try_into().map(PublicKey).ok()
    }

    /// Whether it signs until it is replaced.
    pub fn is_current(&self) -> bool {
        self.retires_at.is_none()
    }

    /// Whether it still signs at `now`.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.retires_at.is_none_or(|end| now < end)
    }
}

/// The public half of an Ed25519 key pair. Anybody may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// In the Standard Webhooks form: `whpk_` and base64.
    pub fn standard(&self) -> String {
        format!("whpk_{}", STANDARD.encode(self.0))
    }

    /// The point as a JSON Web Key has it: `x` (RFC 8037, 2).
    pub fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Its name as a JSON Web Key: the thumbprint (RFC 7638; RFC 8037, A.3).
    pub fn thumbprint(&self) -> String {
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x());
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }
}

/// What a tenant grants us so that its receivers can tell that it is us: HTTP Basic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub id: String,
    /// The password.
    pub secret: Secret,
}

impl Credentials {
    /// The value of `Authorization`.
    ///
    /// ```
    /// # use postrider::model::{Credentials, Secret};
    /// let granted = Credentials { id: "Aladdin".into(), secret: Secret::new("open sesame") };
    /// assert_eq!(granted.authorization().reveal(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    /// ```
    pub fn authorization(&self) -> Secret {
        let pair = Zeroizing::new(format!("{}:{}", self.id, self.secret.reveal()));
        Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }
}

/// How a key is stored: SHA-256 of it. A key has 160 random bits, so a slow hash would add nothing but time.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a presented or new key.
    pub fn of(key: &Secret) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key.reveal().as_bytes()).as_ref());
        Self(hash)
    }

    /// Read back from 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key hash]")
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let granted = Credentials { id: "me".into(), secret: Secret::new("hush") };
        assert!(!format!("{granted:?}").contains("hush"));
        assert!(!format!("{:?}", SigningSecret::generate(b"hush hush")).contains("whsec"));
    }

    /// RFC 8037, appendix A.
    #[test]
    fn the_rfcs_example_key_is_met() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let pair = SigningSecret::generate_key_pair(&seed.try_into().unwrap());
        let public = pair.public_key().unwrap();
        assert_eq!(public.x(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(public.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(public.standard(), "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        assert_eq!(SigningSecret::generate(&[7; 32]).public_key(), None);
    }

    #[test]
    fn the_credentials_of_the_seed_make_the_documented_header() {
        let granted = Credentials {
            id: "iyofim3eru0bkiwz".into(),
            secret: Secret::new("BuqicB1kwcy4Tl9dikqPB7FkPwdDh8fd"),
        };
        assert_eq!(
            granted.authorization().reveal(),
            "Basic aXlvZmltM2VydTBia2l3ejpCdXFpY0Ixa3djeTRUbDlkaWtxUEI3RmtQd2REaDhmZA=="
        );
    }

    #[test]
    fn a_hash_reads_back() {
        let hash = KeyHash::of(&Secret::new("abc"));
        assert!(hash.to_hex().starts_with("ba7816bf8f01cfea"));
        assert_eq!(KeyHash::from_hex(&hash.to_hex()), Some(hash));
        assert_eq!(KeyHash::from_hex("é"), None);
    }
}

//! Secrets: they cannot print, they are wiped when dropped, and they are compared in constant time.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
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

/// A signing secret: in the form of the Standard Webhooks specification, `whsec_` and base64, or of a dialect's own.
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

    /// Whether it is in the specification's form: a dialect's own may be any text.
    pub fn is_standard(&self) -> bool {
        self.key.reveal().starts_with("whsec_")
    }

    /// Whether it still signs at `now`.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.retires_at.is_none_or(|end| now < end)
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

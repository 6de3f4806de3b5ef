//! How deliveries prove to a receiver that they are ours, beside their signature: what its owner gave us for it.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{BadId, Credentials, Secret, TargetUrl};

/// What goes into `Authorization`, in the place of what a webhook's dialect would put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A token that does not change (RFC 6750).
    Bearer(Secret),
    /// A user name and a password (RFC 7617).
    Basic(Credentials),
    /// A token that is got when it is needed (RFC 6749, 4.4).
    ClientCredentials(Arc<TokenSource>),
}

/// Where a token is to be had, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSource {
    /// The token endpoint.
    pub url: TargetUrl,
    /// Who we are there.
    pub client_id: String,
    /// What proves it.
    pub client_secret: Secret,
    /// What the token is to open.
    pub scope: Option<String>,
    /// For whom it is to be, where the endpoint asks for that.
    pub audience: Option<String>,
    /// Where in the request the proof is.
    pub style: AuthStyle,
}

/// How a client proves itself to a token endpoint (RFC 6749, 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthStyle {
    /// By HTTP Basic, which every endpoint must take.
    #[default]
    Basic,
    /// In the body, for those that take nothing else.
    Body,
}

/// By what a webhook's deliveries are signed, as Standard Webhooks has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// By HMAC, with a secret that both sides know: `v1`.
    Hmac,
    /// By Ed25519, with a key that only we know: `v1a`.
    Ed25519,
    /// By each of them.
    Both,
}

impl Signature {
    /// Whether a secret signs.
    pub fn is_symmetric(self) -> bool {
        self != Self::Ed25519
    }

    /// Whether a key pair signs.
    pub fn is_asymmetric(self) -> bool {
        self != Self::Hmac
    }
}

/// The longest chain of certificates, and the longest key, in bytes of PEM.
const MAX_PEM: usize = 16 * 1024;

/// A certificate with its key, which a receiver may ask for in the TLS handshake.
#[derive(Clone)]
pub struct ClientCertificate {
    chain: Arc<str>,
    key: Arc<Secret>,
    subject: Arc<str>,
    ends_at: Timestamp,
    certified: Arc<CertifiedKey>,
}

impl ClientCertificate {
    /// Reads a chain, the client's own certificate first, and the key of that one; both in PEM form.
    pub fn parse(chain: &str, key: Secret) -> Result<Self, BadCertificate> {
        use BadCertificate::{Certificate, Key};
        if chain.len() > MAX_PEM {
            return Err(Certificate("must be at most 16 KiB long"));
        }
        if key.reveal().len() > MAX_PEM {
            return Err(Key("must be at most 16 KiB long"));
        }
        let not_pem = Certificate("must be certificates in PEM form");
        let ders = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let ders = ders.map_err(|_| not_pem)?;
        let own = ders.first().ok_or(not_pem)?;
        let (_, read) = X509Certificate::from_der(own).map_err(|_| not_pem)?;
        let subject = read.subject().to_string().into();
        // The last second of 9999 stands for no end (RFC 5280, 4.1.2.5), and is beyond what we can write.
        let ends_at = Timestamp::from_second(read.validity().not_after.timestamp());
        let ends_at = ends_at.unwrap_or(Timestamp::MAX);
        let not_key = Key("must be an unencrypted private key in PEM form, of RSA, ECDSA or Ed25519");
        let private = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(|_| not_key)?;
        let certified = CertifiedKey::from_der(ders, private, &default_provider()).map_err(|error| {
            let is_another = matches!(error, rustls::Error::InconsistentKeys(_));
            if is_another { Key("is not the certificate's") } else { not_key }
        })?;
        Ok(Self { chain: chain.into(), key: Arc::new(key), subject, ends_at, certified: Arc::new(certified) })
    }

    /// The chain, as it was written.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// The key, as it was written.
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// Whose certificate it says it is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When it stops being valid.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// The two as TLS uses them.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// What tells it from others: a hash of the chain, for there is one key to it.
    pub fn fingerprint(&self) -> [u8; 32] {
        hash([self.chain.as_bytes()])
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key == other.key
    }
}

impl Eq for ClientCertificate {}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// What is wrong with a certificate or its key, for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCertificate {
    /// With the certificate.
    Certificate(&'static str),
    /// With the key.
    Key(&'static str),
}

impl TokenSource {
    /// What tells it from others, without saying what it is: a token is shared by those alone who know the secret.
    pub fn fingerprint(&self) -> [u8; 32] {
        let style = match self.style {
            AuthStyle::Basic => "basic",
            AuthStyle::Body => "body",
        };
        let parts = [
            self.url.as_str(),
            &self.client_id,
            self.client_secret.reveal(),
            self.scope.as_deref().unwrap_or("\0"),
            self.audience.as_deref().unwrap_or("\0"),
            style,
        ];
        hash(parts.map(str::as_bytes))
    }
}

/// SHA-256 of texts, none of which runs into the next.
fn hash<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// A text that can be in a header or a form as it is: a token, a user name, a password, a scope.
pub fn sendable(text: &str) -> Result<(), BadId> {
    if text.is_empty() || text.chars().count() > 4096 || text.chars().any(char::is_control) {
        return Err(BadId("must be 1 to 4,096 characters, without control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> TokenSource {
        TokenSource {
            url: TargetUrl::parse("https://id.example/token", false).unwrap(),
            client_id: "shop".into(),
            client_secret: Secret::new("hush"),
            scope: None,
            audience: None,
            style: AuthStyle::Basic,
        }
    }

    #[test]
    fn sources_of_tokens_that_differ_anywhere_are_told_apart() {
        let others = [
            TokenSource { client_id: "shoph".into(), client_secret: Secret::new("ush"), ..source() },
            TokenSource { client_secret: Secret::new("hush!"), ..source() },
            TokenSource { scope: Some("hooks".into()), ..source() },
            TokenSource { audience: Some("hooks".into()), ..source() },
            TokenSource { style: AuthStyle::Body, ..source() },
            TokenSource { url: TargetUrl::parse("https://id.example/", false).unwrap(), ..source() },
        ];
        let mut seen = vec![source().fingerprint()];
        for other in others {
            assert!(!seen.contains(&other.fingerprint()), "{other:?}");
            seen.push(other.fingerprint());
        }
        assert_eq!(seen[0], source().fingerprint());
    }

    #[test]
    fn nothing_of_it_prints() {
        let auth = [
            Auth::Bearer(Secret::new("hush")),
            Auth::Basic(Credentials { id: "me".into(), secret: Secret::new("hush") }),
            Auth::ClientCredentials(Arc::new(source())),
        ];
        assert!(!format!("{auth:?}").contains("hush"));
    }
}

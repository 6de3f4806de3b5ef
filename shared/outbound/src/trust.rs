//! Whom a receiver's certificate may come from.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

/// Certificate authorities that are trusted beside the public ones: a company's own.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// A file without certificates that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum BadAuthorities {
    /// It could not be read, or is not PEM.
    #[error("cannot be read as certificates in PEM form: {0}")]
    Pem(#[from] pem::Error),
    /// It has none.
    #[error("has no certificate in it")]
    Empty,
    /// One of them is none that an authority can have.
    #[error("has a certificate that is of no use: {0}")]
    Certificate(#[from] rustls::Error),
}

impl Authorities {
    /// Reads a file of certificates in PEM form.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, BadAuthorities> {
        let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(BadAuthorities::Empty);
        }
        let read = Self(certificates);
        read.add_to(&mut RootCertStore::empty())?;
        Ok(read)
    }

    /// These and the public ones.
    pub(crate) fn with_public(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        self.add_to(&mut roots)?;
        Ok(roots)
    }

    fn add_to(&self, roots: &mut RootCertStore) -> Result<(), rustls::Error> {
        self.0.iter().try_for_each(|certificate| roots.add(certificate.clone()))
    }
}

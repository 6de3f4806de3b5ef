//! Opening a connection: resolve, judge, dial what was judged, shake hands; each phase timed.

use std::{
    borrow::Cow,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use postrider::model::{ClientCertificate, Failure, Phases};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Url;

use crate::{connection::Connection, resolve::Resolver};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) failure: Failure,
    pub(crate) detail: String,
}

impl DialError {
    pub(crate) fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Opens connections.
pub(crate) struct Connector {
    resolver: Resolver,
    tls: TlsConnector,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Connector {
    pub(crate) fn new(resolver: Resolver, roots: RootCertStore) -> Result<Self, rustls::Error> {
        let (provider, roots) = (Arc::new(aws_lc_rs::default_provider()), Arc::new(roots));
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        Ok(Self { resolver, tls: TlsConnector::from(Arc::new(config)), provider, roots })
    }

    /// What shakes hands: with a certificate, one of its own, so that no session is resumed which another's opened.
    fn tls(&self, certificate: Option<&ClientCertificate>) -> Result<Cow<'_, TlsConnector>, rustls::Error> {
        let Some(certificate) = certificate else { return Ok(Cow::Borrowed(&self.tls)) };
        let shown = SingleCertAndKey::from(certificate.certified());
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_client_cert_resolver(Arc::new(shown));
        Ok(Cow::Owned(TlsConnector::from(Arc::new(config))))
    }

    /// Opens a connection to where a URL points, and notes how long each phase took, as far as it came.
    pub(crate) async fn open(
        &self,
        url: &Url,
        certificate: Option<&ClientCertificate>,
        connect_timeout: Duration,
        phases: &mut Phases,
    ) -> Result<Connection, DialError> {
        if certificate.is_some() && url.scheme() != "https" {
            return Err(DialError::new(Failure::Tls, "a client certificate can be shown over https alone"));
        }
        let host = url.host_str().ok_or_else(|| DialError::new(Failure::Dns, "the URL has no host"))?;
        let port = url.port_or_known_default().unwrap_or(443);
        let began = Instant::now();
        let addresses = self.resolver.resolve(host, port).await;
        phases.dns_us = Some(micros(began.elapsed()));
        let began = Instant::now();
        let connected = connect(&addresses?, connect_timeout).await;
        phases.connect_us = Some(micros(began.elapsed()));
        let (tcp, address) = connected?;
        let stream = if url.scheme() == "https" {
            let began = Instant::now();
            let tls = self.shake_hands(host, certificate, tcp).await;
            phases.tls_us = Some(micros(began.elapsed()));
            Stream::Tls(Box::new(TokioIo::new(tls?)))
        } else {
            Stream::Plain(TokioIo::new(tcp))
        };
        let started = Connection::start(stream, address).await;
        started.map_err(|error| DialError::new(Failure::Protocol, format!("starting HTTP: {error}")))
    }

    async fn shake_hands(
        &self,
        host: &str,
        certificate: Option<&ClientCertificate>,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(literal)
            .map_err(|_| DialError::new(Failure::Tls, "the host's name cannot be in a certificate"))?;
        let tls = self.tls(certificate);
        let tls = tls.map_err(|error| DialError::new(Failure::Tls, format!("setting up TLS: {error}")))?;
        let tls = tls.connect(name, tcp).await;
        tls.map_err(|error| DialError::new(Failure::Tls, format!("TLS handshake: {error}")))
    }
}

/// Tries each address in turn, each with its share of the time that is left.
async fn connect(addresses: &[SocketAddr], within: Duration) -> Result<(TcpStream, SocketAddr), DialError> {
    let began = Instant::now();
    let mut failed = DialError::new(Failure::Refused, "there is no address to connect to");
    for (tried, address) in addresses.iter().enumerate() {
        let share = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let left = within.saturating_sub(began.elapsed()) / share;
        match timeout(left, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small messages must not wait for each other (RFC 896); where the option is missing, they may.
                let _ = stream.set_nodelay(true);
                return Ok((stream, *address));
            }
            Ok(Err(error)) => failed = refused(&error),
            Err(_) => {
                failed = DialError::new(Failure::Timeout, "no connection within the time for connecting");
            }
        }
    }
    Err(failed)
}

fn refused(error: &io::Error) -> DialError {
    let detail = match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused".to_owned(),
        io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "there is no way to the host".to_owned()
        }
        _ => format!("connecting failed: {error}"),
    };
    DialError::new(Failure::Refused, detail)
}

/// What a connection's bytes go over.
pub(crate) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

macro_rules! with_inner {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            Stream::Tls($inner) => {
                let $inner = Pin::new(&mut **$inner);
                $call
            }
        }
    };
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        with_inner!(self, inner => inner.poll_read(cx, buf))
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        with_inner!(self, inner => inner.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_inner!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_inner!(self, inner => inner.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(inner) => inner.is_write_vectored(),
            Self::Tls(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_inner!(self, inner => inner.poll_write_vectored(cx, bufs))
    }
}

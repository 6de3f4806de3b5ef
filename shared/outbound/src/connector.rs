//! Opening a connection: resolve, judge, dial what was judged, shake hands; each phase timed.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use postrider::model::{Failure, Phases};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::resolve::Resolver;

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(crate) struct DialError {
    pub(crate) failure: Failure,
    pub(crate) detail: String,
}

impl DialError {
    pub(crate) fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for DialError {}

/// How a connection came about; it travels with the connection, and the first answer on it tells.
#[derive(Debug, Clone)]
pub(crate) struct Dialled {
    pub(crate) address: SocketAddr,
    dns: Duration,
    connect: Duration,
    tls: Option<Duration>,
    told: Arc<AtomicBool>,
}

impl Dialled {
    /// The phases of dialling, for the exchange that the connection was opened for.
    pub(crate) fn tell(&self, phases: &mut Phases) {
        if !self.told.swap(true, Ordering::Relaxed) {
            phases.dns_us = Some(micros(self.dns));
            phases.connect_us = Some(micros(self.connect));
            phases.tls_us = self.tls.map(micros);
        }
    }

    /// How much of an exchange's time dialling took.
    pub(crate) fn time(phases: &Phases) -> u64 {
        [phases.dns_us, phases.connect_us, phases.tls_us].into_iter().flatten().sum()
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    resolver: Arc<Resolver>,
    tls: TlsConnector,
    connect_timeout: Duration,
}

impl Connector {
    pub(crate) fn new(
        resolver: Resolver,
        roots: RootCertStore,
        connect_timeout: Duration,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { resolver: Arc::new(resolver), tls: TlsConnector::from(Arc::new(config)), connect_timeout })
    }

    async fn dial(self, uri: Uri) -> Result<Stream, DialError> {
        let host = uri.host().ok_or_else(|| DialError::new(Failure::Dns, "the URL has no host"))?;
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });

        let began = Instant::now();
        let addresses = self.resolver.resolve(host, port).await?;
        let resolved = Instant::now();
        let (tcp, address) = connect(&addresses, self.connect_timeout).await?;
        let connected = Instant::now();
        let dialled = |tls| Dialled {
            address,
            dns: resolved - began,
            connect: connected - resolved,
            tls,
            told: Arc::default(),
        };
        if !secure {
            return Ok(Stream::Plain(TokioIo::new(tcp), dialled(None)));
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(literal)
            .map_err(|_| DialError::new(Failure::Tls, "the host's name cannot be in a certificate"))?;
        let tls = self.tls.connect(name, tcp).await;
        let tls = tls.map_err(|error| DialError::new(Failure::Tls, format!("TLS handshake: {error}")))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls)), dialled(Some(connected.elapsed()))))
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

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// An open connection.
pub(crate) enum Stream {
    Plain(TokioIo<TcpStream>, Dialled),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>, Dialled),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let (Self::Plain(_, dialled) | Self::Tls(_, dialled)) = self;
        Connected::new().extra(dialled.clone())
    }
}

macro_rules! with_inner {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($inner, _) => {
                let $inner = Pin::new($inner);
                $call
            }
            Stream::Tls($inner, _) => {
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
            Self::Plain(inner, _) => inner.is_write_vectored(),
            Self::Tls(inner, _) => inner.is_write_vectored(),
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

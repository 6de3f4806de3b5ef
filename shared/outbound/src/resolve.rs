//! From a host to the addresses that may be dialled.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use postrider::{guard, model::Failure};

use crate::connector::DialError;

/// A name that resolves as told, not by the system: for local work, as in `shop.test=127.0.0.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalName {
    name: String,
    address: IpAddr,
}

/// A text that is not a [`LocalName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName;

impl std::fmt::Display for BadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("must be a name, '=', and an IP address")
    }
}

impl std::error::Error for BadName {}

impl FromStr for LocalName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let (name, address) = text.split_once('=').ok_or(BadName)?;
        let address = address.parse().map_err(|_| BadName)?;
        Ok(Self { name: name.to_ascii_lowercase(), address })
    }
}

/// Questions that may wait for one name server at once: as many as there may be exchanges.
const AT_ONCE: usize = 4096;

/// Resolves names, and refuses what must not be dialled.
pub(crate) struct Resolver {
    local: HashMap<String, IpAddr>,
    allow_private: bool,
    /// None: nobody says whom to ask.
    asked: Option<TokioResolver>,
}

impl Resolver {
    /// Asks those name servers; none: those of the system, as `/etc/resolv.conf` and `/etc/hosts` have it. Answers are kept as
    /// long as they say. It is not the system's resolver, of which each question holds a thread: names whose servers do
    /// not answer would keep those of others waiting.
    pub(crate) fn new(local: Vec<LocalName>, servers: &[SocketAddr], allow_private: bool) -> Self {
        let asked = asking(servers).inspect_err(|error| {
            tracing::warn!(%error, "there is no name server: no receiver's name can be resolved");
        });
        let local = local.into_iter().map(|l| (l.name, l.address)).collect();
        Self { local, allow_private, asked: asked.ok() }
    }

    /// All addresses of a host. One bad address spoils them all: a name that means two places is not to be
    /// trusted with the choice.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let addresses = self.addresses(host, port).await?;
        if addresses.is_empty() {
            return Err(DialError::new(Failure::Dns, "the host's name has no address"));
        }
        if !self.allow_private && addresses.iter().any(|address| guard::is_forbidden(address.ip())) {
            return Err(DialError::new(
                Failure::Blocked,
                "the address is private, local or otherwise special",
            ));
        }
        Ok(addresses)
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if let Some(address) = self.local.get(host.trim_end_matches('.')) {
            return Ok(vec![SocketAddr::new(*address, port)]);
        }
        // What the resolver says beside that tells the receiver's owner nothing more.
        let unknown = || DialError::new(Failure::Dns, "the host's name cannot be resolved");
        let found = self.asked.as_ref().ok_or_else(unknown)?.lookup_ip(host).await.map_err(|_| unknown())?;
        Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

fn asking(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|server| {
            let port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let by = vec![port(ConnectionConfig::udp()), port(ConnectionConfig::tcp())];
            NameServerConfig::new(server.ip(), true, by)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.max_active_requests = AT_ONCE;
    builder.build()
}

//! From a host to the addresses that may be dialled.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use postrider::{guard, model::Failure};
use tokio::net::lookup_host;

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

/// Resolves names, and refuses what must not be dialled.
#[derive(Debug)]
pub(crate) struct Resolver {
    local: HashMap<String, IpAddr>,
    allow_private: bool,
}

impl Resolver {
    pub(crate) fn new(local: Vec<LocalName>, allow_private: bool) -> Self {
        Self { local: local.into_iter().map(|l| (l.name, l.address)).collect(), allow_private }
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
        let found = lookup_host((host, port)).await;
        // What the resolver says differs from system to system, and tells the receiver's owner nothing more.
        Ok(found.map_err(|_| DialError::new(Failure::Dns, "the host's name cannot be resolved"))?.collect())
    }
}

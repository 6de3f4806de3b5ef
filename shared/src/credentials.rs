//! Granting the credentials that deliveries authenticate with.

use crate::{
    access::Principal,
    error::Error,
    model::{Credentials, Secret},
    operation::{Asked, Outcome},
    ports::Ports,
};

/// The longest user name or password, in bytes.
const MAX_LENGTH: usize = 1024;

/// Keeps what a tenant grants us; every delivery from now on carries it.
pub async fn grant(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    id: String,
    secret: Secret,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let sendable = |text: &str| text.len() <= MAX_LENGTH && !text.chars().any(char::is_control);
    // RFC 7617, 2: a user-id with a colon cannot be told from its password.
    if !sendable(&id) || id.contains(':') {
        return Err(Error::invalid("id", "must be at most 1,024 bytes, without ':' or control characters"));
    }
    if !sendable(secret.reveal()) {
        return Err(Error::invalid("secret", "must be at most 1,024 bytes, without control characters"));
    }
    if ports.store.grant(&tenant, &Credentials { id, secret }).await? {
        Ok(Outcome::CredentialsGranted)
    } else {
        Err(Error::NotFound("tenant"))
    }
}

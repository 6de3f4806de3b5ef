//! Tenants and their keys: the operator's desk.

use jiff::Timestamp;

use crate::{
    access::{self, Principal},
    error::Error,
    model::{KeyId, RedirectUri, Scope, Tenant, TenantId},
    operation::{Outcome, PageRequest},
    ports::Ports,
};

/// Makes a tenant.
pub async fn create(ports: &Ports, id: TenantId, name: String) -> Result<Outcome, Error> {
    let tenant = Tenant { id, name, created_at: ports.clock.now() };
    if ports.store.add_tenant(&tenant).await? {
        Ok(Outcome::TenantCreated(tenant))
    } else {
        Err(Error::Conflict(format!("there is a tenant {} already", tenant.id)))
    }
}

/// Lists tenants.
pub async fn list(ports: &Ports, page: &PageRequest) -> Result<Outcome, Error> {
    ports.store.tenants(page).await.map(Outcome::Tenants)
}

/// Reads a tenant.
pub async fn get(ports: &Ports, id: &TenantId) -> Result<Outcome, Error> {
    existing(ports, id).await.map(Outcome::Tenant)
}

/// Deletes a tenant with its webhooks, credentials and keys.
pub async fn delete(ports: &Ports, id: &TenantId) -> Result<Outcome, Error> {
    if ports.store.remove_tenant(id).await? { Ok(Outcome::Deleted) } else { Err(Error::NotFound("tenant")) }
}

/// Makes a key; its answer is the only place that it is ever shown.
pub async fn create_key(
    ports: &Ports,
    tenant: TenantId,
    mut scopes: Vec<Scope>,
    expires_at: Option<Timestamp>,
    redirect_uris: Vec<RedirectUri>,
) -> Result<Outcome, Error> {
    existing(ports, &tenant).await?;
    let now = ports.clock.now();
    scopes.sort();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Error::invalid(
            "scopes",
            "must name at least one of admin, publish, manage, read and write",
        ));
    }
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    let (mut record, key) = access::new_key(&*ports.dice, Some(tenant), scopes, now, expires_at)?;
    record.redirect_uris = redirect_uris;
    ports.store.add_key(&record).await?;
    Ok(Outcome::KeyCreated(record, key))
}

/// The tenant whose key was presented.
pub async fn identify(ports: &Ports, principal: &Principal) -> Result<Outcome, Error> {
    existing(ports, &principal.tenant_for(None)?).await.map(Outcome::Identified)
}

/// Lists a tenant's keys, never the keys themselves.
pub async fn list_keys(ports: &Ports, tenant: &TenantId, page: &PageRequest) -> Result<Outcome, Error> {
    existing(ports, tenant).await?;
    ports.store.keys(tenant, page).await.map(Outcome::Keys)
}

/// Revokes a key.
pub async fn delete_key(ports: &Ports, tenant: &TenantId, id: &KeyId) -> Result<Outcome, Error> {
    if ports.store.remove_key(tenant, id).await? { Ok(Outcome::Deleted) } else { Err(Error::NotFound("key")) }
}

async fn existing(ports: &Ports, id: &TenantId) -> Result<Tenant, Error> {
    ports.store.tenant(id).await?.ok_or(Error::NotFound("tenant"))
}

//! What happened to each delivery.

use crate::{
    access::Principal,
    error::Error,
    model::{DeliveryId, WebhookId},
    operation::{Asked, Outcome, PageRequest, Sought},
    ports::Ports,
};

/// Lists those of a webhook's deliveries that are sought, newest first.
pub async fn list(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    webhook: WebhookId,
    sought: &Sought,
    page: &PageRequest,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    if ports.store.webhook(&tenant, webhook).await?.is_none() {
        return Err(Error::NotFound("webhook"));
    }
    ports.store.deliveries(&tenant, webhook, sought, page).await.map(Outcome::Deliveries)
}

/// Reads a delivery with its attempts.
pub async fn get(
    ports: &Ports,
    principal: &Principal,
    asked: &Asked,
    id: DeliveryId,
) -> Result<Outcome, Error> {
    let tenant = principal.tenant_for(asked.tenant.as_ref())?;
    let found = ports.store.delivery(&tenant, id).await?;
    found.map(|delivery| Outcome::Delivery(Box::new(delivery))).ok_or(Error::NotFound("delivery"))
}

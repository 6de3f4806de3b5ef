//! How receivers do: `tenant#T` / `health#W`, there from its first failure or pause on.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::ReturnValue,
};
use jiff::Timestamp;
use postrider::{
    error::Error,
    model::{Health, TenantId, WebhookId},
    ports::Healths,
};

use crate::{
    Engine,
    fault::{fault, odd},
    item::{Item, Read, key, micros, number},
    tenants::partition,
};

pub(crate) fn health_key(tenant: &TenantId, webhook: WebhookId) -> Item {
    key(partition(tenant), format!("health#{webhook}"))
}

pub(crate) fn health(item: &Item) -> Result<Health, Error> {
    Ok(Health {
        failures: u32::try_from(item.maybe_number("failures")?.unwrap_or_default())
            .map_err(|_| odd("failures"))?,
        since: item.maybe_time("since")?,
        probe_at: item.maybe_time("probe_at")?,
        slow_until: item.maybe_time("slow_until")?,
    })
}

impl Engine {
    pub(crate) fn health_update(&self, tenant: &TenantId, webhook: WebhookId) -> UpdateItemFluentBuilder {
        let update = self.0.db.update_item().table_name(&self.0.settings.webhooks_table);
        update.set_key(Some(health_key(tenant, webhook)))
    }

    fn know(&self, tenant: &TenantId, webhook: WebhookId, health: Health) -> Health {
        let generation = self.0.healths.generation();
        self.0.healths.put((tenant.clone(), webhook), generation, health);
        health
    }
}

#[async_trait]
impl Healths for Engine {
    async fn health(&self, tenant: &TenantId, webhook: WebhookId) -> Result<Health, Error> {
        if let Some(known) = self.0.healths.get(&(tenant.clone(), webhook)) {
            return Ok(known);
        }
        let found = self.get(health_key(tenant, webhook), "reading a receiver's health").await?;
        let found = found.as_ref().map(health).transpose()?;
        Ok(self.know(tenant, webhook, found.unwrap_or_default()))
    }

    async fn strain(&self, tenant: &TenantId, webhook: WebhookId, at: Timestamp) -> Result<Health, Error> {
        let update = self
            .health_update(tenant, webhook)
            .update_expression("SET since = if_not_exists(since, :at) ADD failures :one")
            .expression_attribute_values(":at", micros(at))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew);
        let done = update.send().await.map_err(fault("counting a failure"))?;
        let item = done.attributes.ok_or_else(|| odd("answer"))?;
        Ok(self.know(tenant, webhook, health(&item)?))
    }

    async fn put_off(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        from: Option<Timestamp>,
        to: Timestamp,
    ) -> Result<bool, Error> {
        let update = self
            .health_update(tenant, webhook)
            .update_expression("SET probe_at = :to")
            .expression_attribute_values(":to", micros(to))
            .return_values(ReturnValue::AllNew);
        let update = match from {
            None => update.condition_expression("attribute_exists(since) AND attribute_not_exists(probe_at)"),
            Some(from) => update
                .condition_expression("probe_at = :from")
                .expression_attribute_values(":from", micros(from)),
        };
        match update.send().await {
            Ok(done) => {
                let item = done.attributes.ok_or_else(|| odd("answer"))?;
                self.know(tenant, webhook, health(&item)?);
                Ok(true)
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => {
                    self.0.healths.void();
                    Ok(false)
                }
                _ => Err(fault("putting off a receiver's next try")(error)),
            },
        }
    }

    async fn relieve(&self, tenant: &TenantId, webhook: WebhookId) -> Result<bool, Error> {
        let update = self
            .health_update(tenant, webhook)
            .update_expression("REMOVE failures, since, probe_at")
            .condition_expression("attribute_exists(since)")
            .return_values(ReturnValue::AllNew);
        match update.send().await {
            Ok(done) => {
                let left = done.attributes.as_ref().map(health).transpose()?.unwrap_or_default();
                self.know(tenant, webhook, left);
                Ok(true)
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => {
                    self.0.healths.void();
                    Ok(false)
                }
                _ => Err(fault("forgetting failures")(error)),
            },
        }
    }

    async fn slow_down(&self, tenant: &TenantId, webhook: WebhookId, until: Timestamp) -> Result<(), Error> {
        let update = self
            .health_update(tenant, webhook)
            .update_expression("SET slow_until = :until")
            .expression_attribute_values(":until", micros(until))
            .return_values(ReturnValue::AllNew);
        let done = update.send().await.map_err(fault("noting that a receiver is slow"))?;
        let item = done.attributes.ok_or_else(|| odd("answer"))?;
        self.know(tenant, webhook, health(&item)?);
        Ok(())
    }
}

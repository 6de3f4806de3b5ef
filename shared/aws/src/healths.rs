//! How receivers do: `tenant#T` / `health#W`, there from its first failure or pause on.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
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
    mark::Mark,
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

    fn marked_update(&self, tenant: &TenantId, webhook: WebhookId, mark: &Mark) -> UpdateItemFluentBuilder {
        self.health_update(tenant, webhook)
            .expression_attribute_values(":mark", mark.value())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
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
        let mark = Mark::new();
        let update = self
            .marked_update(tenant, webhook, &mark)
            .update_expression("SET mark = :mark, since = if_not_exists(since, :at) ADD failures :one")
            .condition_expression("attribute_not_exists(mark) OR mark <> :mark")
            .expression_attribute_values(":at", micros(at))
            .expression_attribute_values(":one", number(1));
        let item = match update.send().await {
            Ok(done) => done.attributes,
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => failed.item().cloned(),
                _ => return Err(fault("counting a failure")(error)),
            },
        };
        Ok(self.know(tenant, webhook, health(&item.ok_or_else(|| odd("answer"))?)?))
    }

    async fn put_off(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        from: Option<Timestamp>,
        to: Timestamp,
    ) -> Result<bool, Error> {
        let mark = Mark::new();
        let update = self
            .marked_update(tenant, webhook, &mark)
            .update_expression("SET mark = :mark, probe_at = :to")
            .expression_attribute_values(":to", micros(to));
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
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    self.0.healths.void();
                    Ok(failed.item().is_some_and(|kept| mark.is_on(kept)))
                }
                _ => Err(fault("putting off a receiver's next try")(error)),
            },
        }
    }

    async fn relieve(&self, tenant: &TenantId, webhook: WebhookId) -> Result<bool, Error> {
        let mark = Mark::new();
        let update = self
            .marked_update(tenant, webhook, &mark)
            .update_expression("SET mark = :mark REMOVE failures, since, probe_at")
            .condition_expression("attribute_exists(since)");
        match update.send().await {
            Ok(done) => {
                let left = done.attributes.as_ref().map(health).transpose()?.unwrap_or_default();
                self.know(tenant, webhook, left);
                Ok(true)
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    self.0.healths.void();
                    Ok(failed.item().is_some_and(|kept| mark.is_on(kept)))
                }
                _ => Err(fault("forgetting failures")(error)),
            },
        }
    }

    async fn slow_down(&self, tenant: &TenantId, webhook: WebhookId, until: Timestamp) -> Result<(), Error> {
        let update = self
            .marked_update(tenant, webhook, &Mark::new())
            .update_expression("SET mark = :mark, slow_until = :until")
            .expression_attribute_values(":until", micros(until));
        let done = update.send().await.map_err(fault("noting that a receiver is slow"))?;
        let item = done.attributes.ok_or_else(|| odd("answer"))?;
        self.know(tenant, webhook, health(&item)?);
        Ok(())
    }
}

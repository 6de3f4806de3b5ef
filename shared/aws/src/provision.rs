//! Making the template's tables, queue and key on a local server, for tests and for playing: on AWS it is
//! `template.yaml` that makes them.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName;
use postrider::error::Error;
use postrider_lambda::Settings;

use crate::{
    fault::{fault, odd},
    undelivered,
};

/// What a local queue is like.
#[derive(Debug, Clone, Copy)]
pub struct QueueSettings {
    /// How long a message that was handed out stays invisible; whole seconds.
    pub visibility: Duration,
    /// How often a message is handed out before it becomes a dead letter.
    pub max_receives: u32,
}

/// Makes everything under names that begin with `prefix`. The second is the dead-letter queue's URL.
pub async fn provision(
    config: &SdkConfig,
    prefix: &str,
    queue: QueueSettings,
) -> Result<(Settings, String), Error> {
    let name = |what: &str| format!("{prefix}-{what}");
    let db = aws_sdk_dynamodb::Client::new(config);
    let plain: &[&str] = &["pk", "sk"];
    table(&db, &name("webhooks"), plain, &[]).await?;
    table(&db, &name("keys"), plain, &[]).await?;
    let by_minute =
        ("by_minute", [("bucket", false), ("uid", false)], &["event_id", "tenant", "webhooks"][..]);
    table(&db, &name("events"), &["pk"], &[by_minute]).await?;
    let due = (
        "due",
        [("due_shard", false), ("due_at", true)],
        &["attempt_count", "event_id", "ordering_key", "tenant"][..],
    );
    let undelivered = ("undelivered", [("open_shard", false), ("open_at", false)], undelivered::SHOWN);
    table(&db, &name("deliveries"), plain, &[due, undelivered]).await?;
    let (queue_url, slow_queue_url, dead) = queues(config, prefix, queue).await?;
    let kms = aws_sdk_kms::Client::new(config).create_key().send().await.map_err(fault("making a key"))?;
    let settings = Settings {
        webhooks_table: name("webhooks"),
        keys_table: name("keys"),
        events_table: name("events"),
        deliveries_table: name("deliveries"),
        queue_url,
        slow_queue_url,
        kms_key_id: kms.key_metadata.map(|made| made.key_id),
        ..Settings::default()
    };
    Ok((settings, dead))
}

type Index<'a> = (&'a str, [(&'a str, bool); 2], &'a [&'a str]);

fn schema(names: &[&str]) -> Result<Vec<KeySchemaElement>, Error> {
    let element = |(at, name): (usize, &&str)| {
        let kind = if at == 0 { KeyType::Hash } else { KeyType::Range };
        KeySchemaElement::builder().attribute_name(*name).key_type(kind).build().map_err(|_| odd("schema"))
    };
    names.iter().enumerate().map(element).collect()
}

async fn table(
    db: &aws_sdk_dynamodb::Client,
    name: &str,
    keys: &[&str],
    indexes: &[Index<'_>],
) -> Result<(), Error> {
    let attribute = |name: &str, is_number: bool| {
        let kind = if is_number { ScalarAttributeType::N } else { ScalarAttributeType::S };
        let built = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        built.map_err(|_| odd("attribute"))
    };
    let mut attributes = keys.iter().map(|name| attribute(name, false)).collect::<Result<Vec<_>, _>>()?;
    let mut create = db
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(schema(keys)?));
    for (index, keys, included) in indexes {
        for (name, is_number) in keys {
            attributes.push(attribute(name, *is_number)?);
        }
        let included = included.iter().map(ToString::to_string).collect();
        let projection = Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(included))
            .build();
        let built = GlobalSecondaryIndex::builder()
            .index_name(*index)
            .set_key_schema(Some(schema(&keys.map(|(name, _)| name))?))
            .projection(projection)
            .build();
        create = create.global_secondary_indexes(built.map_err(|_| odd("index"))?);
    }
    create.set_attribute_definitions(Some(attributes)).send().await.map_err(fault("making a table")).map(drop)
}

async fn queues(
    config: &SdkConfig,
    prefix: &str,
    settings: QueueSettings,
) -> Result<(String, String, String), Error> {
    let sqs = aws_sdk_sqs::Client::new(config);
    let dead = sqs.create_queue().queue_name(format!("{prefix}-dead")).send().await;
    let dead = dead.map_err(fault("making a queue"))?.queue_url.ok_or_else(|| odd("queue"))?;
    let arn = sqs
        .get_queue_attributes()
        .queue_url(&dead)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await;
    let arn = arn.map_err(fault("reading a queue"))?.attributes.unwrap_or_default();
    let arn = arn.get(&QueueAttributeName::QueueArn).ok_or_else(|| odd("queue"))?;
    let redrive = serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": settings.max_receives.to_string() });
    let make = async |name: &str| {
        let queue = sqs
            .create_queue()
            .queue_name(format!("{prefix}-{name}"))
            .attributes(QueueAttributeName::VisibilityTimeout, settings.visibility.as_secs().to_string())
            .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string());
        queue.send().await.map_err(fault("making a queue"))?.queue_url.ok_or_else(|| odd("queue"))
    };
    Ok((make("delivery").await?, make("slow-delivery").await?, dead))
}

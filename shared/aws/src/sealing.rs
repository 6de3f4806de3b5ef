//! The key that seals secrets: a KMS data key, kept encrypted beside what it seals, asked for once a process and
//! only when a secret is.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_kms::{primitives::Blob, types::DataKeySpec};
use postrider::{error::Error, sealing::SealingKey};
use postrider_lambda::Settings;
use tokio::sync::OnceCell;

use crate::{
    fault::{fault, odd},
    item::{Item, Read, bytes, key},
};

pub(crate) struct Sealer {
    db: aws_sdk_dynamodb::Client,
    kms: aws_sdk_kms::Client,
    table: String,
    kms_key: Option<String>,
    key: OnceCell<SealingKey>,
}

impl Sealer {
    pub(crate) fn new(db: aws_sdk_dynamodb::Client, kms: aws_sdk_kms::Client, settings: &Settings) -> Self {
        let (table, kms_key) = (settings.webhooks_table.clone(), settings.kms_key_id.clone());
        Self { db, kms, table, kms_key, key: OnceCell::new() }
    }

    pub(crate) async fn key(&self) -> Result<&SealingKey, Error> {
        self.key.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<SealingKey, Error> {
        let missing =
            || Error::Internal("POSTRIDER_KMS_KEY_ID is not set, and secrets must be sealed".into());
        let kms_key = self.kms_key.as_ref().ok_or_else(missing)?;
        if let Some(kept) = self.kept().await? {
            return self.open(kms_key, &kept).await;
        }
        let made = self.kms.generate_data_key().key_id(kms_key).key_spec(DataKeySpec::Aes256).send().await;
        let made = made.map_err(fault("making a data key"))?;
        let sealed = made.ciphertext_blob.ok_or_else(|| odd("data key"))?;
        let mut item = data_key();
        item.insert("sealed".into(), bytes(sealed.into_inner()));
        let put = self.db.put_item().table_name(&self.table).set_item(Some(item));
        match put.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => SealingKey::new(made.plaintext.ok_or_else(|| odd("data key"))?.as_ref()),
            Err(error) => match error.as_service_error() {
                // Somebody else was first: theirs is the one.
                Some(PutItemError::ConditionalCheckFailedException(_)) => {
                    let kept = self.kept().await?.ok_or_else(|| odd("data key"))?;
                    self.open(kms_key, &kept).await
                }
                _ => Err(fault("keeping a data key")(error)),
            },
        }
    }

    async fn kept(&self) -> Result<Option<Vec<u8>>, Error> {
        let get = self.db.get_item().table_name(&self.table).set_key(Some(data_key())).consistent_read(true);
        let found = get.send().await.map_err(fault("reading the data key"))?.item;
        found.map(|item| item.blob("sealed").map(<[u8]>::to_vec)).transpose()
    }

    async fn open(&self, kms_key: &str, sealed: &[u8]) -> Result<SealingKey, Error> {
        let open = self.kms.decrypt().key_id(kms_key).ciphertext_blob(Blob::new(sealed)).send().await;
        SealingKey::new(
            open.map_err(fault("opening the data key"))?.plaintext.ok_or_else(|| odd("data key"))?.as_ref(),
        )
    }
}

fn data_key() -> Item {
    key("system", "data-key")
}

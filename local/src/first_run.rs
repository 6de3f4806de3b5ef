//! The first start: keys, a demo tenant, and lines to paste.

use std::net::SocketAddr;

use postrider::{
    access,
    error::Error,
    model::{Scope, Secret, Tenant, TenantId},
    ports::Ports,
};

use crate::args::Args;

const DEMO: &str = "demo";

/// Makes what a first start needs, and says where everything is.
pub(crate) async fn greet(
    args: &Args,
    ports: &Ports,
    here: SocketAddr,
    allow_private: bool,
    is_new: bool,
) -> Result<(), Error> {
    println!("postrider: listening on http://{here}, data in {}", args.data.display());
    if allow_private {
        println!(
            "postrider: deliveries may go to private addresses (--allow-private-targets=false forbids it)"
        );
    }
    if let Some(key) = &args.operator_key {
        adopt(ports, &Secret::new(key)).await?;
    }
    if !is_new {
        return Ok(());
    }
    let now = ports.clock.now();
    if args.operator_key.is_none() {
        let (record, key) = access::new_key(&*ports.dice, None, vec![Scope::Admin], now, None)?;
        ports.store.add_key(&record).await?;
        println!("postrider: the operator's key, shown this once: {}", key.reveal());
    }
    let demo: TenantId = DEMO.parse().map_err(Error::field("id"))?;
    let tenant = Tenant { id: demo.clone(), name: "Demo".to_owned(), created_at: now };
    ports.store.add_tenant(&tenant).await?;
    let scopes = vec![Scope::Publish, Scope::Manage];
    let (record, key) = access::new_key(&*ports.dice, Some(demo), scopes, now, None)?;
    ports.store.add_key(&record).await?;
    println!("{}", lines(&format!("http://{here}"), key.reveal()));
    Ok(())
}

/// Takes a key that the operator chose.
async fn adopt(ports: &Ports, key: &Secret) -> Result<(), Error> {
    let record = access::key_record(key, None, vec![Scope::Admin], ports.clock.now(), None)?;
    let known = ports.store.key(&record.id).await?;
    if known.is_none_or(|known| known.hash != record.hash) {
        ports.store.add_key(&record).await?;
    }
    Ok(())
}

/// The seed's story, to paste as it is.
fn lines(base: &str, key: &str) -> String {
    format!(
        r#"
A tenant "demo" is there, with this key of its own: {key}
Paste these lines to see a delivery. Register a webhook, as a client of Tiki's API does:

curl -sS {base}/integration/v1/webhooks -H 'tiki-api: {key}' -H 'Content-Type: application/json' \
  -d '{{"uri": "{base}/inspect/demo", "event": "product:request:rejected"}}'

Grant the credentials that its receiver will ask for:

curl -sS -X PUT {base}/integration/v1/webhooks/credentials -H 'tiki-api: {key}' -H 'Content-Type: application/json' \
  -d '{{"id": "iyofim3eru0bkiwz", "secret": "BuqicB1kwcy4Tl9dikqPB7FkPwdDh8fd"}}'

Publish an event, as the platform does:

curl -sS {base}/v1/events -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
  -d '{{"tenant": "demo", "topic": "product_request.rejected", "payload": {{"event": "product:request:rejected", "event_time": "2020-02-02 12:00:00", "request_id": "1154523837593192401", "state": "rejected", "product_id": "2162835", "product_sku": "7062617941818", "list_reasons": [{{"reason_data": null, "reject_description": "The very detailed reason why your product is rejected", "reason_id": 9, "reason_name": "Hình sản phẩm quá nhỏ, không chiếm 80% khung hình"}}], "reason": null}}}}'

See what was delivered, with its Authorization: Basic header (or open it in a browser):

curl -sS {base}/inspect/demo
"#
    )
}

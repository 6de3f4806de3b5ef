//! Client certificates: a receiver that asks for one is shown it, over a connection that is nobody else's.

use std::{fs, sync::Arc};

use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::{Tenant, text},
    world::{Options, World},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a client, with its key, as an owner gives them to us.
fn client(name: &str, vouches: &Authority, kind: &'static SignatureAlgorithm) -> Value {
    let key = KeyPair::generate_for(kind).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, vouches).unwrap().pem();
    json!({ "certificate": certificate, "private_key": key.serialize_pem() })
}

/// A receiver that talks to nobody without a certificate of `clients`.
async fn receiver(own: &Authority, clients: &Authority) -> Receiver {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["shop.test".to_owned()]).unwrap();
    let chain = vec![params.signed_by(&key, own).unwrap().der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    Receiver::secure(config, |_| Reply::status(200)).await
}

fn world(ours: &Authority, dir: &tempfile::TempDir) -> World {
    let file = dir.path().join("authority.pem");
    fs::write(&file, ours.pem()).unwrap();
    let args = vec![format!("--trust={}", file.display()), "--resolve=shop.test=127.0.0.1".to_owned()];
    World::start(Options { args, ..Options::default() })
}

async fn attempt(tenant: &Tenant, webhook: &Value) -> Value {
    let event = tenant.publish("order.created", json!({})).await;
    tenant.attempted(text(webhook, "id"), &event, 1).await["attempts"][0].clone()
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_certificate_is_shown_the_webhooks_own() {
    let (ours, clients, unknown) = (authority("ours"), authority("clients"), authority("unknown"));
    let dir = tempfile::tempdir().unwrap();
    let world = world(&ours, &dir);
    let tenant = world.tenant("mtls").await;
    let receiver = receiver(&ours, &clients).await;
    let url = format!("https://shop.test:{}/", receiver.address().port());
    let body = json!({ "url": url, "topics": ["*"], "auth": { "type": "bearer", "token": "t" } });
    let webhook = tenant.client.post("/v1/webhooks", &body).await.expect(201);
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    assert_eq!(webhook["client_certificate"], Value::Null);
    let refused = async || {
        let made = attempt(&tenant, &webhook).await;
        assert!(matches!(text(&made, "failure"), "tls" | "protocol"), "{made}");
    };
    refused().await;
    let mut arrived = 0;
    for (name, kind) in
        [("one", &rcgen::PKCS_ECDSA_P256_SHA256), ("two", &PKCS_ED25519), ("three", &PKCS_RSA_SHA256)]
    {
        let shown = client(name, &clients, kind);
        let changed = tenant.client.patch(&path, &json!({ "client_certificate": shown })).await.expect(200);
        assert_eq!(changed["client_certificate"]["subject"], format!("CN={name}"));
        assert!(changed["client_certificate"]["expires_at"].is_string());
        let connections = receiver.connections();
        for _ in 0..2 {
            let made = attempt(&tenant, &webhook).await;
            assert_eq!(made["reply"]["status"], 200, "{made}");
            arrived += 1;
        }
        assert_eq!(receiver.connections(), connections + 1, "a kept connection is this certificate's alone");
    }
    let all = receiver.wait(arrived).await;
    assert_eq!(all[0].header("authorization"), Some("Bearer t"), "it goes with what else proves us");
    let stranger = client("stranger", &unknown, &PKCS_ED25519);
    tenant.client.patch(&path, &json!({ "client_certificate": stranger })).await.expect(200);
    refused().await;
    // Without it, no connection that was opened with it is used.
    let none = json!({ "client_certificate": null });
    let changed = tenant.client.patch(&path, &none).await.expect(200);
    assert_eq!(changed["client_certificate"], Value::Null);
    refused().await;
    assert_eq!(receiver.arrived().len(), arrived);

    let plain = Receiver::ok().await;
    let change = json!({ "url": plain.url("/"), "client_certificate": client("x", &clients, &PKCS_ED25519) });
    tenant.client.patch(&path, &change).await.expect(200);
    let made = attempt(&tenant, &webhook).await;
    assert_eq!(made["failure"], "tls", "nothing is sent without what its owner asked for: {made}");
    assert!(plain.arrived().is_empty());
}

#[tokio::test]
async fn a_certificate_that_cannot_serve_is_refused() {
    let clients = authority("clients");
    let tenant = World::shared().tenant("certificates").await;
    let webhook = tenant.webhook("https://example.com/", &["*"]).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let good = client("good", &clients, &PKCS_ED25519);
    let other = client("other", &clients, &PKCS_ED25519);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = params.signed_by(&key, &clients).unwrap().pem();
    let with = |certificate: &Value, key: &Value| json!({ "certificate": certificate, "private_key": key });
    let (certificate, private) = (&good["certificate"], &good["private_key"]);
    for (wrong, field, says) in [
        (with(&json!("none"), private), "certificate", "PEM"),
        (with(&json!(""), private), "certificate", "required"),
        (with(private, private), "certificate", "PEM"),
        (with(certificate, certificate), "private_key", "PEM"),
        (with(certificate, &other["private_key"]), "private_key", "is not the certificate's"),
        (with(&json!(expired), &json!(key.serialize_pem())), "certificate", "has expired"),
        (with(&json!("x".repeat(20_000)), private), "certificate", "16 KiB"),
        (json!({ "certificate": certificate }), "private_key", "required"),
    ] {
        let problem = tenant.client.patch(&path, &json!({ "client_certificate": wrong })).await;
        let said = problem.expect(422);
        assert_eq!(said["field"], format!("client_certificate/{field}"), "{said}");
        assert!(text(&said, "detail").contains(says), "{said}");
        let written = private.as_str().unwrap().lines().nth(1).unwrap();
        assert!(!said.to_string().contains(written), "it is not quoted");
    }
    tenant.client.patch(&path, &json!({ "client_certificate": good })).await.expect(200);
}

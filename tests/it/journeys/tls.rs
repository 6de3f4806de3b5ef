//! Deliveries over TLS go to whom they are meant for, or not at all.

use std::{fs, sync::Arc};

use postrider_tests::{
    receiver::{Receiver, Reply},
    tenant::text,
    world::{Options, World},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A receiver that shows a certificate for `name`.
async fn receiver(name: &str, vouches: &Authority) -> Receiver {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let chain = vec![params.signed_by(&key, vouches).unwrap().der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Receiver::secure(config, |_| Reply::status(200)).await
}

#[tokio::test]
async fn only_a_receiver_that_proves_its_name_gets_anything() {
    let (ours, unknown) = (authority("ours"), authority("unknown"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authority.pem");
    fs::write(&file, ours.pem()).unwrap();
    let args = vec![format!("--trust={}", file.display()), "--resolve=shop.test=127.0.0.1".to_owned()];
    let world = World::start(Options { args, ..Options::default() });
    let tenant = world.tenant("tls").await;

    let attempt = async |receiver: &Receiver| {
        let url = format!("https://shop.test:{}/hook", receiver.address().port());
        let webhook = tenant.webhook(&url, &["*"]).await;
        let event = tenant.publish("order.created", json!({ "n": 1 })).await;
        let delivery = tenant.attempted(text(&webhook, "id"), &event, 1).await;
        delivery["attempts"][0].clone()
    };
    let good = receiver("shop.test", &ours).await;
    let made = attempt(&good).await;
    assert_eq!((&made["failure"], &made["reply"]["status"]), (&Value::Null, &json!(200)), "{made}");
    assert!(made["phases"]["tls_us"].as_u64().unwrap() > 0, "{made}");
    assert_eq!(good.first().await.header("host"), Some(&*format!("shop.test:{}", good.address().port())));

    for (bad, says) in [
        (receiver("shop.test", &unknown).await, "UnknownIssuer"),
        (receiver("other.test", &ours).await, "not valid for name"),
    ] {
        let made = attempt(&bad).await;
        assert_eq!((&made["failure"], &made["reply"]), (&json!("tls"), &Value::Null), "{made}");
        assert!(text(&made, "detail").contains(says), "{made}");
        assert!(bad.arrived().is_empty());
    }
}

#[tokio::test]
async fn a_file_of_no_certificates_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nothing.pem");
    fs::write(&file, "none\n").unwrap();
    let mut runner = std::process::Command::new(postrider_tests::world::runner());
    let ended = runner.arg("--trust").arg(&file).output().unwrap();
    assert!(!ended.status.success());
    let says = String::from_utf8_lossy(&ended.stderr);
    assert!(says.contains("has no certificate in it"), "{says}");
}

//! Receivers good and bad: what becomes of a delivery, and what its record says.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, join_all};
use postrider_tests::{
    poll,
    receiver::{Fault, Receiver, Reply},
    tenant::text,
    world::{World, free_port},
};
use serde_json::{Value, json};

/// How an attempt ends.
#[derive(Clone, Copy)]
enum End {
    /// The receiver took it.
    Delivered(u16),
    /// The receiver answered with a status that is no success.
    Status(u16),
    /// There was no answer: the class of the failure, and how its words begin.
    Broken(&'static str, &'static str),
}

/// Delivers one event to `url`, and checks the record of the first attempt.
async fn check(label: &str, url: String, end: End) -> Value {
    let tenant = World::shared().tenant("deliver").await;
    let webhook = tenant.webhook(&url, &["*"]).await;
    let event = tenant.publish("order.created", json!({})).await;
    let delivery = tenant.attempted(text(&webhook, "id"), &event, 1).await;
    let place = format!("{label}: {delivery}");
    let attempt = &delivery["attempts"][0];
    let (status, failure, words, state) = match end {
        End::Delivered(status) => (json!(status), Value::Null, None, "delivered"),
        End::Status(status) => {
            (json!(status), json!("status"), Some(format!("the receiver answered {status}")), "pending")
        }
        End::Broken(class, words) => (Value::Null, json!(class), Some(words.to_owned()), "pending"),
    };
    assert_eq!(attempt["reply"]["status"], status, "{place}");
    assert_eq!(attempt["failure"], failure, "{place}");
    match words {
        None => assert_eq!(attempt["detail"], Value::Null, "{place}"),
        Some(words) => assert!(text(attempt, "detail").starts_with(&words), "{place}"),
    }
    assert!(attempt["phases"]["total_us"].as_u64().is_some(), "{place}");
    // A second attempt may have been made by now; its record is another test's.
    if delivery["attempt_count"] == 1 {
        assert_eq!(delivery["state"], state, "{place}");
        assert_eq!(delivery["next_attempt_at"].is_string(), state == "pending", "{place}");
    }
    delivery
}

#[tokio::test]
async fn a_status_of_2xx_is_a_success_and_no_other() {
    let receiver = Receiver::start(|request| Reply::status(request.path[1..].parse().unwrap())).await;
    let cases = [200, 201, 202, 204, 299].map(End::Delivered).into_iter();
    let cases = cases.chain([304, 400, 401, 404, 429, 500, 503, 599].map(End::Status));
    join_all(cases.map(|end| {
        let (End::Delivered(status) | End::Status(status)) = end else { unreachable!() };
        check("status", receiver.url(&format!("/{status}")), end)
    }))
    .await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_never_followed() {
    let elsewhere = Receiver::ok().await;
    let location = elsewhere.url("/");
    let receiver = Receiver::start(move |request| {
        Reply::Whole(request.path[1..].parse().unwrap(), vec![("location", location.clone())], Bytes::new())
    })
    .await;
    let statuses = [301, 302, 303, 307, 308];
    join_all(
        statuses.map(|status| check("redirect", receiver.url(&format!("/{status}")), End::Status(status))),
    )
    .await;
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn what_breaks_is_told_by_its_class_and_in_words() {
    let mut cases: Vec<BoxFuture<'static, ()>> = Vec::new();
    for (fault, class, words) in [
        (Fault::NotHttp, "protocol", "what came back is not HTTP"),
        (Fault::HangsUp, "protocol", "the receiver closed the connection without an answer"),
        (Fault::Resets, "protocol", "the exchange broke off"),
        (Fault::BreaksOff, "protocol", "the receiver broke off in the middle of its answer"),
    ] {
        cases.push(Box::pin(async move {
            let receiver = Receiver::broken(fault).await;
            let delivery = check(&format!("{fault:?}"), receiver.url("/"), End::Broken(class, words)).await;
            assert_eq!(delivery["attempts"][0]["address"], receiver.address().to_string());
        }));
    }
    // Nothing listens at a port that was free a moment ago.
    let closed = format!("http://127.0.0.1:{}/", free_port());
    cases.push(
        check("closed", closed, End::Broken("refused", "the connection was refused")).map(drop).boxed(),
    );
    let nowhere = "http://no-such-host.invalid/".to_owned();
    cases.push(
        check("nowhere", nowhere, End::Broken("dns", "the host's name cannot be resolved")).map(drop).boxed(),
    );
    cases.push(Box::pin(async {
        let plain = Receiver::ok().await;
        let url = plain.url("/").replace("http:", "https:");
        check("plain", url, End::Broken("tls", "TLS handshake")).await;
        assert!(plain.arrived().is_empty(), "nothing is said in the clear");
    }));
    join_all(cases).await;
}

#[tokio::test]
async fn one_deadline_holds_over_the_whole_exchange() {
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/never" => Reply::Never,
        "/late" => Reply::Late(Duration::from_secs(25), Box::new(Reply::status(200))),
        "/dripping" => Reply::Dripping,
        "/slow" => Reply::Late(Duration::from_secs(2), Box::new(Reply::status(200))),
        other => panic!("{other}"),
    })
    .await;
    let silent = Receiver::broken(Fault::Silent).await;
    let timeout = End::Broken("timeout", "no whole answer within 15 s");
    let checks = ["/never", "/late", "/dripping"].map(|path| check(path, receiver.url(path), timeout));
    let (ended, mute, _) = tokio::join!(
        join_all(checks),
        check("silent TLS", silent.url("/").replace("http:", "https:"), timeout),
        check("slow", receiver.url("/slow"), End::Delivered(200)),
    );
    for delivery in ended.iter().chain([&mute]) {
        let total = delivery["attempts"][0]["phases"]["total_us"].as_u64().unwrap();
        assert!((15_000_000..18_000_000).contains(&total), "{delivery}");
    }
}

#[tokio::test]
async fn of_an_answer_16_kib_are_kept() {
    let receiver = Receiver::start(|request| {
        let length = request.path[1..].parse().unwrap();
        Reply::Whole(200, Vec::new(), Bytes::from("x".repeat(length)))
    })
    .await;
    join_all([0, 1, 16_383, 16_384, 16_385, 1_000_000].map(|length: usize| {
        let receiver = &receiver;
        async move {
            let delivery = check("length", receiver.url(&format!("/{length}")), End::Delivered(200)).await;
            let reply = &delivery["attempts"][0]["reply"];
            assert_eq!(reply["body"].as_str().unwrap_or_default().len(), length.min(16_384), "{length}");
            assert_eq!(reply["truncated"].as_bool().unwrap_or_default(), length > 16_384, "{length}");
        }
    }))
    .await;
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_ended() {
    let receiver = Receiver::start(|_| Reply::Endless).await;
    let delivery = check("endless", receiver.url("/"), End::Delivered(200)).await;
    let reply = &delivery["attempts"][0]["reply"];
    assert_eq!((text(reply, "body").len(), &reply["truncated"]), (16_384, &json!(true)));
    poll::until(poll::SOON, "its connection is closed", async || receiver.endless_ended().then_some(()))
        .await;
    let sent = receiver.bytes_sent();
    assert!(sent < 64 << 20, "{sent} bytes were taken in");
}

#[tokio::test]
async fn an_answer_that_is_no_text_does_no_harm() {
    let receiver =
        Receiver::start(|_| Reply::Whole(500, Vec::new(), Bytes::from_static(b"\xff\x00<b>\xfe"))).await;
    let delivery = check("bytes", receiver.url("/"), End::Status(500)).await;
    assert!(text(&delivery["attempts"][0]["reply"], "body").contains("<b>"), "{delivery}");
}

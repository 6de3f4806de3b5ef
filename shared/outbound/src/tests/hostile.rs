//! Receivers that mean harm: whatever they do, an exchange ends in its time, and takes in no more than it should.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use postrider::{
    model::Failure::{self, Protocol, Timeout, Tls, TooLarge},
    ports::{Outgoing, Post},
    verdict::Exchange,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{Receiver, outbound};

/// The deadline of every exchange here.
const DEADLINE: Duration = Duration::from_millis(800);
/// What a busy machine may take beside it.
const SLACK: Duration = Duration::from_secs(4);
/// What may be taken off a receiver's hands before it is noticed: nearly all of it waits in the system's buffers.
const TAKEN: u64 = 16 << 20;

/// What a receiver says: once, and then again and again.
#[derive(Clone, Copy)]
struct Script {
    first: &'static str,
    then: &'static str,
    pause: Duration,
    secure: bool,
    ends: Failure,
}

const fn script(first: &'static str, then: &'static str, pause_ms: u64, ends: Failure) -> Script {
    Script { first, then, pause: Duration::from_millis(pause_ms), secure: false, ends }
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

fn outgoing(receiver: &Receiver, secure: bool, body: Bytes) -> Outgoing {
    let mut url = (*receiver.url).clone();
    if secure {
        url.set_scheme("https").unwrap();
    }
    Outgoing {
        url: Arc::new(url),
        headers: HeaderMap::new(),
        body,
        timeout: DEADLINE,
        connect_timeout: DEADLINE,
        token: None,
        certificate: None,
    }
}

async fn post(outgoing: Outgoing) -> Exchange {
    let began = Instant::now();
    let exchange = outbound().post(outgoing, Box::pin(ready(()))).await;
    assert!(began.elapsed() < DEADLINE + SLACK, "{:?}", began.elapsed());
    exchange
}

fn failure(exchange: Exchange, label: &str) -> Failure {
    match exchange.result {
        Err(broken) => broken.failure,
        Ok(answer) => panic!("{label}: {answer:?}"),
    }
}

#[tokio::test]
async fn nothing_that_a_receiver_says_goes_on_for_ever() {
    let scripts = [
        ("a head that drips", script(OK, "x", 20, Timeout)),
        ("a header that drips", script("HTTP/1.1 200 OK\r\nx: ", "x", 20, Timeout)),
        ("headers without end", script(OK, "x-a: b\r\n", 0, TooLarge)),
        ("a header without end", script("HTTP/1.1 200 OK\r\nx: ", "xxxxxxxxxxxxxxxx", 0, TooLarge)),
        ("a status line without end", script("HTTP/1.1 200 ", "xxxxxxxxxxxxxxxx", 0, TooLarge)),
        ("interim answers that drip", script("", "HTTP/1.1 103 Early Hints\r\n\r\n", 20, Timeout)),
        ("a body that drips", script("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", "x", 20, Timeout)),
        (
            "chunks that drip",
            script("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n", 20, Timeout),
        ),
        (
            "a chunk's extension without end",
            script(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
                "xxxxxxxxxxxxxxxx",
                0,
                Protocol,
            ),
        ),
        (
            "trailers without end",
            script("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x-a: b\r\n", 0, Protocol),
        ),
        (
            "a chunk longer than numbers go",
            script(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                "x",
                20,
                Protocol,
            ),
        ),
        ("a length that is none", script("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "x", 20, Protocol)),
        (
            "two lengths",
            script("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "x", 20, Protocol),
        ),
        (
            "a handshake that drips",
            Script { secure: true, ..script("\x16\x03\x03\x3f\x7f", "x", 20, Timeout) },
        ),
        ("a handshake of noise", Script { secure: true, ..script("noise", "noise noise noise", 0, Tls) }),
    ];
    futures(scripts.map(|(label, script)| async move {
        let taken = Arc::new(AtomicU64::new(0));
        let sent = taken.clone();
        let receiver = Receiver::start(move |stream, _| say(stream, script, sent.clone())).await;
        let exchange = post(outgoing(&receiver, script.secure, Bytes::from_static(b"hello"))).await;
        assert_eq!(failure(exchange, label), script.ends, "{label}");
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken < TAKEN, "{label}: {taken}");
    }))
    .await;
}

async fn futures<F: Future<Output = ()> + Send + 'static, const N: usize>(all: [F; N]) {
    for task in all.map(tokio::spawn) {
        task.await.unwrap();
    }
}

async fn say(mut stream: TcpStream, script: Script, taken: Arc<AtomicU64>) {
    let mut bytes = [0; 4096];
    let _ = stream.read(&mut bytes).await;
    let first: Vec<u8> = script.first.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let _ = stream.write_all(&first).await;
    // Without a pause as fast as it goes.
    let then = script.then.repeat(if script.pause.is_zero() { 1024 } else { 1 });
    while stream.write_all(then.as_bytes()).await.is_ok() {
        taken.fetch_add(then.len() as u64, Ordering::SeqCst);
        if !script.pause.is_zero() {
            sleep(script.pause).await;
        }
    }
}

#[tokio::test]
async fn a_receiver_that_closes_its_half_is_done_with() {
    // It hears us out, but has said already that it will say nothing, or no more.
    for said in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let receiver = Receiver::start(move |mut stream, _| async move {
            let _ = stream.write_all(said.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut bytes = [0; 4096];
            while matches!(stream.read(&mut bytes).await, Ok(n) if n > 0) {}
        })
        .await;
        let exchange = post(outgoing(&receiver, false, Bytes::from_static(b"hello"))).await;
        assert_eq!(failure(exchange, said), Protocol, "{said:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_resets_is_done_with_at_any_point() {
    for said in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let receiver = Receiver::start(move |mut stream, _| async move {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(said.as_bytes()).await;
            let _ = stream.set_zero_linger();
        })
        .await;
        let exchange = post(outgoing(&receiver, false, Bytes::from_static(b"hello"))).await;
        assert_eq!(failure(exchange, said), Protocol, "{said:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_listen_is_not_talked_to_for_ever() {
    let receiver = Receiver::start(async |stream, _| {
        sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    // More than the system takes for it.
    let body = Bytes::from(vec![b'x'; 32 << 20]);
    assert_eq!(failure(post(outgoing(&receiver, false, body)).await, "deaf"), Timeout);
    // Nor in the middle of a handshake.
    assert_eq!(failure(post(outgoing(&receiver, true, Bytes::new())).await, "silent"), Timeout);
}

#[tokio::test]
async fn an_answer_does_not_repeat_what_proved_us() {
    let receiver = Receiver::start(async |mut stream, _| {
        let said = super::request(&mut stream).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        super::answer(&mut stream, &answer).await;
    })
    .await;
    let mut message = outgoing(&receiver, false, Bytes::from_static(b"hello"));
    for (name, text, is_sensitive) in [
        ("authorization", "Bearer correct-horse", true),
        ("x-key", "battery-staple", true),
        ("x-short", "abc", true),
        ("x-open", "everybody-knows", false),
    ] {
        let mut value = http::HeaderValue::from_static(text);
        value.set_sensitive(is_sensitive);
        message.headers.insert(name, value);
    }
    let body = post(message).await.result.unwrap().reply.body;
    assert!(!body.contains("correct-horse") && !body.contains("battery-staple"), "{body}");
    for kept in
        ["authorization: Bearer [secret]", "x-key: [secret]", "x-short: abc", "x-open: everybody-knows"]
    {
        assert!(body.contains(kept), "{body}");
    }
}

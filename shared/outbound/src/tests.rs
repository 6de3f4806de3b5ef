//! Against receivers that do with their connections what they please.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use postrider::{
    model::Failure,
    ports::{LATE, Outgoing, Post},
    verdict::Exchange,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use url::Url;

use crate::{Outbound, Settings};

mod hostile;
mod rebinding;

/// A receiver on loopback that gives each connection to `serve`, with its number from 1 on.
struct Receiver {
    url: Arc<Url>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let opened = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, opened.fetch_add(1, Ordering::SeqCst) + 1));
            }
        });
        Self { url: Arc::new(url), connections }
    }

    async fn post(&self, outbound: &Outbound) -> Exchange {
        self.post_with(outbound, Box::pin(ready(()))).await
    }

    async fn post_with(&self, outbound: &Outbound, late: BoxFuture<'_, ()>) -> Exchange {
        let url = self.url.clone();
        let body = Bytes::from_static(b"hello");
        let (timeout, connect_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
        let (headers, token, certificate) = (HeaderMap::new(), None, None);
        let message = Outgoing { url, headers, body, timeout, connect_timeout, token, certificate };
        outbound.post(message, late).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn outbound() -> Outbound {
    Outbound::new(Settings { allow_private: true, ..Settings::default() }).unwrap()
}

/// Reads one request, up to the end of its body; none: the connection ended.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\nhello") {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes).await {
            Ok(n) if n > 0 => text.extend_from_slice(&bytes[..n]),
            _ => return None,
        }
    }
    String::from_utf8(text).ok()
}

async fn answer(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn status(exchange: &Exchange) -> u16 {
    exchange.result.as_ref().unwrap().reply.status
}

#[tokio::test]
async fn a_connection_serves_many_messages_and_only_the_first_dials() {
    let receiver = Receiver::start(async |mut stream, _| {
        while let Some(text) = request(&mut stream).await {
            assert!(
                text.starts_with("POST /hook?a=b HTTP/1.1\r\n") && text.contains("host: 127.0.0.1:"),
                "{text}"
            );
            answer(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
                .await;
        }
    })
    .await;
    let outbound = outbound();
    for turn in 0..3 {
        let exchange = receiver.post(&outbound).await;
        assert_eq!(exchange.sent["accept"], "*/*");
        let answer = exchange.result.unwrap();
        assert_eq!(
            (&*answer.reply.body, &answer.headers["transfer-encoding"]),
            ("ok", &"chunked".parse().unwrap())
        );
        assert_eq!(exchange.phases.connect_us.is_some(), turn == 0);
        assert!(exchange.phases.first_byte_us.is_some() && exchange.address.is_some());
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_receiver_ends_is_not_used_again() {
    let receiver = Receiver::start(async |mut stream, _| {
        let _ = request(&mut stream).await;
        answer(&mut stream, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        // Left open, against what it says: nothing more may come.
        assert_eq!(request(&mut stream).await, None);
    })
    .await;
    let outbound = outbound();
    for turn in 1..=3 {
        assert_eq!(status(&receiver.post(&outbound).await), 204);
        assert_eq!(receiver.connections(), turn);
    }
}

#[tokio::test]
async fn a_connection_that_died_while_it_was_kept_is_noticed_before_use() {
    let receiver = Receiver::start(async |mut stream, _| {
        let _ = request(&mut stream).await;
        answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let outbound = outbound();
    for _ in 0..3 {
        assert_eq!(status(&receiver.post(&outbound).await), 200);
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(receiver.connections(), 3);
}

#[tokio::test]
async fn a_message_that_meets_a_dying_connection_goes_over_a_new_one() {
    let receiver = Receiver::start(async |mut stream, number| {
        let _ = request(&mut stream).await;
        answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        // The second message on the first connection is taken, and never answered.
        if request(&mut stream).await.is_some() && number > 1 {
            answer(&mut stream, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let outbound = outbound();
    assert_eq!(status(&receiver.post(&outbound).await), 200);
    let exchange = receiver.post(&outbound).await;
    assert_eq!(status(&exchange), 200);
    assert!(exchange.phases.connect_us.is_some());
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_new_connection_that_ends_without_an_answer_is_a_failure() {
    let receiver = Receiver::start(async |mut stream, _| drop(request(&mut stream).await)).await;
    let exchange = receiver.post(&outbound()).await;
    assert_eq!(exchange.result.unwrap_err().failure, Failure::Protocol);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn the_rest_of_an_endless_answer_is_left_with_its_connection() {
    let receiver = Receiver::start(async |mut stream, _| {
        let _ = request(&mut stream).await;
        answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n").await;
        while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
    })
    .await;
    let outbound = outbound();
    for turn in 1..=2 {
        let answer = receiver.post(&outbound).await.result.unwrap();
        assert!(answer.reply.truncated && answer.reply.body.len() == 16 * 1024);
        assert_eq!(receiver.connections(), turn);
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let receiver = Receiver::start(async |mut stream, _| {
        let _ = request(&mut stream).await;
        answer(&mut stream, "HTTP/1.1 200 OK\r\nX: ").await;
        while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
    })
    .await;
    assert_eq!(receiver.post(&outbound()).await.result.unwrap_err().failure, Failure::TooLarge);
}

#[tokio::test]
async fn a_head_of_more_headers_than_are_read_is_refused() {
    let receiver = Receiver::start(async |mut stream, _| {
        let _ = request(&mut stream).await;
        answer(&mut stream, &format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(101))).await;
    })
    .await;
    assert_eq!(receiver.post(&outbound()).await.result.unwrap_err().failure, Failure::TooLarge);
}

#[tokio::test]
async fn an_address_is_on_record_though_the_answer_never_comes() {
    let receiver = Receiver::start(async |mut stream, _| {
        let _ = request(&mut stream).await;
        sleep(Duration::from_mins(1)).await;
    })
    .await;
    let outgoing = Outgoing {
        url: receiver.url.clone(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"hello"),
        timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_secs(5),
        token: None,
        certificate: None,
    };
    let exchange = outbound().post(outgoing, Box::pin(ready(()))).await;
    assert_eq!(exchange.result.unwrap_err().failure, Failure::Timeout);
    assert!(exchange.address.is_some() && exchange.phases.connect_us.is_some());
    assert!(exchange.phases.first_byte_us.is_none());
}

#[tokio::test]
async fn whoever_lets_wait_for_more_than_a_second_is_known_to_before_he_answers() {
    for (pause, expected) in [(Duration::ZERO, 0), (LATE + Duration::from_millis(500), 1)] {
        let receiver = Receiver::start(move |mut stream, _| async move {
            let _ = request(&mut stream).await;
            sleep(pause).await;
            answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        })
        .await;
        let (said, began) = (AtomicUsize::new(0), Instant::now());
        let late = async {
            assert!(began.elapsed() < pause);
            said.fetch_add(1, Ordering::SeqCst);
        };
        let exchange = receiver.post_with(&outbound(), Box::pin(late)).await;
        assert!(exchange.result.is_ok(), "{:?}", exchange.result);
        assert_eq!(said.into_inner(), expected);
    }
}

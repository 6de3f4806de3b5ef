//! Clients that take their time, ask for too much, or only sit there: each costs a bounded time and little memory, and
//! nobody else's events wait for them.

use std::time::{Duration, Instant};

use futures::future::join_all;
use postrider_tests::{
    receiver::Receiver,
    world::{OPERATOR, Options, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What the runner gives a client for its headers, for its body, and for being late in a debug build.
const HEADERS: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(20);
const LATE: Duration = Duration::from_secs(10);
/// More than the runner serves at once; the rest waits where the system keeps what is to be accepted.
const IDLE: usize = 600;
const MIB: u64 = 1 << 20;

/// Sends `head`, and then a byte every half second, until the other side has enough; what it answered, and after what time.
async fn drip(world: &World, head: &str) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut some = [0; 1024];
        match timeout(Duration::from_millis(500), stream.read(&mut some)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => answer.extend_from_slice(&some[..read]),
            Err(_) => drop(stream.write_all(b"x").await),
        }
        assert!(began.elapsed() < BODY + 3 * LATE, "it never ends: {}", String::from_utf8_lossy(&answer));
    }
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

/// Headers that do not end, as fast as they are taken.
async fn flood(world: &World) -> String {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream.write_all(b"GET /v1/webhooks HTTP/1.1\r\nhost: x\r\nx-long: ").await.unwrap();
    let chunk = [b'x'; 8192];
    for _ in 0..256 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    timeout(HEADERS + LATE, stream.read_to_end(&mut answer)).await.expect("it ends").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_his_time_is_not_waited_for() {
    let world = World::start(Options::default());
    let receiver = Receiver::ok().await;
    let tenant = world.tenant("slow-clients").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    let before = world.resident();
    let headers = "GET /v1/webhooks HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned();
    let body = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {OPERATOR}\r\ncontent-length: 1000\r\n\r\n{{"
    );
    let slow_headers = join_all((0..50).map(|_| drip(&world, &headers)));
    let slow_bodies = join_all((0..50).map(|_| drip(&world, &body)));
    let floods = join_all((0..50).map(|_| flood(&world)));
    let others = async {
        tenant.publish("order.created", serde_json::json!({})).await;
        receiver.first().await;
    };
    let (slow_headers, slow_bodies, floods, ()) = futures::join!(slow_headers, slow_bodies, floods, others);
    for (answer, after) in slow_headers {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(after < HEADERS + LATE, "{after:?}");
    }
    for (answer, after) in slow_bodies {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
        assert!((BODY / 2..BODY + LATE).contains(&after), "{after:?}");
    }
    for answer in floods {
        // Who is still sending when the connection is closed may not hear why.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let grown = world.resident().saturating_sub(before);
    assert!(grown < 48 * MIB, "{} MiB", grown / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_only_sit_there_are_bounded() {
    let world = World::start(Options::default());
    let receiver = Receiver::ok().await;
    let tenant = world.tenant("idlers").await;
    tenant.webhook(&receiver.url("/"), &["*"]).await;
    // From here on the tenant's client has a connection of its own.
    tenant.publish("order.created", serde_json::json!({})).await;
    let (before, began) = (world.resident(), Instant::now());
    let mut idle = Vec::new();
    while idle.len() < IDLE {
        // No faster than they can be accepted: what the system's queue has no room for would only seem to be connected.
        let some = join_all((0..30).map(|_| TcpStream::connect(world.address()))).await;
        idle.extend(some.into_iter().map(|stream| stream.expect("a connection")));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who was there before goes on as ever.
    for n in 2..=20 {
        tenant.publish("order.created", serde_json::json!({})).await;
        receiver.wait(n).await;
    }
    let unhindered = began.elapsed();
    assert!(unhindered < HEADERS, "{unhindered:?}");
    let grown = world.resident().saturating_sub(before);
    assert!(grown < 48 * MIB, "{} MiB", grown / MIB);
    // Who comes later waits until those before him were sent away.
    world.operator().get("/v1/tenants").await.expect(200);
    let waited = began.elapsed();
    assert!(waited < 2 * HEADERS + LATE, "{waited:?}");
    let ends = idle
        .into_iter()
        .map(|mut stream| async move { timeout(2 * HEADERS + LATE, stream.read(&mut [0; 1])).await.is_ok() });
    let left = join_all(ends).await.into_iter().filter(|ended| !ended).count();
    assert_eq!(left, 0, "each is sent away");
}

//! Requests as no well-behaved client writes them, byte by byte.

use std::time::Duration;

use postrider_tests::world::World;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends these bytes and reads what comes until the connection closes; its status, if it is an answer at all.
pub(super) async fn say(bytes: &[u8]) -> Option<u16> {
    let exchange = async {
        let mut stream = TcpStream::connect(World::shared().address()).await.ok()?;
        stream.write_all(bytes).await.ok();
        // The rest of a request that is not whole never comes.
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let line = String::from_utf8_lossy(&answer);
        line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()
    };
    timeout(Duration::from_secs(30), exchange).await.expect("an end")
}

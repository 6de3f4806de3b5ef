//! Requests as no well-behaved client writes them, byte by byte.

use std::time::Duration;

use postrider_tests::world::World;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends these bytes and reads what comes until the connection closes; the status of the answer, if there is one.
/// After `patience` without one, it is told that nothing more comes.
pub(super) async fn say(bytes: &[u8], patience: Duration) -> Option<u16> {
    let exchange = async {
        let mut stream = TcpStream::connect(World::shared().address()).await.ok()?;
        stream.write_all(bytes).await.ok();
        let mut answer = vec![0; 4096];
        let mut length = match timeout(patience, stream.read(&mut answer)).await {
            Ok(read) => read.unwrap_or_default(),
            Err(_) => 0,
        };
        stream.shutdown().await.ok();
        if length == 0 {
            length = stream.read(&mut answer).await.unwrap_or_default();
        }
        let line = String::from_utf8_lossy(&answer[..length]);
        line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()
    };
    timeout(Duration::from_secs(30), exchange).await.expect("an end")
}

//! Waiting for what is to happen: often looked at, never slept for.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once. Only a failing test waits so long.
pub const SOON: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `look` finds something, or panics with what it waited for.
pub async fn until<T, F: Future<Output = Option<T>>>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "within {within:?}, this did not happen: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for a test that must stop its thread meanwhile.
pub fn until_blocking<T>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(format!("within {within:?}, this did not happen: {what}"));
        }
        std::thread::sleep(PAUSE);
    }
}

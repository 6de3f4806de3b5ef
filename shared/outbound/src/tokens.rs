//! Access tokens kept until a little before their end. Of messages that need the same one at once, one gets it for all.

use std::sync::Arc;

use http::HeaderValue;
use postrider::{model::TokenSource, token::Token, verdict::Broken};
use quick_cache::sync::Cache;
use tokio::time::Instant;

/// Tokens at most: each may be 8 KiB long.
const CAPACITY: usize = 1000;

/// A token, and until when it is used.
#[derive(Debug)]
pub(crate) struct Kept {
    token: Token,
    until: Instant,
}

impl Kept {
    pub(crate) fn authorization(&self) -> &HeaderValue {
        &self.token.authorization
    }
}

/// Tokens by the fingerprint of where they come from, which has the secret in it: who shares one could get it himself.
pub(crate) struct Tokens(Cache<[u8; 32], Arc<Kept>>);

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl Tokens {
    /// The token that is kept, or else the one that `fetch` gets.
    pub(crate) async fn get(
        &self,
        source: &TokenSource,
        fetch: impl Future<Output = Result<Token, Broken>>,
    ) -> Result<Arc<Kept>, Broken> {
        let name = source.fingerprint();
        self.0.remove_if(&name, |kept| kept.until <= Instant::now());
        let got = async {
            let token = fetch.await?;
            Ok(Arc::new(Kept { until: Instant::now() + token.lasts, token }))
        };
        self.0.get_or_insert_async(&name, got).await
    }

    /// Drops a token that a receiver does not know, if no other has taken its place.
    pub(crate) fn forget(&self, source: &TokenSource, token: &Arc<Kept>) {
        self.0.remove_if(&source.fingerprint(), |kept| Arc::ptr_eq(kept, token));
    }
}

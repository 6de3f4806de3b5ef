//! Centry's API; the plain cases are in `tests/dialects/centry`.

use super::golden::{self, Keys};

#[tokio::test]
async fn what_is_documented_is_what_happens() {
    let keys = Keys {
        header: "authorization",
        value: |key| format!("Bearer {key}"),
        content_type: "application/json; charset=utf-8",
    };
    golden::play_all("centry", &keys).await;
}

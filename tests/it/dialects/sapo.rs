//! Sapo's API, of both of its products; the plain cases are in `tests/dialects/sapo`.

use super::golden::{self, Keys};

#[tokio::test]
async fn what_is_documented_is_what_happens() {
    let keys = Keys {
        header: "x-sapo-access-token",
        value: str::to_owned,
        content_type: "application/json; charset=utf-8",
    };
    golden::play_all("sapo", &keys).await;
}

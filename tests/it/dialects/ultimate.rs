//! Ultimate Multisite's REST API; the plain cases are in `tests/dialects/ultimate-multisite`.

use base64::{Engine, engine::general_purpose::STANDARD};

use postrider_tests::world::World;

use super::golden::{self, Keys};

const KEYS: Keys = Keys {
    header: "authorization",
    value: |key| {
        let halves = key.strip_prefix("prk_").unwrap_or(key).replacen('_', ":", 1);
        format!("Basic {}", STANDARD.encode(halves))
    },
    content_type: "application/json; charset=UTF-8",
};

golden::documented!("ultimate-multisite", KEYS);

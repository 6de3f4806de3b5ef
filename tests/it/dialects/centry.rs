//! Centry's API; the plain cases are in `tests/dialects/centry`.

use postrider_tests::world::World;

use super::golden::{self, Keys};

const KEYS: Keys = Keys {
    header: "authorization",
    value: |key| format!("Bearer {key}"),
    content_type: "application/json; charset=utf-8",
};

golden::documented!("centry", KEYS);

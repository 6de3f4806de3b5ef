//! Ultimate Multisite's lists: the parameters that `BerlinDB` takes.

use serde_json::Value;

use super::json::Query;

/// What a list's parameters leave: those of the table's columns, `search`, `orderby`, `order`, `offset`, `number`.
pub(super) fn listed(mut views: Vec<Value>, query: &Query) -> Vec<Value> {
    const COLUMNS: [&str; 8] =
        ["id", "name", "webhook_url", "event", "event_count", "active", "hidden", "integration"];
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        other => other.to_string(),
    };
    for column in COLUMNS {
        if let Some(asked) = query.get(column) {
            let asked = match asked {
                "true" => "1",
                "false" => "0",
                other => other,
            };
            views.retain(|view| text(&view[column]) == asked);
        }
    }
    if let Some(words) = query.get("search").filter(|words| !words.is_empty()) {
        let words = words.to_lowercase();
        views.retain(|view| {
            ["name", "webhook_url", "event"].iter().any(|c| text(&view[*c]).to_lowercase().contains(&words))
        });
    }
    let by =
        query.get("orderby").filter(|by| COLUMNS.contains(by) || by.starts_with("date_")).unwrap_or("id");
    views.sort_by(|a, b| match (a[by].as_u64(), b[by].as_u64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => text(&a[by]).cmp(&text(&b[by])),
    });
    if query.get("order").is_some_and(|order| order.eq_ignore_ascii_case("desc")) {
        views.reverse();
    }
    let count = |name: &str| query.get(name).and_then(|text| text.parse().ok());
    views.into_iter().skip(count("offset").unwrap_or_default()).take(count("number").unwrap_or(100)).collect()
}

//! The published examples, and what holds of every pattern.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn the_published_examples_match_as_they_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filters");
    let mut checked = 0;
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let golden: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let filter = Filter::compile(&case["pattern"]).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(json!(filter.matches(&case["event"])), case["matches"], "{case}");
            let misses = filter.explain(&case["event"]);
            assert_eq!(json!(misses.is_empty()), case["matches"], "{case}: {misses:?}");
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn each_row_of_the_page_is_so() {
    let page = include_str!("../../../docs/filters.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `{")).collect();
    assert!(rows.len() > 20);
    for row in rows {
        let cells: Vec<Value> =
            row.split('`').skip(1).step_by(2).map(|cell| serde_json::from_str(cell).unwrap()).collect();
        let [pattern, taken, refused] = cells.as_slice() else { panic!("{row}") };
        let filter = Filter::of_events(pattern).unwrap();
        assert!(filter.matches(taken) && !filter.matches(refused), "{row}");
    }
}

#[test]
fn what_is_wrong_with_a_pattern_is_said_with_its_path() {
    let deep = |levels: usize| (1..levels).fold(json!(["x"]), |inner, _| json!({ "a": inner }));
    let two = json!({ "$or": [{ "x": [1] }, { "y": [1] }] });
    let many: serde_json::Map<_, _> = (0..10).map(|n| (format!("f{n}"), two.clone())).collect();
    for (pattern, field) in [
        (json!(7), "filter"),
        (json!(["a"]), "filter"),
        (json!({}), "filter"),
        (json!({ "a": ["x".repeat(4096)] }), "filter"),
        (json!({ "a": "x" }), "filter/a"),
        (json!({ "a": null }), "filter/a"),
        (json!({ "a": [] }), "filter/a"),
        (json!({ "a": {} }), "filter/a"),
        (json!({ "a": { "b": { "c": 1 } } }), "filter/a/b/c"),
        (json!({ "a": ["x", ["y"]] }), "filter/a/1"),
        (json!({ "a": [{}] }), "filter/a/0"),
        (json!({ "a": [{ "prefix": "a", "suffix": "b" }] }), "filter/a/0"),
        (json!({ "a": [{ "begins": "a" }] }), "filter/a/0/begins"),
        (json!({ "a": [{ "prefix": 5 }] }), "filter/a/0/prefix"),
        (json!({ "a": [{ "prefix": { "suffix": "a" } }] }), "filter/a/0/prefix/suffix"),
        (json!({ "a": [{ "suffix": { "equals-ignore-case": 1 } }] }), "filter/a/0/suffix/equals-ignore-case"),
        (json!({ "a": [{ "wildcard": "a**b" }] }), "filter/a/0/wildcard"),
        (json!({ "a": [{ "wildcard": "a\\b" }] }), "filter/a/0/wildcard"),
        (json!({ "a": [{ "wildcard": "a\\" }] }), "filter/a/0/wildcard"),
        (json!({ "a": [{ "exists": "yes" }] }), "filter/a/0/exists"),
        (json!({ "a": [{ "cidr": "10.0.0.0" }] }), "filter/a/0/cidr"),
        (json!({ "a": [{ "cidr": "10.0.0.0/33" }] }), "filter/a/0/cidr"),
        (json!({ "a": [{ "cidr": 10 }] }), "filter/a/0/cidr"),
        (json!({ "a": [{ "numeric": ">5" }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "numeric": [] }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "numeric": [">"] }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "numeric": [">", "5"] }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "numeric": ["!=", 5] }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "numeric": ["<", 5, ">", 1] }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "numeric": [">", 5, "<", 5] }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "numeric": [">", 5, "<", 9, "<", 10] }] }), "filter/a/0/numeric"),
        (json!({ "a": [{ "anything-but": [] }] }), "filter/a/0/anything-but"),
        (json!({ "a": [{ "anything-but": null }] }), "filter/a/0/anything-but"),
        (json!({ "a": [{ "anything-but": ["a", 1] }] }), "filter/a/0/anything-but"),
        (json!({ "a": [{ "anything-but": ["a", true] }] }), "filter/a/0/anything-but/1"),
        (json!({ "a": [{ "anything-but": { "prefix": "" } }] }), "filter/a/0/anything-but/prefix"),
        (json!({ "a": [{ "anything-but": { "prefix": ["a", 1] } }] }), "filter/a/0/anything-but/prefix/1"),
        (json!({ "a": [{ "anything-but": { "numeric": ["=", 1] } }] }), "filter/a/0/anything-but/numeric"),
        (json!({ "$or": { "a": [1] } }), "filter/$or"),
        (json!({ "$or": [{ "a": [1] }] }), "filter/$or"),
        (json!({ "$or": [{ "a": [1] }, ["b"]] }), "filter/$or/1"),
        (json!({ "$or": [{ "a": [1] }, { "prefix": ["b"] }] }), "filter/$or/1/prefix"),
        (json!({ "a": [1], "$or": [{ "a": [2] }, { "b": [1] }] }), "filter/a"),
        (json!({ "a": { "b": [1] }, "$or": [{ "a": { "b": [2] } }, { "c": [1] }] }), "filter/a/b"),
        (json!({ "a": { "b": [1] }, "$or": [{ "a": [2] }, { "c": [1] }] }), "filter/a"),
        (json!({ "a": [1], "$or": [{ "a": { "b": [2] } }, { "c": [1] }] }), "filter/a/b"),
        (deep(17), "filter/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"),
        (json!(many), "filter"),
    ] {
        match Filter::compile(&pattern) {
            Err(Error::Invalid { field: found, .. }) => assert_eq!(found, field, "{pattern}"),
            other => panic!("{pattern}: {other:?}"),
        }
    }
    for pattern in [
        deep(15),
        json!({ "a/b": [1], "a": { "c": [1] }, "$or": [{ "a": { "b": [2] } }, { "a": { "d": [1] } }] }),
        json!({ "$or": [{ "a": [1] }, { "a": { "b": [2] } }] }),
    ] {
        assert!(Filter::compile(&pattern).is_ok(), "{pattern}");
    }
    for (pattern, field) in [
        (json!({ "detail": { "a": [1] } }), "filter/detail"),
        (json!({ "$or": [{ "topic": ["a.b"] }, { "data": { "a": [1] } }] }), "filter/data"),
    ] {
        assert!(Filter::compile(&pattern).is_ok());
        assert!(
            matches!(Filter::of_events(&pattern), Err(Error::Invalid { field: found, .. }) if found == field)
        );
    }
}

#[test]
fn a_miss_says_what_was_wanted_and_what_was_found() {
    let told = |pattern: Value, event: Value| -> Vec<String> {
        let filter = Filter::compile(&pattern).unwrap();
        filter.explain(&event).iter().map(ToString::to_string).collect()
    };
    let event = json!({ "topic": "order.created", "payload": {
        "total": 9.5, "state": "new", "tags": ["a", "b"], "long": "x".repeat(200),
        "items": [{ "sku": "A", "qty": 1 }, { "sku": "B", "qty": 2 }],
    } });
    for (pattern, expected) in [
        (
            json!({ "total": [{ "numeric": [">", 100] }] }),
            "payload.total: 9.5 is not a number greater than 100",
        ),
        (
            json!({ "total": [{ "numeric": [">=", 10, "<", 20] }, null] }),
            "payload.total: 9.5 is not a number from 10 and less than 20 or null",
        ),
        (
            json!({ "state": ["paid", { "prefix": "ship" }] }),
            "payload.state: \"new\" is not \"paid\" or a text that begins with \"ship\"",
        ),
        (
            json!({ "state": [{ "anything-but": ["new", "old"] }] }),
            "payload.state: \"new\" is not anything but \"new\" or \"old\"",
        ),
        (json!({ "state": [{ "exists": false }] }), "payload.state: \"new\" is not absent"),
        (json!({ "none": [{ "exists": true }] }), "payload.none: there is nothing, not present"),
        (json!({ "none": { "deep": ["x"] } }), "payload.none.deep: there is nothing, not \"x\""),
        (json!({ "tags": ["c"] }), "payload.tags: [\"a\",\"b\"] is not \"c\""),
        (json!({ "items": { "sku": ["B"], "qty": [1] } }), "payload.items.sku: \"A\" is not \"B\""),
    ] {
        let mut found = told(json!({ "topic": ["order.created"], "payload": pattern }), event.clone());
        found.sort();
        assert!(found.iter().any(|miss| miss == expected) || found == [expected], "{found:?}\n{expected}");
    }
    assert_eq!(
        told(json!({ "$or": [{ "topic": ["a.b"] }, { "payload": { "total": [1] } }] }), event.clone()),
        ["$or.0.topic: \"order.created\" is not \"a.b\"", "$or.1.payload.total: 9.5 is not 1"]
    );
    let long = told(json!({ "payload": { "long": ["y"] } }), event.clone());
    assert!(long[0].chars().count() < 150 && long[0].contains('…'), "{long:?}");
    // Each part is met somewhere, but not by one element.
    let apart = json!({ "payload": { "items": { "sku": ["A"] } }, "$or": [
        { "payload": { "items": { "qty": [2] } } }, { "topic": ["a.b"] },
    ] });
    assert_eq!(told(apart, event).len(), 1);
}

#[test]
fn numbers_are_compared_by_value_and_texts_in_any_case_by_character() {
    let matches = |wanted: Value, found: Value| {
        Filter::compile(&json!({ "a": [wanted] })).unwrap().matches(&json!({ "a": found }))
    };
    for (wanted, found, expected) in [
        (json!(1), json!(1.0), true),
        (json!(1e3), json!(1000), true),
        (json!(-0.0), json!(0), true),
        (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), false),
        (json!(u64::MAX), json!(u64::MAX), true),
        (json!(1), json!("1"), false),
        (json!("1"), json!(1), false),
        (json!(true), json!("true"), false),
        (json!(false), json!(false), true),
        (json!({ "equals-ignore-case": "straße" }), json!("STRASSE"), true),
        (json!({ "equals-ignore-case": "ĐƠN HÀNG" }), json!("đơn hàng"), true),
        (json!({ "equals-ignore-case": "a" }), json!("á"), false),
        (json!({ "suffix": { "equals-ignore-case": "HÀNG" } }), json!("đơn hàng"), true),
        (json!({ "wildcard": "*a*b*a" }), json!("abba"), true),
        (json!({ "wildcard": "*a*b*a" }), json!("aba"), true),
        (json!({ "wildcard": "a*a" }), json!("a"), false),
        (json!({ "wildcard": "a*ba" }), json!("aba"), true),
        (json!({ "wildcard": "" }), json!(""), true),
        (json!({ "wildcard": "a" }), json!("ab"), false),
        (json!({ "anything-but": "x" }), json!(null), true),
        (json!({ "anything-but": "x" }), json!(["x", "y"]), true),
        (json!({ "anything-but": "x" }), json!(["x"]), false),
        (json!({ "anything-but": "x" }), json!([]), false),
        (json!({ "anything-but": "x" }), json!({ "b": 1 }), false),
        (json!({ "exists": true }), json!([]), false),
        (json!({ "exists": true }), json!([[null]]), true),
    ] {
        assert_eq!(matches(wanted.clone(), found.clone()), expected, "{wanted} {found}");
    }
}

/// The worst that a pattern of the greatest length can do to the longest of events: long, but not for ever.
#[test]
fn no_pattern_takes_for_ever() {
    let began = std::time::Instant::now();
    let stars = "*a".repeat(2000);
    let filter = Filter::compile(&json!({ "a": [{ "wildcard": stars }] })).unwrap();
    assert!(!filter.matches(&json!({ "a": format!("{}b", "a".repeat(250_000)) })));

    // Each element of the list could meet each of the 243 combinations, but for the last field.
    let either = |n: usize| {
        let each = ["a", "b", "c"].map(|name| json!({ format!("{name}{n}"): [1] }));
        json!({ "$or": each })
    };
    let pattern = (0..5).fold(
        json!({ "p": { "z": [1] } }),
        |inner, n| json!({ "p": either(n), "$or": [inner, { "never": ["there"] }] }),
    );
    let item: serde_json::Map<_, _> =
        (0..5).flat_map(|n| ["a", "b", "c"].map(|name| (format!("{name}{n}"), json!(1)))).collect();
    let filter = Filter::compile(&pattern).unwrap();
    assert!(!filter.matches(&json!({ "p": vec![json!(item); 10] })));
    assert!(filter.matches(&json!({ "p": vec![json!(item); 10_000] })), "it is given up, and let through");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c*\\\\$]{0,4}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("$or".to_owned()),
        Just("prefix".to_owned()),
        Just("anything-but".to_owned()),
        Just("numeric".to_owned()),
        Just("exists".to_owned()),
        Just("wildcard".to_owned()),
        "[a-c]".prop_map(String::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A pattern of an event's own leaves; none: it has none.
fn of_leaves(event: &Value) -> Option<Value> {
    match event {
        Value::Object(map) => {
            let fields: serde_json::Map<_, _> = map
                .iter()
                .filter(|(name, _)| *name != "$or")
                .filter_map(|(name, value)| Some((name.clone(), of_leaves(value)?)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        // One element stands for all of a list.
        Value::Array(items) => items.iter().find_map(of_leaves),
        leaf => Some(json!([leaf])),
    }
}

proptest! {
    #[test]
    fn no_pattern_and_no_event_makes_it_panic(pattern in json_value(), event in json_value()) {
        if let Ok(filter) = Filter::compile(&pattern) {
            prop_assert_eq!(filter.explain(&event).is_empty(), filter.matches(&event));
            let read: Filter = serde_json::from_str(&serde_json::to_string(&filter).unwrap()).unwrap();
            prop_assert_eq!(read.matches(&event), filter.matches(&event));
        }
    }

    #[test]
    fn an_event_matches_its_own_leaves(event in json_value()) {
        let Some(pattern @ Value::Object(_)) = of_leaves(&event) else { return Ok(()) };
        if let Ok(filter) = Filter::compile(&pattern) {
            prop_assert!(filter.matches(&event), "{} {}", pattern, event);
            // What is asked for beside is not there.
            let mut more = pattern.clone();
            more["never"] = json!(["there"]);
            prop_assert!(!Filter::compile(&more).unwrap().matches(&event));
        }
    }

    #[test]
    fn anything_but_takes_what_the_rest_does_not(text in "[a-cA-C]{0,4}", wanted in "[a-cA-C]{1,3}") {
        let of = |matcher: Value| Filter::compile(&json!({ "a": [matcher] })).unwrap();
        let event = json!({ "a": text });
        for matcher in ["prefix", "suffix", "equals-ignore-case", "wildcard"] {
            let plain = json!({ matcher: wanted });
            prop_assert_ne!(
                of(json!({ "anything-but": plain })).matches(&event), of(plain).matches(&event)
            );
        }
        prop_assert_ne!(of(json!({ "anything-but": wanted })).matches(&event), of(json!(wanted)).matches(&event));
        let absent = of(json!({ "anything-but": wanted })).matches(&json!({ "b": 1 }));
        prop_assert!(!absent);
    }
}

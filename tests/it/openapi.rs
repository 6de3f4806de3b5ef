//! The documents for machines: they name what is served, and what is served is as they say.

use std::{collections::BTreeSet, fs};

use http::Method;
use postrider_tests::world::{World, repository};
use serde_json::{Map, Value, json};

use crate::template;

async fn document(path: &str) -> Value {
    World::shared().client().get(path).await.expect(200)
}

/// A path without the names of its variables: the template and the documents may call them differently.
fn bare(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_is_described_and_what_is_described_is_a_route() {
    let document = document("/openapi.json").await;
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            // A last segment such as {id}.json is one variable to API Gateway.
            let path = path.replace("}.json", "}");
            assert!(
                described.insert(format!("{} {}", method.to_uppercase(), bare(&path))),
                "{method} {path}"
            );
        }
    }
    let routes = template::routes().into_iter().filter(|(_, path, _)| !path.starts_with("/api/jsonrpc"));
    let routes: BTreeSet<_> = routes.map(|(method, path, _)| format!("{method} {}", bare(&path))).collect();
    let missing: Vec<_> = routes.difference(&described).collect();
    let invented: Vec<_> = described.difference(&routes).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not described: {missing:?}; no route: {invented:?}");
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_has_a_name() {
    for path in ["/openapi.json", "/openrpc.json"] {
        let document = document(path).await;
        let mut references = Vec::new();
        find(&document, "$ref", &mut references);
        assert!(references.len() > 5);
        for reference in references {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
        }
        let mut topics = Vec::new();
        find(&document, "x-topics", &mut topics);
        assert!(topics.is_empty(), "{path}: the names stand in their place");
    }
    let document = document("/openapi.json").await;
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    let operations: Vec<_> = operations.filter(|(name, _)| *name != "parameters").collect();
    let named: BTreeSet<_> = operations.iter().map(|(_, one)| one["operationId"].as_str().unwrap()).collect();
    assert_eq!(named.len(), operations.len());
}

fn find(value: &Value, name: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(name).cloned());
            fields.values().for_each(|value| find(value, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| find(item, name, found)),
        _ => {}
    }
}

/// A part of the document with what it refers to, as a schema on its own.
fn schema(document: &Value, part: &Value) -> Value {
    let mut schema = part.clone();
    schema["components"] = document["components"].clone();
    schema
}

fn followed<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// What a documented answer looks like, without the marks of a shape.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) if text == "~number" => json!(1),
        Value::String(text) => json!(text.strip_prefix('~').unwrap_or(text)),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// The operation that a request is for.
fn operation<'a>(document: &'a Value, method: &Method, path: &str) -> Option<&'a Value> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |pattern: &str| {
        let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        let same = |(a, b): (&&str, &str)| {
            *a == b || (a.starts_with('{') && !b.is_empty() && b.ends_with(a.split('}').nth(1).unwrap()))
        };
        pattern.len() == path.len() && pattern.iter().zip(path).all(same)
    };
    let paths = document["paths"].as_object().unwrap();
    // What is named in full comes before what a variable would take.
    let mut found: Vec<_> = paths.iter().filter(|(pattern, _)| fits(pattern)).collect();
    found.sort_by_key(|(pattern, _)| pattern.matches('{').count());
    found.iter().find_map(|(_, operations)| operations.get(method.as_str().to_lowercase()))
}

#[tokio::test]
async fn the_golden_answers_are_as_the_documents_say() {
    let document = document("/openapi.json").await;
    let mut checked = 0;
    for dialect in ["tiki", "sapo", "centry", "ultimate-multisite"] {
        let folder = repository().join("tests/dialects").join(dialect);
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|kind| kind == "json")) {
            let steps: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            for step in steps.iter().filter(|step| step["answer"]["body"] != Value::Null) {
                let method: Method = step["request"]["method"].as_str().unwrap().parse().unwrap();
                let path = step["request"]["path"].as_str().unwrap();
                let Some(operation) = operation(&document, &method, path) else { continue };
                let status = step["answer"]["status"].to_string();
                let place = format!("{}: {method} {path} {status}", file.display());
                let response = followed(&document, &operation["responses"][&status]);
                assert!(response.is_object(), "{place} is not documented");
                let media = response["content"].as_object().unwrap().values().next().unwrap();
                let validator = jsonschema::validator_for(&schema(&document, &media["schema"])).unwrap();
                let body = plain(&step["answer"]["body"]);
                if let Err(error) = validator.validate(&body) {
                    panic!("{place}: {error} at {}\n{body}", error.instance_path());
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "{checked}");
}

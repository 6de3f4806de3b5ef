//! `template.yaml` is the only list of routes: what the code serves, it names, and what it names is served.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_dynamodb::{Client, types::KeySchemaElement};
use http::{Method, StatusCode};
use postrider::{
    catalogue::Catalogue,
    dialect::{self, Request},
    error::Error,
};
use postrider_aws::provision::{QueueSettings, provision};
use postrider_tests::{servers::Servers, tenant::Tenant, world::World};
use serde_json::json;
use serde_yaml_ng::Value;

const TEMPLATE: &str = include_str!("../../template.yaml");
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The routes of the HTTP API: method, path, and the function that answers; not `$default`.
pub(crate) fn routes() -> Vec<(Method, String, String)> {
    let template: Value = serde_yaml_ng::from_str(TEMPLATE).unwrap();
    let mut routes = Vec::new();
    for (name, resource) in template["Resources"].as_mapping().unwrap() {
        let Some(events) = resource["Properties"].get("Events").and_then(Value::as_mapping) else { continue };
        for event in events.values().filter(|event| event["Type"] == "HttpApi") {
            let text = |field: &str| event["Properties"][field].as_str().unwrap().to_owned();
            if text("Path") != "$default" {
                routes.push((
                    text("Method").parse().unwrap(),
                    text("Path"),
                    name.as_str().unwrap().to_owned(),
                ));
            }
        }
    }
    routes
}

/// Whether a template's path, with its variables in braces, means this one.
fn means(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(path).all(|(a, b)| a.starts_with('{') || *a == b)
}

/// Whether some dialect's code serves this.
fn is_served(method: &Method, path: &str) -> bool {
    let mut request = Request::default();
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.parse().unwrap();
    let calls = dialect::of(&request).decode(&request, &Catalogue::default());
    !calls.iter().any(|call| matches!(call.operation, Err(Error::NotFound(_) | Error::MethodNotAllowed)))
}

/// Every path that can be made of these words, each of them once.
fn paths(words: &[&str], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut shorter = vec![(String::new(), words.to_vec())];
    for _ in 0..longest {
        let mut longer = Vec::new();
        for (path, left) in &shorter {
            for (n, word) in left.iter().enumerate() {
                let mut left = left.clone();
                left.remove(n);
                longer.push((format!("{path}/{word}"), left));
            }
        }
        all.extend(longer.iter().map(|(path, _)| path.clone()));
        shorter = longer;
    }
    all.retain(|path| !path.is_empty());
    all
}

#[test]
fn what_the_dialects_serve_is_in_the_template() {
    let routes = routes();
    let (webhook, delivery) = (format!("wh_{:032x}", 1), format!("dlv_{:064x}", 1));
    let replay = format!("rpl_{:032x}", 1);
    let (number, object) = ("7.json", format!("{:024x}.json", 7));
    // Our own API and Tiki's share words; the others have words of their own.
    let own = [
        "openapi.json",
        "openrpc.json",
        "v1",
        "integration",
        "webhooks",
        "credentials",
        "tenants",
        "keys",
        "events",
        "filters",
        "deliveries",
        "health",
        "secret",
        "rotate",
        "topics",
        "order.created",
        "test",
        "parked",
        "stats",
        "acme",
        "abcdefgh01234567",
        &webhook,
        &delivery,
    ];
    let wordpress = ["wp-json", "wu", "v2", "webhook", "webhooks", "auth", "hooks", "7", "test"];
    let rpc = ["/api/jsonrpc", "/api/jsonrpc/"].map(str::to_owned);
    let oauth = ["oauth", "authorize", "token", "sc", "oauth2", "auth"];
    let others =
        ["admin", "conexion", "v1", "webhooks", "webhook", "webhooks.json", "count.json", number, &object];
    // What stands below a delivery; each word more above makes the walk a fifth longer.
    let asked_again = ["v1", "deliveries", &delivery, "retry", "replays", &replay];
    let mut served = 0;
    for path in paths(&own, 5)
        .into_iter()
        .chain(paths(&asked_again, 4))
        .chain(paths(&["v1", "undelivered"], 2))
        .chain(paths(&others, 4))
        .chain(paths(&wordpress, 6))
        .chain(paths(&oauth, 3))
        .chain(paths(&[".well-known", "jwks.json"], 2))
        .chain(rpc)
    {
        for method in METHODS.iter().filter(|method| is_served(method, &path)) {
            served += 1;
            let found = routes.iter().any(|(m, pattern, _)| m == method && means(pattern, &path));
            // A tenant's or key's id may be any word, so that one path is met in many forms.
            assert!(found, "{method} {path} is served, but is no route of template.yaml");
        }
    }
    assert!(served >= routes.len(), "{served}");
}

#[test]
fn each_route_is_named_once() {
    let mut seen = BTreeSet::new();
    for (method, path, function) in routes() {
        assert!(seen.insert(format!("{method} {path}")), "{function}: {method} {path}");
    }
}

#[test]
fn what_a_function_reads_of_its_environment_the_template_sets() {
    let settings = include_str!("../../shared/lambda/src/settings.rs");
    let read: BTreeSet<_> = settings.split('"').filter(|text| text.starts_with("POSTRIDER_")).collect();
    assert!(read.len() >= 6, "{read:?}");
    // Only tests set it; on AWS, nothing private is to be reached.
    let never = "POSTRIDER_ALLOW_PRIVATE_TARGETS";
    for name in read {
        assert_eq!(TEMPLATE.contains(&format!("{name}:")), name != never, "{name}");
    }
}

#[test]
fn each_alarm_has_its_section_in_the_operations_guide() {
    let template: Value = serde_yaml_ng::from_str(TEMPLATE).unwrap();
    let resources = template["Resources"].as_mapping().unwrap().iter();
    let alarms: BTreeSet<_> = resources
        .filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm")
        .map(|(name, _)| name.as_str().unwrap())
        .collect();
    let guide = include_str!("../../docs/operations.md");
    let titles = guide.lines().filter_map(|line| line.strip_prefix("### "));
    let explained: BTreeSet<_> = titles.filter(|title| title.ends_with("Alarm")).collect();
    assert!(alarms.len() >= 15, "{alarms:?}");
    assert_eq!(alarms, explained);
}

#[test]
fn an_invocation_is_near_its_timeout_by_what_its_function_has() {
    let template: Value = serde_yaml_ng::from_str(TEMPLATE).unwrap();
    let alarm = &template["Resources"]["NearTimeoutAlarm"]["Properties"];
    let expression = alarm["Metrics"][0]["Expression"].as_str().unwrap();
    for function in ["registration", "credentials", "publish", "testing", "delivery", "scheduler"] {
        let name = format!("{}{}Function", function[..1].to_uppercase(), &function[1..]);
        let own = template["Resources"][name.as_str()]["Properties"].get("Timeout");
        let seconds = own.unwrap_or(&template["Globals"]["Function"]["Timeout"]).as_u64().unwrap();
        // Of milliseconds, in percent.
        let share = format!("{function} / {}", seconds * 10);
        assert!(expression.contains(&share), "{share}: {expression}");
    }
}

/// Whoever leads paths to functions himself, for want of an API, reads there which go where.
#[test]
fn each_path_of_a_function_of_its_own_is_in_the_operations_guide() {
    let guide = include_str!("../../docs/operations.md");
    for (method, path, function) in routes() {
        let is_by_default = function == "RegistrationFunction";
        assert!(is_by_default || guide.contains(&path), "{function}: {method} {path}");
    }
}

/// A table's keys and what its indexes hold, by their names.
type Shape = (Vec<String>, BTreeMap<String, (Vec<String>, BTreeSet<String>)>);

fn shape_in_template(resource: &str) -> Shape {
    let template: Value = serde_yaml_ng::from_str(TEMPLATE).unwrap();
    let table = template["Resources"][resource]["Properties"].clone();
    let texts = |list: &Value, field: Option<&str>| -> Vec<String> {
        let list = list.as_sequence().unwrap().iter();
        list.map(|one| field.map_or(one, |field| &one[field]).as_str().unwrap().to_owned()).collect()
    };
    let keys = |of: &Value| texts(&of["KeySchema"], Some("AttributeName"));
    let indexes = table.get("GlobalSecondaryIndexes").and_then(Value::as_sequence);
    let index = |one: &Value| {
        let held = texts(&one["Projection"]["NonKeyAttributes"], None).into_iter().collect();
        (one["IndexName"].as_str().unwrap().to_owned(), (keys(one), held))
    };
    (keys(&table), indexes.into_iter().flatten().map(index).collect())
}

async fn shape_of(db: &Client, table: &str) -> Shape {
    let table = db.describe_table().table_name(table).send().await.unwrap().table.unwrap();
    let keys =
        |schema: &[KeySchemaElement]| schema.iter().map(|key| key.attribute_name.clone()).collect::<Vec<_>>();
    let indexes = table.global_secondary_indexes().iter().map(|index| {
        let held = index.projection().unwrap().non_key_attributes().iter().cloned().collect();
        (index.index_name().unwrap().to_owned(), (keys(index.key_schema()), held))
    });
    (keys(table.key_schema()), indexes.collect())
}

#[tokio::test]
async fn the_tables_that_are_tested_are_those_of_the_template() {
    let config = Servers::shared().config();
    let queue = QueueSettings { visibility: Duration::from_mins(1), max_receives: 5 };
    let (settings, _) = provision(&config, "template", queue).await.unwrap();
    let db = Client::new(&config);
    for (resource, table) in [
        ("WebhooksTable", &settings.webhooks_table),
        ("KeysTable", &settings.keys_table),
        ("EventsTable", &settings.events_table),
        ("DeliveriesTable", &settings.deliveries_table),
    ] {
        assert_eq!(shape_of(&db, table).await, shape_in_template(resource), "{resource}");
    }
}

#[tokio::test]
async fn what_the_template_names_is_served() {
    let world = World::shared();
    let tenant = world.tenant("template").await;
    let routes = routes();
    assert!(routes.len() > 20);
    for (method, pattern, function) in &routes {
        let path = filled(pattern, &tenant);
        let body = json!({});
        let body = (*method != Method::GET).then_some(&body);
        // Without a key: every route but one asks for it, and a path that nobody serves does not.
        let answer = tenant.client.anonymous().send(method.clone(), &path, body).await;
        // JSON-RPC tells in its body.
        let expected = match path.as_str() {
            "/v1/health"
            | "/openapi.json"
            | "/openrpc.json"
            | "/.well-known/jwks.json"
            | "/api/jsonrpc"
            | "/api/jsonrpc/" => StatusCode::OK,
            // Whoever asks whom is wrong here, not who asks us.
            "/oauth/authorize" | "/sc/oauth2/auth" => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(answer.status, expected.as_u16(), "{function}: {answer}");
        // With one: the function does what it is asked, or says what is missing.
        let answer = tenant.operator.send(method.clone(), &path, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let unserved = text.contains("no such path") || text.contains("Not Found\"}");
        assert!(answer.status != 404 || !unserved, "{function}: {answer}");
        assert!(!matches!(answer.status, 405 | 500..), "{function}: {answer}");
    }
}

/// A path with ids of things that are not there.
fn filled(pattern: &str, tenant: &Tenant) -> String {
    let id = match pattern.split('/').nth(1) {
        Some("admin") => "7.json".to_owned(),
        Some("wp-json") => "7".to_owned(),
        Some("conexion") => format!("{:024x}.json", 7),
        Some("wp-admin") => String::new(),
        _ if pattern.contains("/replays/") => format!("rpl_{:032x}", 1),
        _ if pattern.contains("/deliveries/") => format!("dlv_{:064x}", 1),
        _ => format!("wh_{:032x}", 1),
    };
    let tenant = if pattern.ends_with("{tenant}") { "nobody-of-that-name" } else { &tenant.id };
    pattern
        .replace("{id}", &id)
        .replace("{tenant}", tenant)
        .replace("{key}", "abcdefgh01234567")
        .replace("{topic}", "order.created")
}

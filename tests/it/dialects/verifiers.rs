//! Libraries that are not ours, which judge our signatures.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_tests::{receiver::Arrived, world::repository};
use serde_json::{Value, json};

/// What `make test` says of where a tool is.
fn tool(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `make test`")).into()
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// HMAC-SHA256 in base64, by OpenSSL.
pub(super) fn hmac_by_openssl(secret: &str, body: &[u8]) -> String {
    let done = run(Command::new("openssl").args(["dgst", "-sha256", "-hmac", secret, "-binary"]), body);
    assert!(done.status.success(), "{done:?}");
    STANDARD.encode(done.stdout)
}

/// Whether Node takes a message for genuine, by Ed25519 with these JSON Web Keys.
pub(crate) fn taken_with_public_keys(request: &Arrived, keys: &Value) -> bool {
    let message = json!({ "keys": keys, "headers": headers(request), "body": body(request) }).to_string();
    let mut node = Command::new("node");
    node.arg(repository().join("tests/verifiers/ed25519.cjs"));
    is_taken(&mut node, &message)
}

/// Whether the Standard Webhooks libraries of `PyPI` and npm each take a message for genuine.
pub(super) fn taken_by_python_and_node(request: &Arrived, secret: &str) -> [bool; 2] {
    let message = json!({ "secret": secret, "headers": headers(request), "body": body(request) }).to_string();
    let verifiers = repository().join("tests/verifiers");
    let mut python = Command::new(tool("POSTRIDER_PYTHON"));
    python.arg(verifiers.join("verify.py"));
    let mut node = Command::new("node");
    node.arg(verifiers.join("verify.cjs")).env("NODE_PATH", tool("POSTRIDER_NODE_MODULES"));
    [python, node].map(|mut verifier| is_taken(&mut verifier, &message))
}

fn is_taken(verifier: &mut Command, message: &str) -> bool {
    let done = run(verifier, message.as_bytes());
    let said = String::from_utf8_lossy(&done.stderr);
    // Any other failure is not a verdict.
    assert!(done.status.success() || said.contains("No matching signature found"), "{said}");
    done.status.success()
}

fn headers(request: &Arrived) -> serde_json::Map<String, Value> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().into();
    request.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn body(request: &Arrived) -> String {
    String::from_utf8(request.body.to_vec()).unwrap()
}

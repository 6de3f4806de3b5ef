//! The first start: the lines that it prints, pasted as they are, tell the seed's story.

use std::process::Command;

use postrider_tests::{
    poll,
    world::{Options, World},
};
use serde_json::Value;

#[tokio::test]
async fn the_printed_lines_show_a_rejection_delivered() {
    let world = World::start(Options { operator_key: false, ..Options::default() });
    let printed = world.printed();
    let lines = curl_lines(&printed);
    assert!(lines.len() >= 4, "register, grant, publish, show: {printed}");
    let (show, steps) = lines.split_last().unwrap();
    for line in steps {
        let answer = shell(line);
        assert!(
            serde_json::from_str::<Value>(&answer).is_ok_and(|answer| answer.get("error").is_none()),
            "{answer}"
        );
    }
    let authorization = "Basic aXlvZmltM2VydTBia2l3ejpCdXFpY0Ixa3djeTRUbDlkaWtxUEI3RmtQd2REaDhmZA==";
    let shown = poll::until(poll::SOON, "the inspector shows the delivery", async || {
        Some(shell(show)).filter(|shown| shown.contains(authorization))
    })
    .await;
    assert!(shown.contains("product:request:rejected"), "{shown}");
}

#[tokio::test]
async fn the_operators_key_is_made_and_printed_once() {
    let world = World::start(Options { operator_key: false, ..Options::default() });
    let printed = world.printed();
    let line = printed.lines().find(|line| line.contains("operator's key")).unwrap();
    let key = line.split_whitespace().last().unwrap();
    let tenants = world.client().bearer(key).get("/v1/tenants").await.expect(200);
    assert_eq!(tenants["data"][0]["id"], "demo");
    world.kill();
    world.restart();
    world.client().bearer(key).get("/v1/tenants").await.expect(200);
    assert_eq!(world.printed().matches(key).count(), 1);
}

/// What begins with `curl`, with the lines that a backslash joins to it.
fn curl_lines(printed: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in printed.lines() {
        if goes_on {
            let last = found.last_mut().unwrap();
            last.push('\n');
            last.push_str(line);
        } else if line.trim_start().starts_with("curl ") {
            found.push(line.to_owned());
        } else {
            continue;
        }
        goes_on = line.ends_with('\\');
    }
    found
}

fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

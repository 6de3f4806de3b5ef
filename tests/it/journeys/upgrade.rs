//! A data file of an older release is brought up to date; one that is not this release's to open is refused, with words, and
//! stays as it was.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    process::{Command, Output},
};

use postrider_tests::{
    poll,
    tenant::text,
    world::{OPERATOR, Options, World, free_port, runner},
};
use serde_json::json;

/// Starts a second runner on the data of the first.
fn start(world: &World) -> Output {
    let mut command = Command::new(runner());
    command.arg(format!("--port={}", free_port())).arg("--data").arg(world.data());
    command.env("POSTRIDER_OPERATOR_KEY", OPERATOR).output().unwrap()
}

#[track_caller]
fn is_refused(world: &World, because: &str) {
    let output = start(world);
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{says}");
    assert!(says.contains(because), "{says}");
}

#[test]
fn a_file_that_another_process_has_open_is_refused() {
    let world = World::start(Options::default());
    is_refused(&world, "another process has ");
    world.kill();
    // However the first one ended.
    world.restart();
}

#[test]
fn a_file_of_a_newer_release_is_refused() {
    let world = World::start(Options::default());
    assert!(world.terminate().success());
    // Where SQLite keeps `user_version`: at byte 60, the most significant byte first (Database File Format, 1.3).
    let mut file = OpenOptions::new().write(true).open(world.data()).unwrap();
    file.seek(SeekFrom::Start(60)).unwrap();
    file.write_all(&1000_u32.to_be_bytes()).unwrap();
    drop(file);
    let before = fs::read(world.data()).unwrap();
    is_refused(&world, "was written by a newer release: its schema is version 1000");
    assert!(fs::read(world.data()).unwrap() == before, "it is as it was");
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date_with_what_is_in_it() {
    let world = World::start(Options::default());
    let tenant = world.tenant("older").await;
    let webhook = tenant.webhook("http://127.0.0.1:9/", &["*"]).await;
    let pause = json!({ "active": false });
    tenant.client.patch(&format!("/v1/webhooks/{}", text(&webhook, "id")), &pause).await.expect(200);
    let event = tenant.publish("order.created", json!(1)).await;
    let parked = tenant.delivery(text(&webhook, "id"), &event, |one| one["state"] == "parked").await;
    assert!(world.terminate().success());
    // As the release before the second version left it.
    let file = rusqlite::Connection::open(world.data()).unwrap();
    file.execute_batch("DROP INDEX deliveries_undelivered; PRAGMA user_version = 1").unwrap();
    file.close().unwrap();
    world.restart();
    let list = format!("/v1/undelivered?tenant={}", tenant.id);
    let found = poll::until(poll::SOON, "it is listed", || async {
        world.operator().get(&list).await.expect(200)["data"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&found["id"], &found["state"]), (&parked["id"], &json!("parked")));
    let file = rusqlite::Connection::open(world.data()).unwrap();
    let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
}

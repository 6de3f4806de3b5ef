//! A data file that is not this release's to open is refused, with words, and stays as it was.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    process::{Command, Output},
};

use postrider_tests::world::{OPERATOR, Options, World, free_port, runner};

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

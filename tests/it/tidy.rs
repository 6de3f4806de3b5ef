//! What holds of the source itself: arrows between crates, sizes, names, and that what is used is written down.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use postrider_tests::world::{repository, runner};
use serde_json::Value;

/// Lines of a source file at most.
const LONGEST: usize = 500;

/// A package, and what it may not depend on; a name that ends in `-` or `_` stands for all that begin with it.
const NEVER: [(&str, &[&str]); 13] = [
    (
        "postrider",
        &["tokio", "aws-config", "aws-sdk-", "aws_", "lambda_", "rusqlite", "hyper", "reqwest", "postrider-"],
    ),
    (
        "postrider-lambda",
        &["aws-sdk-", "aws-config", "lambda_runtime", "rusqlite", "postrider-aws", "postrider-embedded"],
    ),
    (
        "postrider-outbound",
        &["aws-sdk-", "aws-config", "lambda_", "rusqlite", "postrider-aws", "postrider-embedded"],
    ),
    ("postrider-aws", &["rusqlite", "lambda_", "postrider-embedded", "postrider-outbound"]),
    (
        "postrider-embedded",
        &["aws-sdk-", "aws-config", "lambda_", "hyper", "postrider-aws", "postrider-outbound"],
    ),
    (
        "postrider-sim",
        // Nothing that has threads, a clock or chance of its own.
        &[
            "tokio",
            "tokio-",
            "rand",
            "aws-",
            "lambda_",
            "rusqlite",
            "hyper",
            "reqwest",
            "postrider-aws",
            "postrider-embedded",
            "postrider-outbound",
        ],
    ),
    ("registration", FUNCTION),
    ("credentials", FUNCTION),
    ("publish", FUNCTION),
    ("delivery", FUNCTION),
    ("scheduler", FUNCTION),
    ("testing", FUNCTION),
    ("local", &["lambda_runtime"]),
];
const FUNCTION: &[&str] = &[
    "rusqlite",
    "postrider-embedded",
    "registration",
    "credentials",
    "publish",
    "delivery",
    "scheduler",
    "testing",
    "local",
];
/// Crates that nothing but a program may use.
const TOPMOST: [&str; 3] = ["local", "postrider-tests", "whbench"];

struct Package {
    name: String,
    /// What it is built with, and what its tests are built with besides.
    uses: Vec<(String, bool)>,
}

/// The workspace as cargo sees it.
fn packages() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--offline"]).current_dir(repository());
    let metadata: Value = serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let uses = |package: &Value| {
        list(&package["dependencies"]).iter().map(|used| (name(used), used["kind"] == "dev")).collect()
    };
    list(&metadata["packages"])
        .iter()
        .map(|package| Package { name: name(package), uses: uses(package) })
        .collect()
}

fn is_named(rule: &str, name: &str) -> bool {
    if rule.ends_with(['-', '_']) { name.starts_with(rule) } else { name == rule }
}

#[test]
fn the_arrows_between_crates_point_one_way() {
    let packages = packages();
    for (name, never) in NEVER {
        let package = packages.iter().find(|package| package.name == name);
        let package = package.unwrap_or_else(|| panic!("there is no package {name}"));
        for (used, for_tests) in &package.uses {
            let forbidden = never.iter().any(|rule| is_named(rule, used) && used != name);
            assert!(*for_tests || !forbidden, "{name} must not use {used}");
        }
    }
    for package in &packages {
        let ruled = NEVER.iter().any(|(name, _)| package.name == *name) || TOPMOST.contains(&&*package.name);
        assert!(ruled, "{} is new: say here what it may not use", package.name);
        let own: Vec<_> = package.uses.iter().filter(|(used, _)| TOPMOST.contains(&&**used)).collect();
        assert!(own.is_empty(), "{} uses a program: {own:?}", package.name);
    }
}

#[test]
fn every_dependency_is_accounted_for() {
    let path = repository().join("docs/dependencies.md");
    let accounts = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let packages = packages();
    let own: BTreeSet<_> = packages.iter().map(|package| package.name.clone()).collect();
    let used: BTreeSet<_> =
        packages.iter().flat_map(|package| package.uses.iter().map(|(used, _)| used)).collect();
    // A row of the table for each.
    let rows: BTreeSet<_> =
        accounts.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    let missing: Vec<_> =
        used.iter().filter(|name| !own.contains(**name) && !rows.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/dependencies.md says nothing of {missing:?}");
}

/// Files of the repository that end so; nothing that was built, and nothing hidden.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.') && name != "target" && name != "results" {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let sources = files(".rs");
    assert!(sources.len() > 60);
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", shown(&path));
        assert!(text.starts_with("//! "), "{} does not open with what it is", shown(&path));
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            !["utils", "util", "helpers", "helper", "common", "misc"].contains(&&*stem),
            "{}",
            shown(&path)
        );
    }
}

#[test]
fn every_flag_is_explained_and_is_a_variable_too() {
    let help = Command::new(runner()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags: Vec<_> = help.split("\n      --").skip(1).collect();
    assert!(flags.len() >= 8, "{help}");
    for flag in flags {
        let explanation = flag.lines().nth(1).unwrap_or_default().trim();
        assert!(explanation.len() > 10 && explanation.contains(' '), "--{flag}");
        assert!(flag.contains("[env: "), "--{flag}");
    }
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.contains("--help"), "the README says where they are");
}

//! What people install: the units of systemd, the image, the manifests and the chart for Kubernetes, man pages and
//! completions, each read by the program that it is for. `deploy/deb-test` installs the Debian package under a systemd.

mod chart;
mod image;
mod kubernetes;
mod pages;
mod supply;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::tools::{TempDir, program, test_tool};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The program under test.
fn natpulse() -> Command {
    Command::new(env!("CARGO_BIN_EXE_natpulse"))
}

/// What a program prints, on both ways, that is run in the root of the repository; and whether it succeeds.
fn said(command: &mut Command) -> (bool, String) {
    let output = command.current_dir(root()).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.success(), said)
}

/// What a program prints that must succeed, and must not complain.
fn printed(command: &mut Command) -> String {
    let output = command.current_dir(root()).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{command:?}: {}\n{complaint}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The files of one kind below a directory of the repository.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path, extension),
            false => Vec::from_iter(path.extension().is_some_and(|found| found == extension).then_some(path)),
        })
        .collect();
    found.sort();
    found
}

/// The documents of YAML text. Read by Python, as the YAML crates for Rust are no longer maintained.
fn yaml(text: &str) -> Vec<Value> {
    let dir = TempDir::new();
    let file = dir.path().join("all.yaml");
    fs::write(&file, text).unwrap();
    let mut python = Command::new(test_tool("venv/bin/python"));
    let load = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let documents: Vec<Value> = serde_json::from_str(&printed(python.args(["-c", load]).arg(&file))).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

//! The life of the process with whoever starts, watches and stops it: a service manager, an upgrade, an operator, a pod.

mod drained;
mod notify;
mod pod;
mod upgrade;

use std::process::Command;

use serde_json::Value;

use crate::harness::{Natpulse, exchange};
use crate::namespace::Namespace;
use crate::process::Process;
use crate::tools::TempDir;

const TOKEN: &str = "correct horse battery staple";

/// A file with the token of the admin port.
fn token_file(dir: &TempDir) -> String {
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    file.display().to_string()
}

/// Starts a command of natpulse beside the one that runs, in a network namespace if one is named.
fn command(namespace: Option<&Namespace>, arguments: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    command.args(arguments).env_remove("NATPULSE_TOKEN");
    match namespace {
        Some(namespace) => namespace.enter(|| Process::spawn(command)),
        None => Process::spawn(command),
    }
}

/// Runs it to its end: its exit code, and what it said.
async fn ran(arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = command(None, arguments);
    let code = process.exit().await.code();
    (code, process.lines().join("\n"))
}

/// What `/api/status` says.
async fn status(natpulse: &Natpulse) -> Value {
    let request = "GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let page = exchange(tokio::net::TcpStream::connect(natpulse.admin()), request).await;
    assert_eq!(page.status, 200, "{}", page.body);
    serde_json::from_str(&page.body).unwrap()
}

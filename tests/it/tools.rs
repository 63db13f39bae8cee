//! The programs the tests drive that are not their own, and the places they use.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::process::Command;

use crate::process::within_time;

/// An installed program. Servers often sit in directories that only root has in its
/// path, so those are searched as well.
pub fn program(name: &str) -> PathBuf {
    let path = env::var("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir: PathBuf| dir.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| missing(name))
}

/// A file of the tools that `tests/run` installs beside the build, not system-wide.
pub fn test_tool(file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools");
    let path = root.join(file);
    if path.exists() { path } else { missing(file) }
}

/// A script beside the tests that drives a browser, in Node: it is told where Playwright and Chromium are, and the
/// directory for Chromium's profile; what else it wants follows.
pub fn browser(name: &str, profile: &Path) -> std::process::Command {
    let mut node = std::process::Command::new(program("node"));
    node.arg(script(name))
        .arg(test_tool("node/node_modules/playwright-core/index.mjs"))
        .arg(program("chromium"))
        .arg(profile);
    node
}

/// A script that lies beside the tests.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)
}

fn missing(what: &str) -> ! {
    panic!("this test needs {what}, which is not installed; tests/run installs it")
}

/// Runs a command to its end, and returns what it printed. Panics with everything it
/// printed if it failed.
pub async fn output(patience: Duration, mut command: Command) -> String {
    let name = format!("{:?}", command.as_std());
    let running = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = within_time(patience, &name, running).await;
    let output = output.unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(status.success(), "{name}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    stdout
}

/// A free port on a loopback address that nothing else here uses. For the servers that
/// cannot bind port 0 themselves: on an address of its own, the port cannot be handed
/// to another socket of the tests before the server has bound it.
pub fn free_addr() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    let listener = std::net::TcpListener::bind(format!("127.0.1.{host}:0")).unwrap();
    listener.local_addr().unwrap()
}

/// A new empty directory that goes away with the value. In the system's place for such
/// directories, whose short path leaves room for the name of a Unix socket.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("natpulse-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

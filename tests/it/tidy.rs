//! The walls of the house: which module may know which, and how long a file may be. The map is in
//! `src/lib.rs`; an arrow that is not there is a change of design, and this test is where it is argued.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every module of the crate and those of ours that it may import.
const ARROWS: [(&str, &[&str]); 25] = [
    ("wire", &[]),
    ("close", &[]),
    ("heartbeat", &[]),
    ("simulate", &["heartbeat"]),
    ("limits", &[]),
    ("networks", &["heartbeat"]),
    ("gate", &[]),
    ("watched", &[]),
    ("link", &["heartbeat", "watched"]),
    ("probe", &["heartbeat", "link", "metrics", "networks", "wire"]),
    ("metrics", &["close", "heartbeat", "wire"]),
    ("events", &["close", "heartbeat", "link", "metrics"]),
    ("sessions", &["close", "events", "heartbeat", "networks"]),
    ("targets", &["link"]),
    ("session", &["close", "heartbeat", "link", "metrics", "networks", "sessions", "wire"]),
    ("config", &["gate", "heartbeat", "link", "session", "targets", "wire"]),
    ("cli", &["config"]),
    // A part of main, which imports the library by its name.
    ("commands", &[]),
    ("drain", &["networks"]),
    ("supervisor", &[]),
    ("operator", &["link"]),
    ("top", &["operator"]),
    ("admin", &["close", "drain", "heartbeat", "metrics", "networks", "sessions"]),
    (
        "server",
        &[
            "admin",
            "config",
            "drain",
            "events",
            "link",
            "metrics",
            "networks",
            "proxy",
            "sessions",
            "supervisor",
        ],
    ),
    (
        "proxy",
        &[
            "close",
            "config",
            "events",
            "gate",
            "heartbeat",
            "limits",
            "link",
            "metrics",
            "networks",
            "probe",
            "session",
            "sessions",
            "targets",
            "watched",
            "wire",
        ],
    ),
];

/// Modules that are pure, and what they therefore must not touch.
const PURE: [&str; 4] = ["wire", "close", "heartbeat", "limits"];
const IMPURE: [&str; 11] = [
    "tokio::",
    "tokio_util",
    "hyper",
    "prometheus",
    "tracing",
    "std::net",
    "std::time",
    "Instant",
    "SystemTime",
    "std::io::Read",
    "rand::",
];

const MAX_LINES: usize = 400;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its module, the first part of its path under `src`.
fn modules() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    let module = |path: PathBuf| {
        let first = path.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
        (first.trim_end_matches(".rs").to_owned(), path.clone(), fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(module).collect()
}

/// The modules of ours that a source names behind `crate::`.
fn imports(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let first = |rest: &'_ str| rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    text.split("crate::").skip(1).map(|rest| &rest[..first(rest)]).collect()
}

#[test]
fn imports_go_down_the_arrows_only() {
    for (module, path, text) in modules() {
        if module == "lib" || module == "main" {
            continue;
        }
        let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == module).unwrap_or_else(|| {
            panic!("{}: a module that the map does not know", path.display());
        });
        for import in imports(&text) {
            assert!(
                import == module || allowed.contains(&import),
                "{}: {module} must not import {import}",
                path.display()
            );
        }
    }
}

#[test]
fn pure_modules_touch_no_socket_clock_or_log() {
    for (module, path, text) in modules() {
        for forbidden in IMPURE {
            let is_pure = PURE.contains(&module.as_str());
            assert!(
                !(is_pure && text.contains(forbidden)),
                "{}: {forbidden} in a pure module",
                path.display()
            );
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for (_, path, text) in modules() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines, of at most {MAX_LINES}", path.display());
    }
}

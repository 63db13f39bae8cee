//! What may be said of backends, and what natpulse says of mistakes.

use std::fs;

use crate::bad_input::config::{each_is_told, run};
use crate::tools::TempDir;

/// A bridge with this backend, behind a path with a parameter.
fn with(backend: &str) -> String {
    format!(
        "[[bridge]]\nname = \"a\"\nlisten = \"ws://127.0.0.1:0/vm/{{name}}\"\nbackend = {{ {backend} }}\n"
    )
}

fn on(listen: &str, backend: &str) -> String {
    format!("[[bridge]]\nname = \"a\"\nlisten = \"{listen}\"\nbackend = {{ {backend} }}\n")
}

#[tokio::test]
async fn a_mistake_is_told_with_its_place_and_its_rule() {
    let named = "url = \"tcp://{name}.internal:1\"";
    let one = "one of url, urls and targets";
    let cases = [
        (
            on("§ws://127.0.0.1:0/{a}{b}", "url = \"echo:\""),
            "bridge[0].listen.url = \"ws://127.0.0.1:0/{a}{b}\"",
            "whole segments",
        ),
        (
            with("§url = \"tcp://{other}:1\", allow = [\"a:1\"]"),
            "bridge[0].backend.url = \"tcp://{other}:1\"",
            "in the path of a ws listener",
        ),
        (
            with("§url = \"tcp://{name\", allow = [\"a:1\"]"),
            "bridge[0].backend.url = \"tcp://{name\"",
            "as tcp://{name}.internal:5900",
        ),
        (
            with("§url = \"unix:///{name}\", allow = [\"a:1\"]"),
            "bridge[0].backend.url = \"unix:///{name}\"",
            "a URL with a host",
        ),
        (
            on("tcp://127.0.0.1:0", "§url = \"tcp://{name}:1\", allow = [\"a:1\"]"),
            "bridge[0].backend.url = \"tcp://{name}:1\"",
            "ws listener",
        ),
        (with(&format!("{named}, allow = [§\"a\"]")), "bridge[0].backend.allow = \"a\"", "HOST:PORT"),
        (
            with(&format!("{named}, allow = [§\"10.0.0.*:1\"]")),
            "bridge[0].backend.allow = \"10.0.0.*:1\"",
            "HOST:PORT",
        ),
        (
            with(&format!("{named}, §allow = []")),
            "bridge[0].backend.allow = [...]",
            "hosts and ports that clients may name",
        ),
        (with(&format!("{named}, §allow = [\"*:1\"]")), "bridge[0].backend.allow = [...]", "allow_addresses"),
        (
            with(&format!("{named}, allow = [\"a:1\"], §allow_addresses = [\"10.0.0.1/8\"]")),
            "bridge[0].backend.allow_addresses = [...]",
            "addresses and networks",
        ),
        (
            with(&format!("{named}, allow = [\"a:1\"], §health_check = {{}}")),
            "bridge[0].backend.health_check = {...}",
            "not known before a client asks",
        ),
        (
            with("url = \"tcp://a:1\", §allow = [\"a:1\"]"),
            "bridge[0].backend.allow = [...]",
            "the URL has no parameters",
        ),
        (
            with("url = \"tcp://a:1\", §allow_addresses = []"),
            "bridge[0].backend.allow_addresses = [...]",
            "left out",
        ),
        (with("url = \"tcp://a:1\", §urls = [\"tcp://a:1\"]"), "bridge[0].backend.urls = [...]", one),
        (with("url = \"tcp://a:1\", §targets = \"/\""), "bridge[0].backend.targets = \"/\"", one),
        (
            with("url = \"tcp://a:1\", §balance = \"round_robin\""),
            "bridge[0].backend.balance = \"round_robin\"",
            "no urls",
        ),
        (with("§urls = []"), "bridge[0].backend.urls = [...]", "a list of different URLs"),
        (
            with("urls = [\"tcp://a:1\", §\"tcp://a:1\"]"),
            "bridge[0].backend.urls[1] = \"tcp://a:1\"",
            "different",
        ),
        (
            with("urls = [\"tcp://a:1\", §\"ws://a:1/\"]"),
            "bridge[0].backend.urls[1] = \"ws://a:1/\"",
            "all of them",
        ),
        (
            with("urls = [§\"tcp://{name}:1\"]"),
            "bridge[0].backend.urls[0] = \"tcp://{name}:1\"",
            "tcp://HOST:PORT",
        ),
        (
            with("urls = [\"tcp://a:1\"], §balance = \"random\""),
            "bridge[0].backend.balance = \"random\"",
            "\"least_sessions\"",
        ),
        (
            with("urls = [\"tcp://a:1\"], health_check = { §every = \"0s\" }"),
            "bridge[0].backend.health_check.every = \"0s\"",
            "at least",
        ),
        (
            with("urls = [\"tcp://a:1\"], health_check = { §timeout = 2 }"),
            "bridge[0].backend.health_check.timeout = 2",
            "a duration",
        ),
        (
            with("urls = [\"tcp://a:1\"], health_check = { §path = 2 }"),
            "bridge[0].backend.health_check.path = 2",
            "a known key: every, timeout",
        ),
        (
            with("§targets = \"/nowhere/tokens.cfg\""),
            "bridge[0].backend.targets = \"/nowhere/tokens.cfg\"",
            "can be read",
        ),
        (
            on("tcp://127.0.0.1:0", "§targets = \"/etc/hosts\""),
            "bridge[0].backend.targets = \"/etc/hosts\"",
            "a ws listener",
        ),
    ];
    let cases: Vec<_> = cases.into_iter().map(|(config, told, rule)| (moved(&config), told, rule)).collect();
    each_is_told(&cases).await;
}

/// The sign of the place in front of the key, where a test has put it into the value.
fn moved(config: &str) -> String {
    config.replace("listen = \"§", "§listen = \"")
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let (lines, code) = run("check", &with("url = \"tcp://{name}:1\""), &[]).await;
    assert_eq!((lines.len(), code), (1, Some(2)), "{lines:?}");
    assert!(lines[0].contains("bridge[0].backend.allow is missing"), "{lines:?}");
}

#[tokio::test]
async fn paths_that_no_request_can_tell_apart_clash() {
    let bridge = |name: &str, parameter: &str| {
        format!(
            "[[bridge]]\nname = \"{name}\"\nlisten = \"ws://127.0.0.1:1/{{{parameter}}}\"\nbackend = \"echo:\"\n"
        )
    };
    let (lines, code) = run("check", &(bridge("a", "x") + &bridge("b", "y")), &[]).await;
    assert_eq!((lines.len(), code), (1, Some(2)), "{lines:?}");
    assert!(lines[0].contains("a path of its own"), "{lines:?}");
}

#[tokio::test]
async fn what_is_in_effect_reads_back_as_the_same() {
    let dir = TempDir::new();
    let file = dir.path().join("tokens.cfg");
    fs::write(&file, "a: b:1\n").unwrap();
    for backend in [
        "url = \"tcp://{name}.internal:1\", allow = [\"*.internal:1\", \"a:*\"], framing = \"u32be\""
            .to_owned(),
        "url = \"ws://a.internal:1/{name}\", allow = [\"a.internal:1\"], allow_addresses = [\"10.0.0.0/8\"]"
            .into(),
        "urls = [\"tcp://a:1\", \"unix:///b\"], balance = \"least_sessions\", health_check = {}".into(),
        "url = \"ws://a:1/x\", health_check = { every = \"1s\", timeout = \"300ms\" }".into(),
        format!("targets = {file:?}, allow_addresses = [\"::1\"]"),
    ] {
        let (written, code) = run("check", &with(&backend), &[]).await;
        assert_eq!(code, Some(0), "{written:?}");
        let (again, code) = run("check", &written.join("\n"), &[]).await;
        assert_eq!((code, again), (Some(0), written), "{backend}");
    }
}

//! What natpulse says before it gives up: everything wrong with its configuration at once, or
//! the socket that it cannot bind.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::Value;

use super::config::{BRIDGE, run, unmark};
use crate::process::Process;
use crate::tools::TempDir;

#[tokio::test]
async fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    let config = "[server]\ndrain_window = 1\nmax_sessions = 0\n\n[log]\nlevel = \"x\"\n\n[[bridge]]\n\
        name = \"a b\"\nlisten = \"x\"\nbackend = { url = \"y\", framing = \"z\" }\nmax_message = \"m\"\n\n\
        [[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\ndemo = 1\n\n[extra]\n";
    let expected = [
        "FILE:2:1: server.drain_window = 1: ",
        "FILE:3:1: server.max_sessions = 0: ",
        "FILE:6:1: log.level = \"x\": ",
        "FILE:9:1: bridge[0].name = \"a b\": ",
        "FILE:10:1: bridge[0].listen.url = \"x\": ",
        "FILE:11:13: bridge[0].backend.url = \"y\": ",
        "FILE:11:24: bridge[0].backend.framing = \"z\": ",
        "FILE:12:1: bridge[0].max_message = \"m\": ",
        "FILE:18:1: bridge[1].demo = 1: ",
        "FILE:20:2: extra = {...}: ",
    ];
    for command in ["check", "run"] {
        let (lines, code) = run(command, config, &[("NATPULSE__BRIDGE__1__LINGER", "long")]).await;
        assert_eq!(code, Some(2), "{command}: {lines:#?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{expected}\n{lines:#?}");
        }
        // What the environment says comes last, and is called by the variable's name.
        let last = "environment NATPULSE__BRIDGE__1__LINGER: bridge[1].linger = \"long\": must be a duration";
        assert!(lines.last().is_some_and(|line| line.starts_with(last)), "{lines:#?}");
        assert_eq!(lines.len(), expected.len() + 1, "{lines:#?}");
    }
}

#[tokio::test]
async fn a_variable_of_the_environment_that_leads_nowhere_is_told() {
    for (name, key) in [
        ("NATPULSE__BRIDGE__7__LINGER", "bridge.7.linger"),
        ("NATPULSE__BRIDGE__X__LINGER", "bridge.x.linger"),
        ("NATPULSE__BRIDGE__0__NAME__X", "bridge.0.name.x"),
    ] {
        let (lines, code) = run("check", BRIDGE, &[(name, "1s")]).await;
        assert_eq!(code, Some(2), "{lines:?}");
        assert!(lines[0].starts_with(&format!("environment {name}: {key} = \"1s\": ")), "{lines:?}");
    }
    let (lines, code) = run("check", BRIDGE, &[("NATPULSE__SERVER__WINDOW", "1s")]).await;
    assert_eq!(code, Some(2), "{lines:?}");
    let told = "environment NATPULSE__SERVER__WINDOW: server.window = \"1s\": must be a known key";
    assert!(lines[0].starts_with(told), "{lines:?}");
}

#[tokio::test]
async fn text_that_is_no_toml_is_told_with_its_place() {
    for marked in
        ["[[bridge]]\nname = §x\n", "[[bridge]\n§", "a = 1\n§a = 2\n", "[server]\ndrain_window = \"20s§\n"]
    {
        let (place, config) = unmark(marked);
        let (lines, code) = run("check", &config, &[]).await;
        assert_eq!(code, Some(2), "{lines:?}");
        // Which column a parser complains about is a matter of taste; the line is not.
        let line = &place[..place.rfind(':').unwrap()];
        let previous = format!("FILE:{}", line[5..].parse::<usize>().unwrap() - 1);
        let is_there =
            |told: &String| [line, &previous].iter().any(|line| told.starts_with(&format!("{line}:")));
        assert!(lines.iter().any(is_there), "{config}: {lines:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    command.args(["check", "-c", "/nowhere/natpulse.toml"]);
    let mut process = Process::spawn(command);
    assert_eq!(process.exit().await.code(), Some(2));
    assert!(process.lines()[0].starts_with("/nowhere/natpulse.toml: No such file"), "{:?}", process.lines());
}

#[tokio::test]
async fn a_place_that_is_taken_ends_the_start_with_its_name() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap();
    let dir = TempDir::new();
    let path = dir.path().join("taken");
    let _unix = UnixListener::bind(&path).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    for (listen, admin) in [
        (format!("ws://{taken}/x"), "127.0.0.1:0".to_owned()),
        (format!("tcp://{taken}"), "127.0.0.1:0".to_owned()),
        (format!("unix://{}", path.display()), "127.0.0.1:0".to_owned()),
        (format!("unix://{}", file.display()), "127.0.0.1:0".to_owned()),
        ("ws://127.0.0.1:0/".to_owned(), taken.to_string()),
        // Reserved for documentation (RFC 5737): no machine has it.
        ("tcp://192.0.2.1:1".to_owned(), "127.0.0.1:0".to_owned()),
    ] {
        let config = format!(
            "[[bridge]]\nname = \"a\"\nlisten = \"{listen}\"\nbackend = \"echo:\"\n[admin]\nlisten = \"{admin}\"\n"
        );
        let (lines, code) = run("run", &config, &[]).await;
        assert_eq!(code, Some(1), "{lines:?}");
        let mut events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let error = events.next_back().expect("a log")["error"].as_str().expect("an error").to_owned();
        let place = if listen.ends_with(":0/") { &admin } else { &listen };
        let why = if listen.contains("192.0.2.1") { "assign requested address" } else { "in use" };
        assert!(error.contains(place) && error.contains(why), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

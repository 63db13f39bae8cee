//! `natpulse probe`, as a person or a script uses it.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::Natpulse;
use crate::process::within_time;
use crate::raw::RawWs;

/// What `natpulse probe` does with these arguments.
pub fn probe(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    command.arg("probe").args(args);
    command
}

async fn run(command: Command) -> Output {
    let output = tokio::process::Command::from(command).kill_on_drop(true).output();
    within_time(Duration::from_secs(60), "natpulse probe", output).await.unwrap()
}

const ECHO: &str = "[[bridge]]\nname = \"ws\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n";
const SHORT: [&str; 4] = ["--min", "100ms", "--max", "500ms"];

#[tokio::test]
async fn a_network_that_forgets_nothing_is_said_to_keep_as_long_as_was_asked() {
    let natpulse = Natpulse::start(ECHO).await;
    let url = natpulse.url("ws");
    let output = run(probe(&[&[&url[..]], &SHORT[..]].concat())).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("kept") && text.contains("for 0.5 s at least"), "{text}");
    assert!(!text.contains('\r') && text.lines().all(|line| line.len() < 80), "{text}");

    let output = run(probe(&[&[&url[..], "--json"], &SHORT[..]].concat())).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["url"], &told["refuted_s"]), (&Value::from(url), &Value::Null));
    assert!(told["proven_s"].as_f64() >= Some(0.5), "{told}");
    assert_eq!(natpulse.opened().await, 0, "no session");
}

#[tokio::test]
async fn a_far_end_that_is_no_natpulse_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other = async { RawWs::accept(listener.accept().await.unwrap().0).await.unwrap() };
    let url = format!("ws://{address}/");
    let (output, _ws) = tokio::join!(run(probe(&[&url])), other);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the far end is no natpulse"), "{text}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn what_cannot_be_measured_is_said() {
    let natpulse = Natpulse::start(ECHO).await;
    let url = natpulse.url("ws");
    let cases = [
        (vec!["ws://127.0.0.1:1/"], 1, "cannot reach ws://127.0.0.1:1/"),
        (vec!["tcp://127.0.0.1:1"], 1, "listens on ws://"),
        (vec!["nothing"], 2, "must be "),
        (vec![&url, "--min", "20s", "--max", "10s"], 2, "--min must be shorter than --max"),
        (vec![&url, "--min", "20"], 2, "a duration such as"),
        (vec![&url, "--max", "25h"], 2, "a duration such as"),
        (vec![&url, "--precision", "1%"], 2, "a percentage from 2% to 7%"),
        (vec![&url, "--probes", "0"], 2, "1..=64"),
    ];
    for (args, code, why) in cases {
        let output = run(probe(&args)).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(why), "{args:?}: {text}");
    }
    let lost = format!("{url}nobody");
    let text = String::from_utf8(run(probe(&[&lost])).await.stderr).unwrap();
    assert!(text.contains("404"), "{text}");
}

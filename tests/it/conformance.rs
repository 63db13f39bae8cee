//! The cases of the Autobahn WebSocket test suite, run by kosoku against the
//! WebSocket listener. Those about compression (12 and 13) are left out: natpulse
//! offers no extension.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::process::within_time;
use crate::tools::{TempDir, test_tool};

/// Every case there is in the groups 1 to 7, 9 and 10.
const CASES: usize = 301;

/// The cases that may come out as something other than strictly OK, and why that is right.
const ACCEPTED: &[(&[&str], &str, &str)] = &[
    (
        &["3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"],
        "NON-STRICT",
        "a message, then at once a frame that breaks the protocol: the connection fails on seeing it, \
         which is before the answer to the message was on its way back",
    ),
    (
        &["6.4.3", "6.4.4"],
        "NON-STRICT",
        "text that turns invalid inside a short frame: it is refused when the frame is whole, and \
         nothing of it was passed on before",
    ),
    (
        &["7.1.6"],
        "INFORMATIONAL",
        "has no other outcome: a close frame right behind messages is answered at once, and what they \
         are answered with has nowhere to go any more",
    ),
    (
        &["7.13.1", "7.13.2"],
        "INFORMATIONAL",
        "has no other outcome: what a close code above 4999 means is left open by RFC 6455",
    ),
];

/// Runs all cases against `url`, and panics with each one whose outcome was neither OK
/// nor is in [`ACCEPTED`].
async fn conforms(url: &str) {
    let reports = TempDir::new();
    let running = Command::new(test_tool("venv/bin/kosoku"))
        .args(["--mode", "fuzzingclient", url, "--outdir"])
        .arg(reports.path())
        .args(["--exclude", "12.*", "--exclude", "13.*"])
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .output();
    let output = within_time(Duration::from_secs(300), "kosoku", running).await;
    let stderr = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();

    let index = fs::read_to_string(reports.path().join("index.json"));
    let index = index.unwrap_or_else(|_| panic!("kosoku wrote no report: {stderr}"));
    // One entry for each name the server gave itself, so usually one.
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&index).unwrap();
    let cases: Vec<_> = index.values().flatten().collect();
    assert_eq!(cases.len(), CASES, "{stderr}");
    let surprises: Vec<String> = cases
        .iter()
        .filter_map(|(case, outcome)| {
            let behavior = outcome["behavior"].as_str().unwrap();
            let close = outcome["behaviorClose"].as_str().unwrap();
            let fine = (behavior, close) == ("OK", "OK")
                || ACCEPTED.iter().any(|(known, expected, _)| {
                    known.contains(&case.as_str())
                        && *expected == behavior
                        && ["OK", behavior].contains(&close)
                });
            let report = reports.path().join(outcome["reportfile"].as_str()?);
            let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
            let told = (&report["result"], &report["resultClose"]);
            (!fine).then(|| format!("{case}: {behavior}, close {close}: {told:?}"))
        })
        .collect();
    assert!(surprises.is_empty(), "{}\n{stderr}", surprises.join("\n"));
}

#[tokio::test]
async fn the_echo_backend_passes_the_autobahn_cases() {
    let natpulse = Natpulse::start(
        r#"
        [[bridge]]
        name = "echo"
        listen = "ws://127.0.0.1:0/echo"
        backend = "echo:"
        max_message = "32MiB"
        "#,
    )
    .await;
    let fds = natpulse.fds();
    conforms(&natpulse.url("echo")).await;
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framed_tcp_backend_passes_the_autobahn_cases() {
    let backend = Backend::framed_echo().await;
    let natpulse = Natpulse::start(&format!(
        r#"
        [[bridge]]
        name = "framed"
        listen = "ws://127.0.0.1:0/framed"
        backend = {{ url = "tcp://{}", framing = "u32be" }}
        message = "mirror"
        max_message = "32MiB"
        "#,
        backend.addr
    ))
    .await;
    let fds = natpulse.fds();
    conforms(&natpulse.url("framed")).await;
    natpulse.settles_to(fds).await;
    natpulse.stop().await;
}

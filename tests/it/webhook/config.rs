//! What may be written about events.

use std::fs;
use std::path::Path;

use crate::bad_input::config::{BRIDGE, each_is_told, run};
use crate::tools::TempDir;

#[tokio::test]
async fn a_wrong_setting_is_told_with_its_place_and_its_rule() {
    let dir = TempDir::new();
    let short = dir.path().join("short");
    fs::write(&short, "  fifteen letters  \n").unwrap();
    let missing = dir.path().join("missing");
    let [short, missing, endless] =
        [&short, &missing, Path::new("/dev/zero")].map(|file| format!("secret_file = {file:?}"));
    let [short_file, missing_file, endless_file] =
        [&short, &missing, &endless].map(|line| format!("§{line}"));
    let cases = [
        ("§webhook = 8000", "webhook = 8000", "http://HOST:PORT/path"),
        ("§webhook = \"/path\"", "webhook = \"/path\"", "http://HOST:PORT/path"),
        ("§webhook = \"http://u@a.example/\"", "webhook = \"http://u@a.example/\"", "http://HOST:PORT/path"),
        ("§queue = 0", "queue = 0", "a whole number from 1 to 1000000"),
        ("§queue = 1000001", "queue = 1000001", "a whole number from 1 to 1000000"),
        ("§secret_file = 1", "secret_file = 1", "the path of a file"),
        (&missing_file[..], &missing[..], "that can be read (No such file"),
        (&short_file[..], &short[..], "a file whose first line has at least 16 characters"),
        (&endless_file[..], &endless[..], "and at most 4096 bytes"),
        ("§often = 1", "often = 1", "a known key: webhook, tls, secret_file, queue"),
    ];
    let mut all: Vec<_> = cases
        .iter()
        .map(|(line, told, rule)| {
            let webhook = if line.contains("webhook") { "" } else { "webhook = \"http://a.example/\"" };
            (format!("[events]\n{line}\n{webhook}\n{BRIDGE}"), format!("events.{told}"), *rule)
        })
        .collect();
    all.push((format!("[§events]\nqueue = 1\n{BRIDGE}"), "events.webhook is missing".into(), "http://HOST"));
    let all: Vec<_> = all.iter().map(|(config, told, rule)| (config.clone(), &told[..], *rule)).collect();
    each_is_told(&all).await;
}

#[tokio::test]
async fn what_is_in_effect_is_printed_without_the_secret() {
    let dir = TempDir::new();
    let secret = dir.path().join("secret");
    fs::write(&secret, "a secret that nobody sees").unwrap();
    let table =
        format!("[events]\nwebhook = \"http://a.example/x\"\nsecret_file = {:?}\n", secret.to_str().unwrap());
    let (lines, code) = run("check", &format!("{table}{BRIDGE}"), &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let printed = lines.join("\n");
    let expected = table.replace("a.example/", "a.example:80/") + "queue = 10000\n";
    assert!(printed.contains(&expected), "{printed}");
    assert!(!printed.contains("nobody sees"), "{printed}");
    let (lines, code) = run("check", &format!("[events]\n{BRIDGE}"), &[]).await;
    assert_eq!(code, Some(0), "an empty table is no webhook: {lines:?}");
}

//! What the config may say of who may come in.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::with;
use crate::bad_input::config::{BRIDGE, each_is_told, run};
use crate::harness::{authority, http};
use crate::process::{Process, within};
use crate::tools::TempDir;

fn access(table: &str) -> String {
    format!("{BRIDGE}access = {{ {table} }}\n")
}

fn on(listen: &str, table: &str) -> String {
    access(table).replacen("ws://127.0.0.1:0/", listen, 1)
}

#[tokio::test]
async fn a_wrong_value_is_told_with_its_place_and_its_rule() {
    let origins = "a list of origins as browsers write them";
    let networks = "a list of addresses and networks";
    let websocket = "left out: only the clients of a ws listener";
    let unix = "left out: clients of a Unix socket have no addresses";
    let mut cases = vec![
        (format!("{BRIDGE}§access = true\n"), "bridge[0].access = true", "must be a table"),
        (access("§origins = \"*\""), "bridge[0].access.origins = \"*\"", origins),
        (access("§allow = \"10.0.0.0/8\""), "bridge[0].access.allow = \"10.0.0.0/8\"", networks),
        (access("§deny = [\"10.0.0.1/8\"]"), "bridge[0].access.deny = [...]", networks),
        (access("§allow = [\"host\"]"), "bridge[0].access.allow = [...]", networks),
        (
            access("§tokens = 1"),
            "bridge[0].access.tokens = 1",
            "a known key: origins, token_file, jwt, cookie",
        ),
        (on("tcp://127.0.0.1:0", "§origins = [\"*\"]"), "bridge[0].access.origins = [...]", websocket),
        (on("unix:///run/x", "§origins = [\"*\"]"), "bridge[0].access.origins = [...]", websocket),
        (on("unix:///run/x", "§allow = [\"::1\"]"), "bridge[0].access.allow = [...]", unix),
        (on("unix:///run/x", "§deny = [\"::1\"]"), "bridge[0].access.deny = [...]", unix),
    ];
    for list in [
        "[\"app.example\"]",
        "[\"https://app.example/\"]",
        "[\"https://app.example:443\"]",
        "[\"https://*.example\"]",
        "[\"HTTPS://app.example\"]",
        "[\"https://app.example\", \"*\"]",
        "[1]",
    ] {
        cases.push((access(&format!("§origins = {list}")), "bridge[0].access.origins = [...]", origins));
    }
    each_is_told(&cases).await;
}

#[tokio::test]
async fn check_prints_what_is_in_effect_and_warns_of_what_is_wide_open() {
    let table = "origins = [\"https://app.example\", \"null\"], allow = [\"10.0.0.0/8\", \"::1/128\"], \
                 deny = [\"10.1.2.3/32\"]";
    let (lines, code) = run("check", &access(table), &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.contains(&format!("access = {{ {table} }}")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("warning")), "{lines:#?}");

    let (lines, code) = run("check", &access("origins = [\"*\"]"), &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.iter().any(|line| line == "access = { origins = [\"*\"] }"), "{lines:#?}");
    let warned = lines.iter().any(|line| line.starts_with("warning: bridge a: access.origins = [\"*\"]"));
    assert!(warned, "{lines:#?}");

    let (lines, _) = run("check", BRIDGE, &[]).await;
    assert!(!lines.iter().any(|line| line.contains("access")), "{lines:#?}");
}

#[tokio::test]
async fn what_is_wrong_with_tokens_is_told_without_what_they_are() {
    let dir = TempDir::new();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good", "open-sesame-0123456789-and-some-more\n");
    let short = file("short", "sesame\n");
    let none = file("none", "# nobody\n");
    let set = file("set", "{\"keys\": []}");
    let jwt = |table: &str| access(&format!("jwt = {{ {table} }}"));
    let (asked, key_file) =
        ("left out, or beside token_file or jwt", "one of secret_file, key_file and jwks_file");
    let algorithms = "a list of one or more of \"HS256\"";
    let told = |key: &str, value: &str| format!("bridge[0].access.{key} = {value}");
    let missing = "bridge[0].access.jwt.algorithms is missing";
    let hs = "algorithms = [\"HS256\"]";
    let cases = [
        (access("§token_file = 1"), told("token_file", "1"), "the path of a file"),
        (access("§token_file = \"/nowhere\""), told("token_file", "\"/nowhere\""), "that can be read"),
        (
            access(&format!("§token_file = \"{short}\"")),
            told("token_file", &format!("\"{short}\"")),
            "(line 1",
        ),
        (
            access(&format!("§token_file = \"{none}\"")),
            told("token_file", &format!("\"{none}\"")),
            "at least one",
        ),
        (access("§cookie = \"sid\""), told("cookie", "\"sid\""), asked),
        (access("§query_token = true"), told("query_token", "true"), asked),
        (
            access(&format!("token_file = \"{good}\", §cookie = \"a b\"")),
            told("cookie", "\"a b\""),
            "name of a cookie",
        ),
        (
            access(&format!("token_file = \"{good}\", §query_token = 1")),
            told("query_token", "1"),
            "true or false",
        ),
        (
            on("tcp://127.0.0.1:0", &format!("§token_file = \"{good}\"")),
            told("token_file", &format!("\"{good}\"")),
            "left out",
        ),
        (access("§jwt = 1"), told("jwt", "1"), key_file),
        (jwt(hs).replacen("jwt", "§jwt", 1), told("jwt", "{...}"), key_file),
        (
            jwt(&format!("secret_file = \"{good}\", key_file = \"{good}\", {hs}")).replacen("jwt", "§jwt", 1),
            told("jwt", "{...}"),
            key_file,
        ),
        (
            jwt(&format!("§secret_file = \"{short}\", {hs}")),
            told("jwt.secret_file", &format!("\"{short}\"")),
            "32 characters",
        ),
        (
            jwt(&format!("§key_file = \"{good}\", {hs}")),
            told("jwt.key_file", &format!("\"{good}\"")),
            "PUBLIC KEY",
        ),
        (
            jwt(&format!("§jwks_file = \"{good}\", {hs}")),
            told("jwt.jwks_file", &format!("\"{good}\"")),
            "JSON Web Key Set",
        ),
        (
            jwt(&format!("§jwks_file = \"{set}\", {hs}")),
            told("jwt.jwks_file", &format!("\"{set}\"")),
            "a set with a key",
        ),
        (
            jwt(&format!("§secret_file = \"{good}\", algorithms = [\"RS256\"]")),
            told("jwt.secret_file", &format!("\"{good}\"")),
            "one for HS256",
        ),
        (
            jwt(&format!("secret_file = \"{good}\", §algorithms = []")),
            told("jwt.algorithms", "[...]"),
            algorithms,
        ),
        (
            jwt(&format!("secret_file = \"{good}\", §algorithms = [\"none\"]")),
            told("jwt.algorithms", "[...]"),
            algorithms,
        ),
        (jwt(&format!("secret_file = \"{good}\", §issuer = 1, {hs}")), told("jwt.issuer", "1"), "a name"),
        (jwt(&format!("secret_file = \"{good}\", §leeway = 1, {hs}")), told("jwt.leeway", "1"), "a duration"),
        (
            jwt(&format!("secret_file = \"{good}\", §kid = 1, {hs}")),
            told("jwt.kid", "1"),
            "a known key: algorithms",
        ),
    ];
    let cases: Vec<_> = cases.iter().map(|(text, told, rule)| (text.clone(), &told[..], *rule)).collect();
    each_is_told(&cases).await;
    let (lines, _) = run("check", &jwt(&format!("secret_file = \"{good}\"")), &[]).await;
    assert!(lines.len() == 1 && lines[0].contains(missing), "{lines:?}");
}

#[tokio::test]
async fn check_prints_what_tokens_must_be_and_warns_of_what_others_may_read() {
    let dir = TempDir::new();
    let file = dir.path().join("secret");
    fs::write(&file, "open-sesame-0123456789-and-some-more\n").unwrap();
    let file = file.display();
    let table = format!(
        "token_file = \"{file}\", jwt = {{ secret_file = \"{file}\", algorithms = [\"HS256\"], issuer = \"i\", \
         audience = \"a\", leeway = \"1m\" }}, cookie = \"sid\", query_token = true"
    );
    let (lines, code) = run("check", &access(&table), &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.contains(&format!("access = {{ {table} }}")), "{lines:#?}");
    let warnings: Vec<_> =
        lines.iter().filter_map(|line| line.strip_prefix("warning: bridge a: access.")).collect();
    for (warning, start) in
        warnings.iter().zip(["token_file: everyone", "jwt: everyone", "query_token = true"])
    {
        assert!(warning.starts_with(start), "{warnings:?}");
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(!lines.join("\n").contains("sesame"));
}

#[tokio::test]
async fn a_command_line_names_origins_too() {
    let bridge = |origin: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_natpulse"));
        let listen = ["bridge", "ws://127.0.0.1:0/", "echo:", "--admin", "127.0.0.1:0", "--origin"];
        command.args(listen).arg(origin);
        Process::spawn(command)
    };
    let mut wrong = bridge("app.example");
    assert_eq!(wrong.exit().await.code(), Some(2));
    let told = &wrong.lines()[0];
    assert!(told.starts_with("argument --origin: bridge[0].access.origins = [...]: must be"), "{told}");

    let right = bridge("https://app.example");
    let address = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_listening = event["message"] == "listening";
        is_listening.then(|| authority(event["listen"].as_str().unwrap()).parse().unwrap())
    };
    let address = right.wait_line("a listener", address).await;
    let foreign = with("Origin: https://other.example");
    assert_eq!(http(address, &foreign).await.status, 403);
    let mut client = TcpStream::connect::<SocketAddr>(address).await.unwrap();
    client.write_all(with("Origin: https://app.example").as_bytes()).await.unwrap();
    let mut start = [0; 13];
    within("the answer", client.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 101 ");
}

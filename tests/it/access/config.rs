//! What the config may say of who may come in.

use crate::bad_input::config::{BRIDGE, each_is_told, run};

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
        (access("§tokens = 1"), "bridge[0].access.tokens = 1", "a known key: origins, allow, deny"),
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

//! What may be written about heartbeats.

use crate::bad_input::config::{BRIDGE, each_is_told};

const EVERYWHERE: &str = "heartbeat";
const ON_THE_CLIENT: &str = "bridge[0].listen.heartbeat";

/// The same settings for all ends, and for the client's alone.
fn places(settings: &str) -> [(String, &'static str); 2] {
    let on_the_client = format!("listen = {{ url = \"ws://127.0.0.1:0/\", heartbeat = {{ {settings} }} }}");
    let bridge = BRIDGE.replace("listen = \"ws://127.0.0.1:0/\"", &on_the_client);
    let table = settings.replace(", ", "\n");
    [(format!("[heartbeat]\n{table}\n{BRIDGE}"), EVERYWHERE), (bridge, ON_THE_CLIENT)]
}

#[tokio::test]
async fn a_wrong_setting_is_told_with_its_place_and_its_rule() {
    let not_shorter = "shorter than the shortest interval between beats, which is";
    let cases = [
        ("§policy = \"clever\"", "policy = \"clever\"", "one of \"off\", \"fixed\", \"wechat\", \"smart\""),
        ("§min = 15", "min = 15", "a duration such as"),
        ("§min = \"11m\"", "min = \"11m\"", "at most max, which is 10m"),
        ("§max = \"5s\", min = \"15s\"", "min = \"15s\"", "at most max, which is 5s"),
        ("§margin = 4", "margin = 4", "a percentage from \"0%\" to \"50%\""),
        ("§margin = \"4.25%\"", "margin = \"4.25%\"", "with at most one decimal"),
        ("§margin = \"51%\"", "margin = \"51%\"", "a percentage"),
        ("§reply_timeout = \"99ms\"", "reply_timeout = \"99ms\"", "at least 100ms"),
        ("§reply_timeout = \"15s\"", "reply_timeout = \"15s\"", not_shorter),
        (
            "policy = \"fixed\", every = \"10s\", §reply_timeout = \"10s\"",
            "reply_timeout = \"10s\"",
            not_shorter,
        ),
        ("§explore = 1", "explore = 1", "true or false"),
        ("§probes = 65", "probes = 65", "a whole number from 0 to 64"),
        ("policy = \"wechat\", §good = 0", "good = 0", "a whole number from 1 to 255"),
        ("policy = \"smart\", §good = 5", "good = 5", "a known key: policy, every, min, max"),
        ("§often = true", "often = true", "a known key: policy, every, min, max"),
    ];
    let mut all = Vec::new();
    for (settings, told, rule) in &cases {
        for (config, place) in places(settings) {
            // The mark is at the key that is blamed, which is not always the first.
            let key = told.split(" = ").next().unwrap();
            let marked = config.replace('§', "").replacen(&format!("{key} ="), &format!("§{key} ="), 1);
            all.push((marked, format!("{place}.{told}"), *rule));
        }
    }
    let all: Vec<_> = all.iter().map(|(config, told, rule)| (config.clone(), &told[..], *rule)).collect();
    each_is_told(&all).await;
}

#[tokio::test]
async fn a_fixed_interval_must_be_given() {
    let cases = [
        (format!("[§heartbeat]\npolicy = \"fixed\"\n{BRIDGE}"), "heartbeat.every is missing", "a duration"),
        (
            format!("[heartbeat]\n{BRIDGE}§heartbeat = \"off\"\n"),
            "bridge[0].heartbeat = \"off\"",
            "a known key",
        ),
    ];
    each_is_told(&cases).await;
}

#[test]
fn what_is_written_for_an_end_goes_before_what_is_written_for_all() {
    let text = "[heartbeat]\nmin = \"20s\"\nmargin = \"2.5%\"\nexplore = false\n[[bridge]]\nname = \"a\"\n\
                listen = { url = \"ws://127.0.0.1:0/\", heartbeat = { min = \"30s\" } }\n\
                backend = { url = \"ws://127.0.0.1:1/\", heartbeat = \"wechat\" }\n";
    let config = natpulse::config::Config::parse("test", text, std::iter::empty()).unwrap();
    let bridge = &config.bridges[0];
    let listen = &bridge.listen.heartbeat.settings;
    assert_eq!((listen.min.as_secs(), listen.margin_permille, listen.explore), (30, 25, false));
    let written = config.to_string();
    let again = natpulse::config::Config::parse("test", &written, std::iter::empty()).unwrap();
    assert_eq!(again, config, "{written}");
    assert!(written.contains("min = \"210s\", max = \"10m\""), "{written}");
}

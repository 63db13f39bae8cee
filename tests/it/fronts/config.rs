//! What may be written about other proxies.

use crate::bad_input::config::{each_is_told, run};

fn ends(listen: &str, backend: &str) -> String {
    format!("[[bridge]]\nname = \"a\"\nlisten = {listen}\nbackend = {backend}\n")
}

const WS: &str = "\"ws://127.0.0.1:8080/\"";
const ECHO: &str = "\"echo:\"";

#[tokio::test]
async fn a_wrong_word_about_proxies_is_told_with_its_place_and_its_rule() {
    let networks = "must be a list of addresses and networks such as";
    let listen = |value: &str| ends(&format!("{{ url = {WS}, §proxy_protocol = {value} }}"), ECHO);
    let backend =
        |url: &str, value: &str| ends(WS, &format!("{{ url = \"{url}\", §proxy_protocol = {value} }}"));
    let two = |one: &str, other: &str| {
        format!(
            "[[bridge]]\nname = \"a\"\nlisten = {{ url = {WS}{one} }}\nbackend = {ECHO}\n\
             [[bridge]]\nname = \"b\"\n§listen = {{ url = \"ws://127.0.0.1:8080/b\"{other} }}\nbackend = {ECHO}\n"
        )
    };
    let unix = ends("{ url = \"unix:///run/a\", §proxy_protocol = [\"10.0.0.1\"] }", ECHO);
    let of_listen = "bridge[0].listen.proxy_protocol";
    let of_backend = "bridge[0].backend.proxy_protocol";
    let same = "must be the same as that of bridge a, which shares the address 127.0.0.1:8080";
    let cases = [
        (listen("true"), &*format!("{of_listen} = true"), networks),
        (listen("[]"), &*format!("{of_listen} = [...]"), networks),
        (listen("[\"10.0.0.1/8\"]"), &*format!("{of_listen} = [...]"), networks),
        (unix, &*format!("{of_listen} = [...]"), "must be left out"),
        (backend("tcp://127.0.0.1:1", "\"v3\""), &*format!("{of_backend} = \"v3\""), "one of \"v1\", \"v2\""),
        (backend("tcp://127.0.0.1:1", "2"), &*format!("{of_backend} = 2"), "one of \"v1\", \"v2\""),
        (backend("echo:", "\"v2\""), &*format!("{of_backend} = \"v2\""), "must be left out"),
        (two(", proxy_protocol = [\"10.0.0.0/8\"]", ""), "bridge[1].listen.proxy_protocol = []", same),
        (
            two("", ", proxy_protocol = [\"10.0.0.0/8\"]"),
            "bridge[1].listen.proxy_protocol = [\"10.0.0.0/8\"]",
            same,
        ),
    ];
    each_is_told(&cases).await;
}

#[tokio::test]
async fn what_is_written_about_proxies_is_printed_as_it_was_read() {
    let listen = "{ url = \"ws://127.0.0.1:0/\", proxy_protocol = [\"10.0.0.0/8\", \"::1\"] }";
    let config = ends(listen, "{ url = \"tcp://127.0.0.1:1\", proxy_protocol = \"v2\" }");
    let (lines, code) = run("check", &config, &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("proxy_protocol = [\"10.0.0.0/8\", \"::1/128\"]"), "{lines:?}");
    assert!(has("proxy_protocol = \"v2\""), "{lines:?}");
    let (again, _) = run("check", &lines.join("\n"), &[]).await;
    assert_eq!(again, lines);
}

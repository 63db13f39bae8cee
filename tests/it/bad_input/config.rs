//! Configurations with a mistake in them: each is told with its place, its key, its value and
//! the rule it breaks.

use std::process::Command;

use crate::process::Process;
use crate::tools::TempDir;

/// What natpulse says about a configuration file, a line each, and its exit code. In what it
/// says, the file is called FILE.
pub async fn run(command: &str, config: &str, environment: &[(&str, &str)]) -> (Vec<String>, Option<i32>) {
    let dir = TempDir::new();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let mut natpulse = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    natpulse.args([command, "-c"]).arg(&file).envs(environment.iter().copied());
    let mut process = Process::spawn(natpulse);
    let code = process.exit().await.code();
    let name = file.to_str().unwrap();
    (process.lines().iter().map(|line| line.replace(name, "FILE")).collect(), code)
}

/// Where the sign § stands, as line and column, and the text without it.
pub fn unmark(text: &str) -> (String, String) {
    let at = text.find('§').expect("a § where the mistake is");
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[..at].matches('\n').count() + 1;
    let column = text[line_start..at].chars().count() + 1;
    (format!("FILE:{line}:{column}"), text.replacen('§', "", 1))
}

/// Each configuration has one mistake, at the §; it is told as key and value, with words of
/// the rule it breaks.
pub async fn each_is_told(cases: &[(String, &str, &str)]) {
    let mut wrong = Vec::new();
    for (marked, told, rule) in cases {
        let (place, config) = unmark(marked);
        let (lines, code) = run("check", &config, &[]).await;
        let is_told = match &lines[..] {
            [line] => line.starts_with(&format!("{place}: {told}: ")) && line.contains(rule),
            _ => false,
        };
        if !is_told || code != Some(2) {
            wrong.push(format!(
                "{config}\nexpected {place}: {told}: ...{rule}...\ngot {}, exit {code:?}\n",
                lines.join("\n    ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

pub const BRIDGE: &str =
    "[[bridge]]\nname = \"a\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"tcp://127.0.0.1:1\"\n";

/// A bridge that is right, and a line that is not.
fn in_bridge(line: &str) -> String {
    format!("# A comment with an ä.\n{BRIDGE}{line}\n")
}

fn in_server(line: &str) -> String {
    format!("[server]\n{line}\n{BRIDGE}")
}

/// A bridge whose end `key` is written as `value`.
fn with_end(key: &str, value: &str) -> String {
    let other = if key == "listen" { "backend = \"echo:\"" } else { "listen = \"ws://127.0.0.1:0/\"" };
    format!("[[bridge]]\nname = \"a\"\n{other}\n{value}\n")
}

/// A bridge whose backend has the framing `framing`.
fn with_framing(framing: &str) -> String {
    with_end("backend", &format!("backend = {{ url = \"tcp://127.0.0.1:1\", {framing} }}"))
}

#[tokio::test]
async fn a_wrong_value_is_told_with_its_place_and_its_rule() {
    let duration = "must be a duration such as \"500ms\"";
    let size = "such as 512, \"64KiB\"";
    let whole = "must be a whole number of at least 1";
    let mut cases = vec![
        (in_server("§drain_window = 20"), "server.drain_window = 20", duration),
        (in_server("§drain_delay = \"soon\""), "server.drain_delay = \"soon\"", duration),
        (in_server("  §drain_window = \"20\""), "server.drain_window = \"20\"", duration),
        (in_server("§drain_window = \"1.5s\""), "server.drain_window = \"1.5s\"", duration),
        (in_server("§drain_window = \"-1s\""), "server.drain_window = \"-1s\"", duration),
        (in_server("§handshake_timeout = 2026-01-01"), "server.handshake_timeout = 2026-01-01", duration),
        (in_server("§handshake_timeout = true"), "server.handshake_timeout = true", duration),
        (in_server("§max_sessions = 0"), "server.max_sessions = 0", whole),
        (in_server("§max_sessions = -5"), "server.max_sessions = -5", whole),
        (in_server("§max_sessions = \"many\""), "server.max_sessions = \"many\"", whole),
        (in_server("§max_sessions = 1.5"), "server.max_sessions = 1.5", whole),
        (
            in_server("§max_sessions = 99999999999999999999"),
            "server.max_sessions = 99999999999999999999",
            whole,
        ),
        (
            in_server("§unknown = 1"),
            "server.unknown = 1",
            "a known key: drain_delay, drain_window, max_sessions",
        ),
        (format!("§server = 1\n{BRIDGE}"), "server = 1", "must be a table"),
        (
            format!("§servers = 1\n{BRIDGE}"),
            "servers = 1",
            "a known key: server, log, admin, heartbeat, networks, events, limits, access, bridge",
        ),
        (
            format!("[log]\n§level = \"loud\"\n{BRIDGE}"),
            "log.level = \"loud\"",
            "\"error\", \"warn\", \"info\"",
        ),
        (format!("[log]\n§level = 3\n{BRIDGE}"), "log.level = 3", "\"error\", \"warn\", \"info\""),
        (
            format!("[log]\n§format = \"xml\"\n{BRIDGE}"),
            "log.format = \"xml\"",
            "\"auto\", \"text\", \"json\"",
        ),
        (format!("[log]\n§file = \"a\"\n{BRIDGE}"), "log.file = \"a\"", "a known key: level, format"),
        (format!("[admin]\n§listen = 9464\n{BRIDGE}"), "admin.listen = 9464", "an address and a port"),
        (format!("[admin]\n§listen = \"::1\"\n{BRIDGE}"), "admin.listen = \"::1\"", "an address and a port"),
        (format!("[admin]\n§listen = \"a:1\"\n{BRIDGE}"), "admin.listen = \"a:1\"", "an address and a port"),
        (format!("[admin]\n§port = 1\n{BRIDGE}"), "admin.port = 1", "a known key: listen"),
        (
            in_bridge("§message = \"json\""),
            "bridge[0].message = \"json\"",
            "\"binary\", \"text\", \"mirror\"",
        ),
        (in_bridge("§message = 1"), "bridge[0].message = 1", "\"binary\", \"text\", \"mirror\""),
        (in_bridge("§max_message = 0"), "bridge[0].max_message = 0", size),
        (in_bridge("§max_message = \"0KiB\""), "bridge[0].max_message = \"0KiB\"", size),
        (in_bridge("§max_message = -1"), "bridge[0].max_message = -1", size),
        (in_bridge("§max_message = \"16MB\""), "bridge[0].max_message = \"16MB\"", size),
        (in_bridge("§max_message = \"99999999999GiB\""), "bridge[0].max_message = \"99999999999GiB\"", size),
        (in_bridge("§max_message = [1]"), "bridge[0].max_message = [...]", size),
        (in_bridge("§dial_timeout = 10"), "bridge[0].dial_timeout = 10", duration),
        (in_bridge("§linger = \"forever\""), "bridge[0].linger = \"forever\"", duration),
        (in_bridge("§demo = \"yes\""), "bridge[0].demo = \"yes\"", "must be true or false"),
        (in_bridge("§demo = 1"), "bridge[0].demo = 1", "must be true or false"),
        (
            in_bridge("§framing = \"u32be\""),
            "bridge[0].framing = \"u32be\"",
            "a known key: name, listen, backend",
        ),
    ];
    for value in ["\"a\"", "1"] {
        let told =
            ["bridge[0].subprotocols = \"a\"", "bridge[0].subprotocols = 1"][usize::from(value == "1")];
        cases.push((
            in_bridge(&format!("§subprotocols = {value}")),
            told,
            "a list of distinct subprotocol names",
        ));
    }
    for value in ["[1]", "[\"a b\"]", "[\"\"]", "[\"a\", \"a\"]"] {
        let line = in_bridge(&format!("§subprotocols = {value}"));
        cases.push((line, "bridge[0].subprotocols = [...]", "a list of distinct subprotocol names"));
    }
    for (name, told) in [
        ("\"\"", "bridge[0].name = \"\""),
        ("\"a b\"", "bridge[0].name = \"a b\""),
        ("\"ä\"", "bridge[0].name = \"ä\""),
        ("7", "bridge[0].name = 7"),
    ] {
        let config = BRIDGE.replace("name = \"a\"", &format!("§name = {name}"));
        cases.push((config, told, "a name of 1 to 64 letters, digits, - and _"));
    }
    each_is_told(&cases).await;
}

#[tokio::test]
async fn a_wrong_end_is_told_with_its_place_and_its_rule() {
    let listen_rule = "wss://ADDRESS:PORT/path, tcp://ADDRESS:PORT, tls://ADDRESS:PORT or unix:///path";
    let backend_rule =
        "tcp://HOST:PORT, tls://HOST:PORT, ws://HOST:PORT/path, wss://HOST:PORT/path, unix:///path or echo:";
    let mut cases = Vec::new();
    for (key, url, told, rule) in [
        ("listen", "8080", "bridge[0].listen.url = \"8080\"", listen_rule),
        ("listen", "ws://example.com:1/", "bridge[0].listen.url = \"ws://example.com:1/\"", listen_rule),
        ("listen", "ws://127.0.0.1:99999/", "bridge[0].listen.url = \"ws://127.0.0.1:99999/\"", listen_rule),
        ("listen", "ws://127.0.0.1:1/?q", "bridge[0].listen.url = \"ws://127.0.0.1:1/?q\"", listen_rule),
        ("listen", "tcp://127.0.0.1", "bridge[0].listen.url = \"tcp://127.0.0.1\"", listen_rule),
        ("listen", "tcp://127.0.0.1:1/x", "bridge[0].listen.url = \"tcp://127.0.0.1:1/x\"", listen_rule),
        ("listen", "echo:", "bridge[0].listen.url = \"echo:\"", listen_rule),
        ("listen", "wss://127.0.0.1:1/?q", "bridge[0].listen.url = \"wss://127.0.0.1:1/?q\"", listen_rule),
        ("listen", "unix://relative", "bridge[0].listen.url = \"unix://relative\"", "an absolute path"),
        ("backend", "host:1", "bridge[0].backend.url = \"host:1\"", backend_rule),
        ("backend", "udp://host:1", "bridge[0].backend.url = \"udp://host:1\"", backend_rule),
        ("backend", "tcp://host", "bridge[0].backend.url = \"tcp://host\"", backend_rule),
        ("backend", "echo:x", "bridge[0].backend.url = \"echo:x\"", backend_rule),
        ("backend", "tls://host", "bridge[0].backend.url = \"tls://host\"", backend_rule),
    ] {
        cases.push((with_end(key, &format!("§{key} = \"{url}\"")), told, rule));
        cases.push((with_end(key, &format!("{key} = {{ §url = \"{url}\" }}")), told, rule));
    }
    let long = format!("§listen = \"unix:///{}\"", "x".repeat(120));
    let told = format!("bridge[0].listen.url = \"unix:///{}\"", "x".repeat(120));
    cases.push((with_end("listen", &long), &told, "at most 107 bytes"));
    let ended = "left out: WebSockets and echo: have messages of their own";
    cases.extend([
        (with_end("listen", "§listen = 8080"), "bridge[0].listen = 8080", "a URL, or a table"),
        (with_end("listen", "listen = { §url = 8080 }"), "bridge[0].listen.url = 8080", "a URL"),
        (
            with_end("listen", "listen = { url = \"tcp://127.0.0.1:0\", §port = 1 }"),
            "bridge[0].listen.port = 1",
            "a known key: url, framing, heartbeat",
        ),
        (
            with_end("listen", "listen = { url = \"ws://127.0.0.1:0/\", §framing = \"u32be\" }"),
            "bridge[0].listen.framing = \"u32be\"",
            ended,
        ),
        (
            with_end("backend", "backend = { url = \"echo:\", §framing = \"line\" }"),
            "bridge[0].backend.framing = \"line\"",
            ended,
        ),
        (
            "[[bridge]]\nname = \"a\"\nlisten = \"tcp://127.0.0.1:0\"\n\
             backend = { url = \"tcp://127.0.0.1:1\", §framing = \"line\" }\n"
                .to_owned(),
            "bridge[0].backend.framing = \"line\"",
            "pieces of a raw stream are no records",
        ),
    ]);
    each_is_told(&cases).await;
}

#[tokio::test]
async fn a_wrong_framing_is_told_with_its_place_and_its_rule() {
    let words = "must be a table, or one of raw, u8, u16be";
    let framing = |rest: &str| format!("bridge[0].backend.framing{rest}");
    let cases = [
        ("§framing = \"u13be\"", framing(" = \"u13be\""), words),
        ("§framing = 4", framing(" = 4"), "a word or a table"),
        ("framing = { §length_field_length = 0 }", framing(".length_field_length = 0"), "from 1 to 8"),
        ("framing = { §length_field_length = 9 }", framing(".length_field_length = 9"), "from 1 to 8"),
        ("framing = { §length_field_offset = -1 }", framing(".length_field_offset = -1"), "from 0 to 255"),
        ("framing = { §length_adjustment = \"2\" }", framing(".length_adjustment = \"2\""), "a whole number"),
        (
            "framing = { §byte_order = \"middle\" }",
            framing(".byte_order = \"middle\""),
            "\"big\", \"little\"",
        ),
        ("framing = { §max_frame_length = 0 }", framing(".max_frame_length = 0"), "such as 512"),
        ("framing = { §max_frame_length = \"x\" }", framing(".max_frame_length = \"x\""), "such as 512"),
        (
            "framing = { §max_frame_length = 3 }",
            framing(".max_frame_length = 3"),
            "at least the size of the header",
        ),
        (
            "framing = { §initial_bytes_to_strip = 3 }",
            framing(".initial_bytes_to_strip = 3"),
            "0 (the header stays in the message) or length_field_length",
        ),
        (
            "framing = { length_field_offset = 2, §initial_bytes_to_strip = 4 }",
            framing(".initial_bytes_to_strip = 4"),
            "could not be put back",
        ),
        (
            "framing = { §lengthFieldLength = 4 }",
            framing(".lengthFieldLength = 4"),
            "a known key: byte_order",
        ),
        ("framing = { §end = \"\" }", framing(".end = \"\""), "1 to 64 bytes"),
        ("framing = { §end = \"hex:7\" }", framing(".end = \"hex:7\""), "bytes as \"hex:7e\""),
        ("framing = { §end = \"hex:xy\" }", framing(".end = \"hex:xy\""), "bytes as \"hex:7e\""),
        ("framing = { §end = 7 }", framing(".end = 7"), "bytes as \"hex:7e\""),
        ("framing = { end = \"a\", §start = [1] }", framing(".start = [...]"), "bytes as \"hex:7e\""),
        ("framing = { end = \"a\", §stop = 1 }", framing(".stop = 1"), "a known key: start, end"),
    ];
    let cases: Vec<_> =
        cases.iter().map(|(text, told, rule)| (with_framing(text), &told[..], *rule)).collect();
    each_is_told(&cases).await;
}

#[tokio::test]
async fn what_is_missing_is_told_with_the_place_where_it_belongs() {
    let cases: Vec<(String, &str, &str)> = vec![
        ("§".to_owned(), "bridge is missing", "at least one [[bridge]] table"),
        ("§bridge = []\n".to_owned(), "bridge = [...]", "at least one [[bridge]] table"),
        ("§bridge = 1\n".to_owned(), "bridge = 1", "at least one [[bridge]] table"),
        (
            format!("§{}", BRIDGE.replace("name = \"a\"\n", "")),
            "bridge[0].name is missing",
            "a name of 1 to 64",
        ),
        (
            format!("[log]\n§{}", BRIDGE.replace("listen =", "# listen =")),
            "bridge[0].listen is missing",
            "a URL, or a table",
        ),
        (
            format!(
                "{BRIDGE}§{}",
                BRIDGE.replace("backend =", "# backend =").replace("\"a\"", "\"b\"").replace("0/", "0/b")
            ),
            "bridge[1].backend is missing",
            "a URL, or a table",
        ),
        (
            with_end("backend", "§backend = { framing = \"u32be\" }"),
            "bridge[0].backend.url is missing",
            "a URL",
        ),
    ];
    each_is_told(&cases).await;
}

#[tokio::test]
async fn two_bridges_cannot_have_one_name_or_one_place() {
    let two = |first: &str, second: &str| {
        format!(
            "[[bridge]]\nname = \"a\"\nlisten = \"{first}\"\nbackend = \"echo:\"\n\
             [[bridge]]\nname = \"b\"\n§listen = \"{second}\"\nbackend = \"echo:\"\n"
        )
    };
    let again = BRIDGE.replace("name", "§name").replace("0/", "0/b");
    let own = "an address of its own, or a path of its own where both are ws; bridge[0] is there already";
    let cases = [
        (format!("{BRIDGE}{again}"), "bridge[1].name = \"a\"", "given to one bridge"),
        (
            two("ws://127.0.0.1:8080/x", "ws://127.0.0.1:8080/x"),
            "bridge[1].listen = \"ws://127.0.0.1:8080/x\"",
            own,
        ),
        (
            two("ws://127.0.0.1:8080/x", "ws://localhost:8080/x"),
            "bridge[1].listen = \"ws://localhost:8080/x\"",
            own,
        ),
        (two("ws://127.0.0.1:0/x", "ws://127.0.0.1:0/x"), "bridge[1].listen = \"ws://127.0.0.1:0/x\"", own),
        (
            two("ws://127.0.0.1:8080/x", "tcp://127.0.0.1:8080"),
            "bridge[1].listen = \"tcp://127.0.0.1:8080\"",
            own,
        ),
        (
            two("tcp://127.0.0.1:8080", "tcp://127.0.0.1:8080"),
            "bridge[1].listen = \"tcp://127.0.0.1:8080\"",
            own,
        ),
        (two("unix:///run/x", "unix:///run/x"), "bridge[1].listen = \"unix:///run/x\"", own),
    ];
    each_is_told(&cases).await;
}

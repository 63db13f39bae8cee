//! What may be written about limits.

use crate::bad_input::config::{BRIDGE, each_is_told, run};

#[tokio::test]
async fn a_wrong_limit_is_told_with_its_place_and_its_rule() {
    let of_all = |line: &str| format!("[limits]\n{line}\n{BRIDGE}");
    let of_bridge = |limit: &str| format!("{BRIDGE}limits = {{ {limit} }}\n");
    let count = "must be a whole number from 1 to";
    let cases = [
        (of_all("§sessions_per_address = 0"), "limits.sessions_per_address = 0", count),
        (of_all("§sessions_per_network = \"many\""), "limits.sessions_per_network = \"many\"", count),
        (of_all("§handshakes = -1"), "limits.handshakes = -1", count),
        (of_all("§handshakes_per_address = 1.5"), "limits.handshakes_per_address = 1.5", count),
        (of_all("§handshake_rate = 0"), "limits.handshake_rate = 0", count),
        (of_all("§handshake_burst = 2000000"), "limits.handshake_burst = 2000000", count),
        (of_all("§buffered = 0"), "limits.buffered = 0", "must be a size of 1 byte or more"),
        (of_all("§sessions = 5"), "limits.sessions = 5", "a known key: sessions_per_address"),
        (of_bridge("§sessions = 0"), "bridge[0].limits.sessions = 0", count),
        (of_bridge("§sessions_per_address = true"), "bridge[0].limits.sessions_per_address = true", count),
        (of_bridge("§max_age = \"0s\""), "bridge[0].limits.max_age = \"0s\"", "and not 0"),
        (of_bridge("§idle_timeout = 5"), "bridge[0].limits.idle_timeout = 5", "must be a duration"),
        (of_bridge("§rate = 5"), "bridge[0].limits.rate = 5", "a known key: sessions"),
        (
            format!("[access]\n§trusted_proxies = \"10.0.0.1\"\n{BRIDGE}"),
            "access.trusted_proxies = \"10.0.0.1\"",
            "must be a list of addresses and networks",
        ),
    ];
    each_is_told(&cases).await;
}

#[tokio::test]
async fn limits_are_printed_as_they_were_read() {
    let all = "[limits]\nsessions_per_address = 5\nsessions_per_network = 7\nhandshakes = 9\n\
               handshakes_per_address = 3\nhandshake_rate = 11\nhandshake_burst = 13\nbuffered = \"1MiB\"";
    let of_bridge =
        "limits = { sessions = 4, sessions_per_address = 2, max_age = \"1h\", idle_timeout = \"10m\" }";
    let trusted = "trusted_proxies = [\"10.0.0.0/8\"]";
    let (lines, code) =
        run("check", &format!("{all}\n[access]\n{trusted}\n{BRIDGE}{of_bridge}\n"), &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    for line in all.lines().chain([of_bridge, trusted]) {
        assert!(lines.iter().any(|written| written == line), "{line}: {lines:?}");
    }
    assert_eq!(run("check", &lines.join("\n"), &[]).await.0, lines);
    // Unless told otherwise.
    let (lines, _) = run("check", BRIDGE, &[]).await;
    for line in ["handshake_rate = 200", "handshake_burst = 2000", "buffered = \"256MiB\""] {
        assert!(lines.iter().any(|written| written == line), "{line}: {lines:?}");
    }
}

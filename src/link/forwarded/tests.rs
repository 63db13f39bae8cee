use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1:1234";

/// Who it is that a request comes from whose headers are these.
fn who(peer: &str, headers: &[(&'static str, &str)]) -> Result<String, &'static str> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    client(&map, peer.parse().unwrap(), &trusted).map(|client| client.to_string())
}

fn listed(value: &str) -> String {
    who(PROXY, &[("x-forwarded-for", value)]).unwrap()
}

fn forwarded(value: &str) -> Result<String, &'static str> {
    who(PROXY, &[("forwarded", value)])
}

#[test]
fn the_rightmost_that_is_not_trusted_is_the_client() {
    assert_eq!(listed("192.0.2.7"), "192.0.2.7:0");
    assert_eq!(listed("198.51.100.9, 192.0.2.7"), "192.0.2.7:0", "what the client said itself");
    assert_eq!(listed("198.51.100.9, 192.0.2.7, 10.1.1.1 ,10.2.2.2"), "192.0.2.7:0");
    assert_eq!(listed("10.9.9.9, 10.2.2.2"), "10.9.9.9:0", "a client among the proxies");
    assert_eq!(listed("192.0.2.7:5555"), "192.0.2.7:5555");
    assert_eq!(listed("2001:db8::7"), "[2001:db8::7]:0");
    assert_eq!(listed("[2001:db8::7]:5555"), "[2001:db8::7]:5555");
    assert_eq!(listed("::ffff:192.0.2.7"), "192.0.2.7:0");
    assert_eq!(listed("192.0.2.7, fd00::1"), "192.0.2.7:0");
    assert_eq!(listed("192.0.2.7,, "), "192.0.2.7:0");
    let lines = [("x-forwarded-for", "198.51.100.9"), ("x-forwarded-for", "192.0.2.7")];
    assert_eq!(who(PROXY, &lines).unwrap(), "192.0.2.7:0");
}

#[test]
fn nobody_else_is_believed() {
    for header in ["x-forwarded-for", "forwarded"] {
        assert_eq!(who("192.0.2.7:1", &[(header, "for=10.0.0.1")]).unwrap(), "192.0.2.7:1");
    }
    let broken = [("forwarded", "for=\"192.0.2.9"), ("x-forwarded-for", "192.0.2.8")];
    assert_eq!(who("192.0.2.7:1", &broken).unwrap(), "192.0.2.7:1", "nor looked at");
    assert_eq!(who("[::ffff:10.0.0.1]:1", &[("x-forwarded-for", "192.0.2.7")]).unwrap(), "192.0.2.7:0");
    assert_eq!(who(PROXY, &[]).unwrap(), PROXY);
}

#[test]
fn beyond_a_name_that_cannot_be_read_nobody_is_looked_for() {
    for name in [
        "unknown",
        "_hidden",
        "host.example",
        "192.0.2.7:99999",
        "192.0.2.7:x",
        "[192.0.2.7]",
        "[::1",
        "1.2.3",
    ] {
        assert_eq!(listed(&format!("192.0.2.7, {name}")), PROXY, "{name}");
        assert_eq!(listed(&format!("192.0.2.7, {name}, 10.2.2.2")), "10.2.2.2:0", "{name}");
    }
    assert_eq!(who(PROXY, &[("x-forwarded-for", "192.0.2.7, \u{e9}")]).unwrap(), PROXY);
}

#[test]
fn the_header_of_the_rfc_is_read_as_the_rfc_has_it() {
    // The examples of RFC 7239 sections 4 and 6.
    assert_eq!(forwarded("for=\"_gazonk\"").unwrap(), PROXY);
    assert_eq!(forwarded("For=\"[2001:db8:cafe::17]:4711\"").unwrap(), "[2001:db8:cafe::17]:4711");
    assert_eq!(forwarded("for=192.0.2.60;proto=http;by=203.0.113.43").unwrap(), "192.0.2.60:0");
    assert_eq!(forwarded("for=192.0.2.43, for=198.51.100.17").unwrap(), "198.51.100.17:0");
    assert_eq!(forwarded("for=_hidden, for=_SEVKISEK").unwrap(), PROXY);
    assert_eq!(forwarded("for=\"192.0.2.43:47011\"").unwrap(), "192.0.2.43:47011");
    assert_eq!(forwarded("for=\"192.0.2.43:_port\"").unwrap(), "192.0.2.43:0");
    assert_eq!(
        forwarded("proto=https ; FOR=\"192\\.0.2.43\" ,, by=_x;for=10.1.1.1").unwrap(),
        "192.0.2.43:0"
    );
    assert_eq!(forwarded("for=192.0.2.43, proto=https").unwrap(), PROXY, "who names nobody");
    assert_eq!(forwarded(";;for=192.0.2.43; ;by=_x;").unwrap(), "192.0.2.43:0");
    // A comma or a semicolon within quotes separates nothing.
    assert_eq!(forwarded("for=192.0.2.43;host=\"a,for=198.51.100.17;x\"").unwrap(), "192.0.2.43:0");
}

#[test]
fn a_quote_left_open_swallows_nobody() {
    for value in [
        "for=\"192.0.2.7, for=198.51.100.9",
        "for=\"192.0.2.7, for=\"198.51.100.9\"",
        "for=192.0.2.7;for=198.51.100.9",
        "for=",
        "for",
        "=192.0.2.7",
        "for =192.0.2.7",
        "for=192.0.2.7 for=198.51.100.9",
        "for=\"192.0.2.7\\",
    ] {
        assert_eq!(forwarded(value), Err(MALFORMED), "{value}");
    }
}

#[test]
fn two_headers_must_agree() {
    let both =
        |listed: &str, forwarded: &str| who(PROXY, &[("x-forwarded-for", listed), ("forwarded", forwarded)]);
    assert_eq!(both("192.0.2.7:5", "for=192.0.2.7").unwrap(), "192.0.2.7:5");
    assert_eq!(both("192.0.2.7", "for=198.51.100.9"), Err(CONTRADICTORY));
    assert_eq!(both("192.0.2.7", "for=unknown"), Err(CONTRADICTORY));
    assert_eq!(both("unknown", "for=unknown").unwrap(), PROXY);
}

proptest! {
    #[test]
    fn what_a_client_says_in_front_changes_nothing(said in "[ -~]{0,80}") {
        // The last word is the proxy's, whatever came in.
        prop_assert_eq!(listed(&format!("{said}, 192.0.2.7")), "192.0.2.7:0");
        if let Ok(client) = forwarded(&format!("{said}, for=192.0.2.7")) {
            prop_assert_eq!(client, "192.0.2.7:0");
        }
    }
}

//! Any header lines, query and file of keys, with a NUL between them: nobody comes in without a token that is listed or
//! signed, and none is left among the subprotocols.

#![no_main]

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use libfuzzer_sys::fuzz_target;
use natpulse::gate::{
    Addresses, Algorithm, Bearer, Claims, Gate, Jwt, KeyKind, Origins, Places, Tokens, Visitor, is_origin,
    without_tokens,
};

const LISTED: &str = "open-sesame-0123";
const SECRET: &str = "of thirty-two characters or more.";
/// When the signed token of the corpus is valid.
const NOW: Duration = Duration::from_secs(1_000_000);
/// The message that the corpus has a signature for: whoever has another one was let in by mistake.
const SIGNED: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJleHAiOjIwMDAwMDB9";

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The host of a host with a port or without.
fn host(site: &str) -> String {
    let end = site.find(']').or_else(|| site.find(':')).unwrap_or(site.len());
    site[..end].to_ascii_lowercase()
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (lines, query, keys) =
        (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut cut = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (cut.next().unwrap_or_default(), cut.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let query = query.and_then(|query| std::str::from_utf8(query).ok());
    let keys = String::from_utf8_lossy(keys);
    let claims = || Claims {
        algorithms: Algorithm::WORDS.map(|(_, algorithm)| algorithm).to_vec(),
        issuer: None,
        audience: None,
        leeway: Duration::ZERO,
    };
    for kind in [KeyKind::Secret, KeyKind::Public, KeyKind::Set] {
        if let Err(rule) = Jwt::parse(claims(), kind, &keys) {
            assert!(!rule.is_empty());
        }
    }
    if let Err(rule) = Tokens::parse(&keys) {
        assert!(!rule.is_empty());
    }

    let bearer = Bearer {
        places: Places { cookie: Some("sid".into()), query: true },
        tokens: Tokens::parse(LISTED).ok(),
        jwt: Jwt::parse(claims(), KeyKind::Secret, SECRET).ok(),
    };
    let visitor = Visitor { address: None, headers: &headers, query, is_tls: false };
    let any = Gate::new(Origins::Any, Addresses::default());
    match any.look(&visitor, Some(&bearer), NOW) {
        // Percent-encoding may hide it from this look.
        Ok(None) => assert!(contains(data, LISTED) || contains(data, "%")),
        Ok(Some(until)) => {
            assert!(until > NOW);
            assert!(contains(data, SIGNED) || contains(data, "%"));
        }
        Err(_) => {}
    }

    let origins: Vec<_> = headers.get_all(ORIGIN).iter().map(|origin| origin.to_str().ok()).collect();
    let is_let_in = |origins| Gate::new(origins, Addresses::default()).look(&visitor, None, NOW).is_ok();
    match origins[..] {
        [] => assert!(is_let_in(Origins::Same) && is_let_in(Origins::Listed(Vec::new()))),
        [Some(origin)] => {
            assert!(is_let_in(Origins::Listed(vec![origin.to_owned()])));
            assert!(!is_origin(origin) || origin.to_ascii_lowercase() == origin);
            if is_let_in(Origins::Same) {
                let (_, site) = origin.split_once("://").unwrap();
                assert_eq!(host(site), host(headers[HOST].to_str().unwrap()));
            }
        }
        _ => assert!(!is_let_in(Origins::Same) && !is_let_in(Origins::Listed(vec!["null".into()]))),
    }

    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered = offered.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect();
    let (left, answer) = without_tokens(offered);
    assert!(left.iter().all(|name| !name.starts_with("bearer.")));
    assert!(answer.is_none_or(|answer| answer == "bearer"));
});

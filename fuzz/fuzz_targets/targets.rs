//! Any text as a file of targets, and as the query that names one of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::link::BackendUrl;
use natpulse::targets::{Tokens, query_token};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut tokens = Tokens::default();
    let bad = tokens.read(text);
    let says_something = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with('#');
    assert!(tokens.len() + bad.len() <= text.lines().filter(says_something).count());
    assert!(bad.is_sorted_by_key(|bad| bad.line) && bad.iter().all(|bad| bad.line <= text.lines().count()));
    // What stands in front of a colon and a blank is the only thing that a token can be.
    for line in text.lines() {
        let Some((token, _)) = line.trim().split_once(": ") else {
            continue;
        };
        if let Some(url) = tokens.get(token) {
            assert!(matches!(url, BackendUrl::Tcp { .. } | BackendUrl::Unix(_)), "{url}");
            assert_eq!(BackendUrl::parse(&url.to_string()).as_ref(), Ok(url), "{line:?}");
        }
    }
    if let Some(token) = query_token(text) {
        assert!(text.split('&').any(|pair| pair.starts_with("token=")));
        assert!(token.len() <= text.len());
    }
    // Read again, nothing is new.
    let before = tokens.clone();
    assert_eq!(tokens.read(text), bad);
    assert_eq!(tokens, before);
});

//! Any text as a URL and as a framing word: what is accepted is written so that it reads back as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::link::{BackendUrl, ListenUrl};
use natpulse::wire::{Framing, WORDS};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match ListenUrl::parse(text) {
        Ok(url) => assert_eq!(ListenUrl::parse(&url.to_string()).as_ref(), Ok(&url), "{text:?} became {url}"),
        Err(rule) => assert!(!rule.is_empty()),
    }
    match BackendUrl::parse(text) {
        Ok(url) => {
            assert_eq!(BackendUrl::parse(&url.to_string()).as_ref(), Ok(&url), "{text:?} became {url}")
        }
        Err(rule) => assert!(!rule.is_empty()),
    }
    if let Some(framing) = Framing::from_word(text) {
        assert!(WORDS.contains(&text));
        let written = framing.to_string();
        assert_eq!(Framing::from_word(written.trim_matches('"')).as_ref(), Some(&framing), "{written}");
    }
});

//! Any bytes as a certificate: its name is one by which it is found.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::link::tls::name_of;

fuzz_target!(|data: &[u8]| {
    let Some(name) = name_of(data, &[]) else {
        return;
    };
    assert!(data.windows(name.len()).any(|part| part == name.as_bytes()), "a name that is not there: {name}");
    // A wildcard is a pattern, and no name that one could have.
    if !name.starts_with("*.") {
        assert_eq!(name_of(data, &[name.clone()]).as_deref(), Some(&name[..]));
    }
    assert_eq!(name_of(data, &["nobody has this name".to_owned()]), None);
});

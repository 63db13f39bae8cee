//! Any bytes as a PROXY header: what is whole is whole however it comes, and what it says can be said again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::link::proxy_protocol::{Header, Introduction, LONGEST, Version, parse};

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    match whole {
        Ok(Some(Header { length, ends })) => {
            assert!(length <= data.len() && length <= LONGEST);
            // Nothing behind it is looked at, and nothing of it is enough.
            assert_eq!(parse(&data[..length]), whole);
            for part in [0, length / 2, length - 1] {
                assert_eq!(parse(&data[..part]), Ok(None), "{part} of {length}");
            }
            for version in [Version::V1, Version::V2] {
                let again = version.introduce(&Introduction { ends, unique_id: "a-1", secured: None });
                let read = parse(&again).expect("ours").expect("whole");
                assert_eq!((read.length, read.ends.is_some()), (again.len(), ends.is_some()));
                if let (Some(read), Some(ends)) = (read.ends, ends) {
                    assert_eq!((read.client, read.reached), (ends.client, ends.reached));
                }
            }
        }
        // Who waits for more waits for a bounded time.
        Ok(None) => assert!(data.len() < LONGEST),
        Err(rule) => {
            assert!(!rule.is_empty());
            // More bytes make nothing right.
            assert!(parse(&[data, b"\r\n"].concat()).is_err());
        }
    }
});

//! Any text as the headers of proxies, a line each; those that begin with F are Forwarded. Whatever they say, the last
//! word is that of the proxy that we know.

#![no_main]

use std::net::SocketAddr;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use libfuzzer_sys::fuzz_target;
use natpulse::link::forwarded::client;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let (name, value) = match line.split_first() {
            Some((b'F', rest)) => ("forwarded", rest),
            _ => ("x-forwarded-for", line),
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let proxy = SocketAddr::from(([10, 0, 0, 1], 1));
    let stranger = SocketAddr::from(([192, 0, 2, 1], 1));
    assert_eq!(client(&headers, stranger, &trusted), Ok(stranger));
    if let Ok(found) = client(&headers, proxy, &trusted) {
        assert_eq!(found.ip(), found.ip().to_canonical());
    }
    let said = SocketAddr::from(([198, 51, 100, 7], 0));
    let mut listed = headers.clone();
    listed.remove("forwarded");
    listed.append("x-forwarded-for", HeaderValue::from_static("198.51.100.7"));
    assert_eq!(client(&listed, proxy, &trusted), Ok(said));
    headers.remove("x-forwarded-for");
    headers.append("forwarded", HeaderValue::from_static("for=198.51.100.7"));
    if let Ok(found) = client(&headers, proxy, &trusted) {
        assert_eq!(found, said);
    }
});

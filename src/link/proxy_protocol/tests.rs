use proptest::prelude::*;

use super::*;
use crate::link::Secured;

fn ends(client: &str, reached: &str) -> Ends {
    Ends { client: client.parse().unwrap(), reached: reached.parse().unwrap() }
}

/// A header of version 2 as a proxy would write it.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x15, 0xb3, 0, 80];

#[test]
fn a_line_says_who_it_is() {
    let cases = [
        ("PROXY TCP4 192.0.2.7 10.0.0.1 5555 80\r\n", Some(ends("192.0.2.7:5555", "10.0.0.1:80"))),
        ("PROXY TCP6 2001:db8::7 ::1 5555 80\r\n", Some(ends("[2001:db8::7]:5555", "[::1]:80"))),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 0 65535\r\n", Some(ends("192.0.2.7:0", "[::1]:65535"))),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN 1 2 three\r\n", None),
    ];
    for (line, ends) in cases {
        let header = Header { length: line.len(), ends };
        assert_eq!(parse(format!("{line}GET /").as_bytes()), Ok(Some(header)), "{line}");
        for length in 0..line.len() {
            assert_eq!(parse(&line.as_bytes()[..length]), Ok(None), "{}", &line[..length]);
        }
    }
}

#[test]
fn what_is_no_line_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long.len(), 108);
    for line in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 192.0.2.7 10.0.0.1 5555 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 5555 80\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 5555 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 5555 80 \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 5555\r\n",
        "PROXY TCP4 192.0.2.07 10.0.0.1 5555 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 05555 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +555 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
        "PROXY TCP4 ::1 ::1 5555 80\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 5555 80\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 5555 80\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 5555 80\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        &long,
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line}");
    }
    assert!(parse(&b"PROXY UNKNOWN \xff\r\n"[..]).is_err());
    // One byte less is a line.
    let longest = long.replacen('x', "", 1);
    assert!(parse(longest.as_bytes()).unwrap().is_some());
}

#[test]
fn a_binary_header_says_who_it_is() {
    let ipv6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 15], &[1], &[0x15, 0xb3, 0, 80]].concat();
    let entries = [0xea, 0, 3, 1, 2, 3, 0x04, 0, 0];
    let more = [&IPV4[..], &entries].concat();
    let unix = [0; 216];
    let ours = ends("192.0.2.7:5555", "10.0.0.1:80");
    let cases = [
        ("IPv4", binary(PROXY, 0x11, &IPV4), Some(ours)),
        ("IPv4 and more", binary(PROXY, 0x11, &more), Some(ours)),
        ("IPv6", binary(PROXY, 0x21, &ipv6), Some(ends("[2001:db8::7]:5555", "[::1]:80"))),
        ("a health check", binary(LOCAL, 0x11, &IPV4), None),
        ("a health check with what nobody can read", binary(LOCAL, 0xff, &[1, 2, 3]), None),
        ("nothing about anybody", binary(PROXY, 0x00, &[]), None),
        ("nothing that is to be read", binary(PROXY, 0x00, &[1, 2, 3]), None),
        ("UDP", binary(PROXY, 0x12, &IPV4), None),
        ("a Unix socket", binary(PROXY, 0x31, &unix), None),
    ];
    for (what, header, ends) in cases {
        let whole = Header { length: header.len(), ends };
        assert_eq!(parse(&[&header[..], b"GET /"].concat()), Ok(Some(whole)), "{what}");
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), Ok(None), "{length} bytes of {what}");
        }
    }
}

#[test]
fn what_is_no_binary_header_is_refused() {
    let mut checked = [&IPV4[..], &[CRC32C, 0, 4, 0, 0, 0, 0]].concat();
    let header = binary(PROXY, 0x11, &checked);
    let sum = crc32c::crc32c(header.iter().copied()).to_be_bytes();
    let at = checked.len() - 4;
    checked[at..].copy_from_slice(&sum);
    assert!(parse(&binary(PROXY, 0x11, &checked)).unwrap().is_some(), "with its checksum");
    checked[at] ^= 1;
    let long = [&IPV4[..], &[0; LONGEST - FIXED - 11]].concat();
    for (what, header) in [
        ("version 1", binary(0x11, 0x11, &IPV4)),
        ("version 3", binary(0x31, 0x11, &IPV4)),
        ("an unknown command", binary(0x22, 0x11, &IPV4)),
        ("an unknown family", binary(PROXY, 0x41, &IPV4)),
        ("an unknown transport", binary(PROXY, 0x13, &IPV4)),
        ("no family", binary(PROXY, 0x01, &IPV4)),
        ("half an address", binary(PROXY, 0x11, &IPV4[..11])),
        ("half an IPv6 address", binary(PROXY, 0x21, &IPV4)),
        ("a wrong checksum", binary(PROXY, 0x11, &checked)),
        ("a checksum of 3 bytes", binary(PROXY, 0x11, &[&IPV4[..], &[CRC32C, 0, 3, 1, 2, 3]].concat())),
        ("an entry without a length", binary(PROXY, 0x11, &[&IPV4[..], &[4, 0]].concat())),
        ("an entry beyond the end", binary(PROXY, 0x11, &[&IPV4[..], &[4, 0, 2, 0]].concat())),
        ("more than 8 KiB", binary(PROXY, 0x11, &long)),
        ("a signature with a fault", b"\r\n\r\n\0\r\nQUIX\n!\x11\0\0".to_vec()),
    ] {
        assert!(parse(&header).is_err(), "{what}");
    }
}

#[test]
fn a_client_over_tls_is_introduced_with_what_is_known_of_it() {
    let mut secured = Secured {
        version: "TLSv1.3".into(),
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        name: Some("device-1".into()),
        server_name: Some("im.example".into()),
    };
    let ends = Some(ends("192.0.2.7:5555", "10.0.0.1:443"));
    let header = Version::V2.introduce(&Introduction { ends, unique_id: "i-7", secured: Some(&secured) });
    let expected = [
        &[192, 0, 2, 7, 10, 0, 0, 1, 0x15, 0xb3, 0x01, 0xbb][..],
        &[AUTHORITY, 0, 10],
        b"im.example",
        &[UNIQUE_ID, 0, 3],
        b"i-7",
        &[SSL, 0, 5 + 10 + 11 + 27, 7, 0, 0, 0, 0],
        &[SSL_VERSION, 0, 7],
        b"TLSv1.3",
        &[SSL_CN, 0, 8],
        b"device-1",
        &[SSL_CIPHER, 0, 24],
        b"TLS13_AES_128_GCM_SHA256",
    ];
    assert_eq!(header[FIXED..].escape_ascii().to_string(), expected.concat().escape_ascii().to_string());
    assert_eq!(parse(&header), Ok(Some(Header { length: header.len(), ends })));
    // Who has shown no certificate is said to be unverified; a name that does not fit is not cut.
    secured.name = None;
    secured.server_name = Some("x".repeat(2000));
    let header = Version::V2.introduce(&Introduction { ends, unique_id: "", secured: Some(&secured) });
    assert_eq!(header[FIXED + 12..FIXED + 20], [SSL, 0, 5 + 10 + 27, 1, 0, 0, 0, 1]);
}

proptest! {
    #[test]
    fn what_is_written_is_read(client: SocketAddr, reached: SocketAddr, id in "[a-z0-9-]{0,128}") {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let ends = Some(Ends { client, reached });
        let read = Some(Ends { client: plain(client), reached: plain(reached) });
        for version in [Version::V1, Version::V2] {
            let header = version.introduce(&Introduction { ends, unique_id: &id, secured: None });
            prop_assert_eq!(parse(&header), Ok(Some(Header { length: header.len(), ends: read })));
            let nobody = version.introduce(&Introduction { ends: None, unique_id: &id, secured: None });
            prop_assert_eq!(parse(&nobody), Ok(Some(Header { length: nobody.len(), ends: None })));
            let local = version.local();
            prop_assert_eq!(parse(&local), Ok(Some(Header { length: local.len(), ends: None })));
        }
    }
}

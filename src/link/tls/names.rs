//! The names in a certificate. Pure: the certificate was verified before.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The object identifier 2.5.4.3, a common name, as DER has it (RFC 5280 appendix A.1).
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// DER's tags (X.690 section 8).
const SET: u8 = 0x31;
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The strings that are made of bytes of ASCII or UTF-8: UTF8String, PrintableString, IA5String.
const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16];

/// The first name in a certificate that is allowed; any is where `allowed` is empty. Its DNS names come first (RFC 5280
/// section 4.2.1.6), then the common names of its subject. `None` where no name is allowed, or the certificate is none.
pub fn name_of(certificate: &[u8], allowed: &[String]) -> Option<String> {
    let certificate = CertificateDer::from(certificate);
    let certificate = EndEntityCert::try_from(&certificate).ok()?;
    let common = common_names(certificate.subject());
    let mut names = certificate.valid_dns_names().chain(common);
    let is_allowed = |name: &&str| allowed.is_empty() || allowed.iter().any(|pattern| fits(pattern, name));
    names.find(is_allowed).map(str::to_owned)
}

/// Whether a name is what a pattern says: the same in any case, or one label more where the pattern begins with `*.`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && label != "*" && rest.eq_ignore_ascii_case(parent)
        }),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

/// The common names in a subject: a sequence, without its own header, of sets of pairs of identifier and string.
fn common_names(mut subject: &[u8]) -> Vec<&str> {
    let mut found = Vec::new();
    while let Some((SET, mut set)) = next(&mut subject) {
        while let Some((SEQUENCE, mut pair)) = next(&mut set) {
            if next(&mut pair) == Some((OBJECT_IDENTIFIER, &COMMON_NAME))
                && let Some((tag, text)) = next(&mut pair)
                && STRINGS.contains(&tag)
                && let Ok(text) = str::from_utf8(text)
                && !text.is_empty()
            {
                found.push(text);
            }
        }
    }
    found
}

/// Takes the next value: its tag and what is in it.
fn next<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // Nothing in a certificate needs more than four bytes for its length.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some((*tag, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_a_name_or_one_label_more() {
        for (pattern, name) in
            [("device-1", "device-1"), ("A.example", "a.Example"), ("*.dev.example", "x.dev.EXAMPLE")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("device-1", "device-11"),
            ("*.dev.example", "dev.example"),
            ("*.dev.example", ".dev.example"),
            ("*.dev.example", "a.b.dev.example"),
            ("*.dev.example", "*.dev.example"),
            ("*.dev.example", "xdev.example"),
            ("", "a"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn common_names_are_found_among_others() {
        // O = "x", CN = "device-1", then a set of two: OU = "y" and CN = "z" as BMPString, which is no UTF-8.
        let subject = b"\x31\x0a\x30\x08\x06\x03\x55\x04\x0a\x0c\x01x\
            \x31\x11\x30\x0f\x06\x03\x55\x04\x03\x13\x08device-1\
            \x31\x15\x30\x08\x06\x03\x55\x04\x0b\x0c\x01y\x30\x09\x06\x03\x55\x04\x03\x1e\x02\0z";
        assert_eq!(common_names(subject), ["device-1"]);
        for cut in 0..subject.len() {
            // A name that was cut is none.
            assert!(common_names(&subject[..cut]).len() <= 1, "{cut}");
        }
        assert!(common_names(b"\x31\x84\xff\xff\xff\xff").is_empty());
        assert!(common_names(b"\x31\x09\x30\x07\x06\x03\x55\x04\x03\x0c\0").is_empty(), "none is no name");
        assert!(common_names(b"\x31\x80\0\0").is_empty());
    }

    #[test]
    fn names_are_taken_from_a_certificate() {
        let mut params =
            rcgen::CertificateParams::new(vec!["a.example".to_owned(), "b.example".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "device-1");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let name = |allowed: &[&str]| {
            let allowed: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
            name_of(certificate.der(), &allowed)
        };
        assert_eq!(name(&[]).as_deref(), Some("a.example"));
        assert_eq!(name(&["b.example"]).as_deref(), Some("b.example"));
        assert_eq!(name(&["nobody", "device-1"]).as_deref(), Some("device-1"));
        assert_eq!(name(&["device-2"]), None);
        assert_eq!(name_of(b"no certificate", &[]), None);
    }
}

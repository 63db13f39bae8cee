//! Base-128 variable-length integers, as Protocol Buffers writes message lengths.

use super::WireError;

/// Longest encoding of 64 bits, seven at a time.
pub(crate) const MAX_LEN: usize = 10;

/// Reads a number: its value and how many bytes it took, or `None` where more bytes are needed.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(MAX_LEN).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == MAX_LEN - 1 && bits > 1 {
            return Err(WireError::BadLength("a varint length of more than 64 bits".into()));
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    match bytes.len() < MAX_LEN {
        true => Ok(None),
        false => Err(WireError::BadLength("a varint length that does not end within 10 bytes".into())),
    }
}

/// Writes a number; returns the bytes and how many of them count.
pub(crate) fn format(mut value: u64) -> ([u8; MAX_LEN], usize) {
    let mut out = [0; MAX_LEN];
    let mut len = 0;
    loop {
        out[len] = (value & 0x7f) as u8;
        value >>= 7;
        len += 1;
        if value == 0 {
            return (out, len);
        }
        out[len - 1] |= 0x80;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_reads_as_300() {
        // https://protobuf.dev/programming-guides/encoding/#varints
        assert_eq!(parse(&[0xac, 0x02]).unwrap(), Some((300, 2)));
        assert_eq!(format(300), ([0xac, 2, 0, 0, 0, 0, 0, 0, 0, 0], 2));
    }

    #[test]
    fn every_number_of_bits_survives() {
        for value in (0..64).map(|bit| 1u64 << bit).chain([0, u64::MAX]) {
            let (bytes, len) = format(value);
            assert_eq!(parse(&bytes[..len]).unwrap(), Some((value, len)));
            assert_eq!(parse(&bytes[..len - 1]).unwrap(), None);
        }
    }

    #[test]
    fn one_that_never_ends_is_refused_at_its_tenth_byte() {
        assert_eq!(parse(&[0x80; 9]).unwrap(), None);
        assert!(parse(&[0x80; 10]).is_err());
        assert!(parse(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
    }
}

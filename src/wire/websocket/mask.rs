//! The masking that every client frame carries (RFC 6455 section 5.3).

/// Masks or unmasks `bytes`, of which the first is number `phase` of the frame's payload.
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let key: [u8; 4] = std::array::from_fn(|i| key[(phase + i) % 4]);
    let wide = u32::from_ne_bytes(key);
    let wide = u64::from(wide) << 32 | u64::from(wide);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("a chunk of 8 is 8 bytes")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (i, byte) in chunks.into_remainder().iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_in_pieces_is_masking_byte_by_byte() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        for cut in 0..=plain.len() {
            let mut bytes = plain.clone();
            let (first, second) = bytes.split_at_mut(cut);
            apply_mask(first, key, 0);
            apply_mask(second, key, cut);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }

    #[test]
    fn the_example_of_rfc_6455_section_5_7_reads_hello() {
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut bytes, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&bytes, b"Hello");
    }
}

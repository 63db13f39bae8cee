//! UTF-8 checked across the pieces of a message.

use super::WireError;

/// The state between two pieces: the bytes of a character cut in two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    cut: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// Checks the next piece; `last` says that the text ends with it.
    pub(crate) fn check(&mut self, mut piece: &[u8], last: bool) -> Result<(), WireError> {
        while self.len > 0 && !piece.is_empty() {
            let cut = usize::from(self.len);
            self.cut[cut] = piece[0];
            piece = &piece[1..];
            match std::str::from_utf8(&self.cut[..=cut]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => self.len += 1,
                Err(_) => return Err(WireError::InvalidUtf8),
            }
        }
        let tail = incomplete_tail(piece)?;
        if tail > 0 {
            self.cut[..tail].copy_from_slice(&piece[piece.len() - tail..]);
            self.len = tail as u8;
        }
        match last && std::mem::take(self).len > 0 {
            true => Err(WireError::InvalidUtf8),
            false => Ok(()),
        }
    }
}

/// How many bytes at the end of `piece` begin a character that is not complete (0 to 3).
pub(crate) fn incomplete_tail(piece: &[u8]) -> Result<usize, WireError> {
    match std::str::from_utf8(piece) {
        Ok(_) => Ok(0),
        Err(error) if error.error_len().is_none() => Ok(piece.len() - error.valid_up_to()),
        Err(_) => Err(WireError::InvalidUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]]) -> bool {
        let mut utf8 = Utf8::default();
        let end = pieces.len() - 1;
        pieces.iter().enumerate().all(|(i, piece)| utf8.check(piece, i == end).is_ok())
    }

    #[test]
    fn text_may_be_cut_anywhere() {
        let text = "κόσμε 🦀 \u{10ffff} a".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                assert!(check(&[&text[..first], &text[first..second], &text[second..]]));
            }
        }
    }

    #[test]
    fn what_is_no_character_is_refused_however_it_is_cut() {
        // Cut short, overlong, a surrogate, over U+10FFFF, a lone continuation byte.
        for bad in [&b"\xce"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"] {
            for cut in 0..=bad.len() {
                assert!(!check(&[&bad[..cut], &bad[cut..]]), "{bad:x?} cut at {cut}");
            }
        }
    }
}

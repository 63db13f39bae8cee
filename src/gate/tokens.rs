//! Tokens that are listed: whoever knows one may come in.

use std::fmt;
use std::hint::black_box;

use sha2::{Digest, Sha256};

/// The shortest token, in characters: of random letters and digits, these are 95 bits.
const SHORTEST: usize = 16;

/// Listed tokens, of which only digests are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<[u8; 32]>);

/// Everything but what nobody may see.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tokens").field(&self.0.len()).finish()
    }
}

impl Tokens {
    /// Reads a token a line. Blanks around it do not count, nor do empty lines and those that begin with `#`.
    ///
    /// # Errors
    /// The rule that a line breaks, and which line; never what it says.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let lines = text.lines().map(str::trim).zip(1..);
        let tokens = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let digest = |(token, number): (&str, usize)| {
            let is_whole = token.len() >= SHORTEST && token.bytes().all(is_token_char);
            let rule = || {
                format!(
                    "a file with a token on each line: at least {SHORTEST} letters, digits and -._~+/= (line {number} \
                     is none)"
                )
            };
            is_whole.then(|| Sha256::digest(token).into()).ok_or_else(rule)
        };
        tokens.map(digest).collect::<Result<_, _>>().map(Tokens)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them. How long that takes says nothing about any of them: what is compared are digests, of
    /// which nobody can choose a part, and all of them to their ends.
    pub(super) fn has(&self, token: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(token).into();
        let differ =
            |known: &[u8; 32]| known.iter().zip(&given).fold(0, |differ, (a, b)| black_box(differ | (a ^ b)));
        self.0.iter().fold(false, |has, known| black_box(has | (differ(known) == 0)))
    }
}

/// What a token is made of (RFC 6750 section 2.1, b64token).
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_of_those_that_are_listed() {
        let tokens =
            Tokens::parse("# for the devices\n\n  open-sesame-0123  \r\nanother/token+=~._-0\n").unwrap();
        for token in ["open-sesame-0123", "another/token+=~._-0"] {
            assert!(tokens.has(token.as_bytes()), "{token}");
        }
        for token in
            ["", "open-sesame-012", "open-sesame-01234", "Open-sesame-0123", "# for the devices", "\0"]
        {
            assert!(!tokens.has(token.as_bytes()), "{token}");
        }
        assert!(!Tokens::default().has(b""), "there is none");
        assert!(!format!("{tokens:?}").contains("sesame"));
    }

    #[test]
    fn what_is_no_token_is_told_by_its_line_and_not_by_itself() {
        for (text, line) in [
            ("short\n", "line 1"),
            ("open-sesame-0123\n\ntwo words are none 0123\n", "line 3"),
            ("# x\nöpen-sesame-0123\n", "line 2"),
            ("open-sesame-0123;\n", "line 1"),
        ] {
            let rule = Tokens::parse(text).unwrap_err();
            assert!(rule.contains(line) && !rule.contains("sesame") && !rule.contains("short"), "{rule}");
        }
        assert!(Tokens::parse("# nothing\n\n").unwrap().is_empty());
    }
}

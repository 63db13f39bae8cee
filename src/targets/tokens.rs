//! The target files of websockify's TokenFile: `token: host:port`, a line each.

use std::collections::HashMap;

use super::path::percent_decoded;
use crate::link::BackendUrl;

/// Whom each token stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(HashMap<String, BackendUrl>);

/// A line that is none of the kinds that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What it should be; not what it is, since that may hold a token.
    pub rule: &'static str,
}

impl Tokens {
    /// What a line must look like.
    pub const RULE: &'static str = "TOKEN: HOST:PORT or TOKEN: unix:/path";

    /// Takes in the lines of a file: blank ones and those that begin with `#` say nothing, bad ones are skipped and
    /// returned, and a token that is there already has its target from here.
    pub fn read(&mut self, text: &str) -> Vec<BadLine> {
        let mut bad = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Some((token, url)) => {
                    self.0.insert(token.to_owned(), url);
                }
                None => bad.push(BadLine { line: index + 1, rule: Tokens::RULE }),
            }
        }
        bad
    }

    /// Whom a token stands for.
    pub fn get(&self, token: &str) -> Option<&BackendUrl> {
        self.0.get(token)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The token ends at the first colon that a blank follows, and the port begins at the last one, as websockify has it.
fn entry(line: &str) -> Option<(&str, BackendUrl)> {
    let colon = line.match_indices(':').map(|(at, _)| at);
    let at = colon.clone().find(|at| line[at + 1..].starts_with(char::is_whitespace))?;
    let (token, target) = (line[..at].trim_end(), line[at + 1..].trim_start());
    let (host, rest) = target.rsplit_once(':').map(|(host, rest)| (host.trim(), rest.trim()))?;
    let is_unix = target.starts_with("unix:/") || target.starts_with("unix_socket:/");
    let url = match target.split_once(':') {
        Some((_, path)) if is_unix => format!("unix:{path}"),
        _ if host.contains(':') && !host.starts_with('[') => format!("tcp://[{host}]:{rest}"),
        _ => format!("tcp://{host}:{rest}"),
    };
    let url = BackendUrl::parse(&url).ok()?;
    (!token.is_empty()).then_some((token, url))
}

/// The first `token` of a query (`?token=`), decoded as forms are.
pub fn query_token(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    percent_decoded(&value.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tokens_and_targets() {
        let mut tokens = Tokens::default();
        let bad = tokens.read(
            "# a comment\n\n  one: 127.0.0.1:5901  \r\ntwo:\tdb.internal:5902\nthree words: [::1]:5903\n\
             with:colon: ::1:5904\nfive: unix:/run/vnc:5.sock\nsix: unix_socket:/run/vnc6.sock\none: 127.0.0.1:5911",
        );
        assert_eq!(bad, []);
        assert_eq!(tokens.len(), 6);
        for (token, url) in [
            ("one", "tcp://127.0.0.1:5911"),
            ("two", "tcp://db.internal:5902"),
            ("three words", "tcp://[::1]:5903"),
            ("with:colon", "tcp://[::1]:5904"),
            ("five", "unix:///run/vnc:5.sock"),
            ("six", "unix:///run/vnc6.sock"),
        ] {
            assert_eq!(tokens.get(token).map(BackendUrl::to_string).as_deref(), Some(url), "{token}");
        }
        assert_eq!(tokens.get("seven"), None);
        assert_eq!(tokens.get(""), None);
    }

    #[test]
    fn bad_lines_are_skipped_and_told() {
        let mut tokens = Tokens::default();
        let text = "a\na:b:1\na: b\na: b:x\n: b:1\nok: b:1\na: b:99999\na: unix:run\na: http://b/\na: u@b:1\na: b:1/x";
        let bad = tokens.read(text);
        let lines: Vec<_> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
        assert_eq!(tokens.len(), 1);
    }

    #[test]
    fn a_query_has_a_token() {
        assert_eq!(query_token("token=a%20b+c&token=d"), Some("a b c".into()));
        assert_eq!(query_token("x=1&token="), Some(String::new()));
        for none in ["", "x=1", "tokens=a", "token", "token=%", "token=%ff", "TOKEN=a"] {
            assert_eq!(query_token(none), None, "{none}");
        }
    }
}

//! Which hosts and ports a client may name: `*.internal:5900`.

use std::fmt;

use crate::link::Authority;

/// A host whose labels may be `*`, for one or more of any, and a port or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    host: String,
    port: Option<u16>,
}

/// What a pattern must look like.
const RULE: &str = "HOST:PORT, in which * stands for any port, and in front of other labels for one or more: \
                    *.internal:5900; or *:PORT, any host, where allow_addresses says which";

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (host, port) = text.rsplit_once(':').ok_or(RULE)?;
        let port = match port {
            "*" => None,
            port => Some(port.parse().map_err(|_| RULE)?),
        };
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label = |label: &str| label == "*" || (!label.is_empty() && label.bytes().all(is_known));
        // `10.0.0.*` would not be a network but 10.0.0.example.com as well.
        let is_sane = host == "*" || !host.ends_with('*');
        match host.split('.').all(is_label) && is_sane {
            true => Ok(Pattern { host: host.to_ascii_lowercase(), port }),
            false => Err(RULE.into()),
        }
    }

    /// Whether it is the pattern of every host.
    pub fn is_any_host(&self) -> bool {
        self.host == "*"
    }

    /// Whether a host and its port are among those that are meant.
    pub fn matches(&self, authority: &Authority) -> bool {
        let host = authority.host.to_ascii_lowercase();
        let (wanted, given): (Vec<_>, Vec<_>) = (self.host.split('.').collect(), host.split('.').collect());
        self.port.is_none_or(|port| port == authority.port) && fits(&wanted, &given)
    }
}

/// The labels of a pattern against those of a host. A `*` takes one label, and one more each time that what follows it
/// does not fit; only the last `*` met ever needs to, so this takes no longer than the product of the two lengths.
fn fits(wanted: &[&str], given: &[&str]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < given.len() {
        match wanted.get(at) {
            Some(&"*") => {
                star = Some((at + 1, seen + 1));
                (at, seen) = (at + 1, seen + 1);
            }
            Some(label) if *label == given[seen] => (at, seen) = (at + 1, seen + 1),
            Some(_) | None => {
                let Some((behind, taken)) = &mut star else {
                    return false;
                };
                *taken += 1;
                (at, seen) = (*behind, *taken);
            }
        }
    }
    at == wanted.len() && seen == given.len()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}:*", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str, port: u16) -> bool {
        Pattern::parse(pattern).unwrap().matches(&Authority { host: host.to_owned(), port })
    }

    #[test]
    fn a_star_is_one_label_or_more() {
        for (pattern, host) in [
            ("*.internal:1", "a.internal"),
            ("*.internal:1", "a.b.internal"),
            ("*.Internal:*", "A.INTERNAL"),
            ("vm.*.internal:1", "vm.a.b.internal"),
            ("*.a.*.b:1", "x.a.a.y.b"),
            ("*.a.b:1", "a.b.a.b"),
            ("*:1", "anything.at.all"),
            ("10.0.0.7:1", "10.0.0.7"),
        ] {
            assert!(matches(pattern, host, 1), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.internal:1", "internal"),
            ("*.internal:1", "a.internal.example"),
            ("*.internal:1", "ainternal"),
            ("*.internal:1", ".internal.x"),
            ("vm.*.internal:1", "vm.internal"),
            ("a:1", "b"),
            ("a:1", "a.a"),
            ("*.a.*.b:1", "x.a.b"),
        ] {
            assert!(!matches(pattern, host, 1), "{pattern} {host}");
        }
        assert!(!matches("*:1", "a", 2));
        assert!(matches("*:*", "a", 2));
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = format!("{}x:1", "*.".repeat(60));
        assert!(!matches(&pattern, &vec!["a"; 127].join("."), 1));
    }

    #[test]
    fn a_pattern_means_what_it_seems_to() {
        for text in
            ["", "a", "a:", "a:x", "a:99999", ":1", "a..b:1", "10.0.0.*:1", "a*.b:1", "[::1]:1", "tcp://a:1"]
        {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        for text in ["*.internal:5900", "*:*", "10.0.0.7:1", "a_b.c-d:2"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
    }
}

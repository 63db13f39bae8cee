//! Reads one table of the tree, key by key, and remembers everything that is wrong with it.

use std::time::Duration;

use ipnet::IpNet;

use super::source::{Node, Origin, Value};
use super::{ConfigError, units};

/// A table being read. What has not been asked for when it is finished is an unknown key.
pub(super) struct Reader<'e> {
    path: String,
    origin: Origin,
    entries: Vec<(String, Node)>,
    known: Vec<&'static str>,
    pub(super) errors: &'e mut Vec<ConfigError>,
}

impl<'e> Reader<'e> {
    /// Reads `node`, which `path` leads to.
    pub(super) fn new(path: &str, node: Node, errors: &'e mut Vec<ConfigError>) -> Reader<'e> {
        let text = node.to_string();
        let Node { value, origin } = node;
        let entries = if let Value::Table(entries) = value {
            entries
        } else {
            let (origin, key) = (origin.clone(), path.to_owned());
            errors.push(ConfigError { origin, key, value: Some(text), rule: "a table".into() });
            Vec::new()
        };
        Reader { path: path.to_owned(), origin, entries, known: Vec::new(), errors }
    }

    /// Reads an end of a bridge: a table with a URL, or the URL alone.
    pub(super) fn end(
        path: &str,
        node: Node,
        rule: &str,
        errors: &'e mut Vec<ConfigError>,
    ) -> Option<Reader<'e>> {
        let node = match &node.value {
            Value::String(_) => Node::table(vec![("url", node)]),
            Value::Table(_) => node,
            Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => {
                let (key, value, rule) = (path.to_owned(), Some(node.to_string()), rule.to_owned());
                errors.push(ConfigError { origin: node.origin, key, value, rule });
                return None;
            }
        };
        Some(Reader::new(path, node, errors))
    }

    /// Takes a value out of the table.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Takes a value that must be there.
    pub(super) fn required(&mut self, key: &'static str, rule: &str) -> Option<Node> {
        let node = self.take(key);
        if node.is_none() {
            self.missing(key, rule);
        }
        node
    }

    /// Reports a key that is not there.
    pub(super) fn missing(&mut self, key: &str, rule: &str) {
        let origin = self.origin.clone();
        self.errors.push(ConfigError { origin, key: self.full(key), value: None, rule: rule.into() });
    }

    /// Takes a value and interprets it; one that cannot be interpreted is reported with `rule`.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        rule: &str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let node = self.take(key)?;
        let parsed = parse(&node.value);
        if parsed.is_none() {
            self.wrong(key, &node, rule);
        }
        parsed
    }

    /// Takes a word from a list.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.parsed(key, &format!("one of {}", names.join(", ")), |value| {
            let text = value.as_str()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
        })
    }

    /// Takes true or false.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.parsed(key, "true or false", Value::as_boolean)
    }

    /// Takes a whole number within a range.
    pub(super) fn integer(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let rule = match *range.end() {
            i64::MAX => format!("a whole number of at least {}", range.start()),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        self.parsed(key, &rule, |value| value.as_integer().filter(|number| range.contains(number)))
    }

    /// Takes a duration.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, units::DURATION_RULE, |value| value.as_str().and_then(units::duration))
    }

    /// Takes a duration that is not 0.
    pub(super) fn positive_duration(&mut self, key: &'static str) -> Option<Duration> {
        let rule = format!("{}, and not 0", units::DURATION_RULE);
        let read = |value: &Value| value.as_str().and_then(units::duration).filter(|it| !it.is_zero());
        self.parsed(key, &rule, read)
    }

    /// Takes a size in bytes that is not 0.
    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        let size = |value: &Value| match value.as_integer() {
            Some(number) => u64::try_from(number).ok(),
            None => value.as_str().and_then(units::size),
        };
        let is_sane = |size: &u64| (1..=i64::MAX as u64).contains(size);
        self.parsed(key, units::SIZE_RULE, |value| size(value).filter(is_sane))
    }

    /// Takes a list of networks, in which an address alone stands for itself.
    pub(super) fn networks(&mut self, key: &'static str) -> Option<Vec<IpNet>> {
        self.parsed(key, units::NETWORKS_RULE, Self::network_list)
    }

    /// The networks of a list, if it is one.
    pub(super) fn network_list(value: &Value) -> Option<Vec<IpNet>> {
        let nodes = value.as_array()?.iter();
        nodes.map(|node| node.value.as_str().and_then(units::network)).collect()
    }

    /// Reports a value that breaks a rule.
    pub(super) fn wrong(&mut self, key: &str, node: &Node, rule: &str) {
        self.errors.push(ConfigError {
            origin: node.origin.clone(),
            key: self.full(key),
            value: Some(node.to_string()),
            rule: rule.to_owned(),
        });
    }

    /// The key with the path that leads to it.
    pub(super) fn full(&self, key: &str) -> String {
        match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.join(", ");
        for (name, node) in self.entries {
            let key = match self.path.is_empty() {
                true => name,
                false => format!("{}.{name}", self.path),
            };
            self.errors.push(ConfigError {
                origin: node.origin.clone(),
                key,
                value: Some(node.to_string()),
                rule: format!("a known key: {known}"),
            });
        }
    }
}

//! Where settings come from: a TOML file, the environment over it, or the command line; all of them
//! become one tree whose every value knows its origin.

use std::fmt;

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// TOML's values, less those that no setting takes.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A float or a date, as it was written.
    Other(String),
}

impl Value {
    /// The text of a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    /// A whole number.
    pub(super) fn as_integer(&self) -> Option<i64> {
        if let Value::Integer(number) = self { Some(*number) } else { None }
    }

    /// True or false.
    pub(super) fn as_boolean(&self) -> Option<bool> {
        if let Value::Boolean(flag) = self { Some(*flag) } else { None }
    }

    /// The items of an array.
    pub(super) fn as_array(&self) -> Option<&[Node]> {
        if let Value::Array(nodes) = self { Some(nodes) } else { None }
    }
}

/// Where a value was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the value was needed and is missing.
    #[default]
    Nowhere,
    /// A file.
    File {
        /// Its name as it was given.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// An argument of the command line.
    Argument(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Nowhere => f.write_str("config"),
            Origin::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Argument(name) => write!(f, "argument {name}"),
        }
    }
}

/// The value as TOML, for error messages.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::String(text) => write!(f, "{text:?}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Boolean(flag) => write!(f, "{flag}"),
            Value::Other(text) => f.write_str(text),
            Value::Array(_) => f.write_str("[...]"),
            Value::Table(_) => f.write_str("{...}"),
        }
    }
}

impl Node {
    /// A table given on the command line, where every entry has its own origin.
    pub(super) fn table(entries: Vec<(&str, Node)>) -> Node {
        let entries = entries.into_iter().map(|(key, node)| (key.to_owned(), node)).collect();
        Node { value: Value::Table(entries), origin: Origin::Nowhere }
    }

    /// An entry of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Table(entries) = &self.value else {
            return None;
        };
        entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// A string given on the command line.
    pub(super) fn argument(name: &'static str, text: &str) -> Node {
        Node { value: Value::String(text.to_owned()), origin: Origin::Argument(name) }
    }

    /// Reads TOML. Every syntax error is reported, and what can be read is returned all the same.
    pub(super) fn from_toml(name: &str, text: &str, errors: &mut Vec<ConfigError>) -> Node {
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            let span = error.span().unwrap_or_default();
            errors.push(ConfigError {
                origin: position(name, text, span.start),
                key: String::new(),
                value: None,
                rule: error.message().to_owned(),
            });
        }
        let origin = position(name, text, 0);
        Node { value: from_table(table.into_inner(), &|at| position(name, text, at)), origin }
    }

    /// Lays environment variables over the tree: `NATPULSE__BRIDGE__0__LISTEN` is `bridge[0].listen`.
    pub(super) fn overlay(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
        errors: &mut Vec<ConfigError>,
    ) {
        let mut variables: Vec<_> =
            variables.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
        variables.sort();
        for (name, text) in variables {
            let origin = Origin::Environment(name.clone());
            let path: Vec<String> =
                name[ENVIRONMENT_PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
            let value = match DeValue::parse(&text) {
                Ok(value) => from_value(value.into_inner(), &|_| origin.clone()),
                // 127.0.0.1:80 is no TOML, and nobody wants to quote it twice.
                Err(_) => Value::String(text.clone()),
            };
            if !self.set(&path, Node { value, origin: origin.clone() }) {
                errors.push(ConfigError {
                    origin,
                    key: path.join("."),
                    value: Some(format!("{text:?}")),
                    rule: "a path of keys, with the number of an existing or the next entry for an array"
                        .into(),
                });
            }
        }
    }

    fn set(&mut self, path: &[String], new: Node) -> bool {
        let Some((key, rest)) = path.split_first() else {
            *self = new;
            return true;
        };
        // A URL given as a string may get its table's other keys from elsewhere.
        let origin = new.origin.clone();
        let empty = || match rest.first().is_some_and(|key| key.parse::<usize>().is_ok()) {
            true => Node { value: Value::Array(Vec::new()), origin: origin.clone() },
            false => Node { value: Value::Table(Vec::new()), origin: origin.clone() },
        };
        match &mut self.value {
            Value::Table(entries) => {
                let at = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
                    entries.push((key.clone(), empty()));
                    entries.len() - 1
                });
                entries[at].1.set(rest, new)
            }
            Value::Array(nodes) => match key.parse::<usize>() {
                Ok(index) if index <= nodes.len() => {
                    if index == nodes.len() {
                        nodes.push(empty());
                    }
                    nodes[index].set(rest, new)
                }
                _ => false,
            },
            Value::String(_) | Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => false,
        }
    }
}

const ENVIRONMENT_PREFIX: &str = "NATPULSE__";

fn from_table(table: DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    let mut entries: Vec<_> = table
        .into_iter()
        .map(|(key, value)| {
            let (at, name) = (key.span().start, key.into_inner().into_owned());
            (at, name, Node { origin: origin(at), value: from_value(value.into_inner(), origin) })
        })
        .collect();
    entries.sort_by_key(|(at, ..)| *at);
    Value::Table(entries.into_iter().map(|(_, name, node)| (name, node)).collect())
}

fn from_value(value: DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other(number.as_str().to_owned()),
        },
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Float(float) => Value::Other(float.as_str().to_owned()),
        DeValue::Datetime(date) => Value::Other(date.to_string()),
        DeValue::Array(array) => {
            let node = |item: toml::Spanned<DeValue<'_>>| {
                let at = item.span().start;
                Node { origin: origin(at), value: from_value(item.into_inner(), origin) }
            };
            Value::Array(array.into_iter().map(node).collect())
        }
        DeValue::Table(table) => from_table(table, origin),
    }
}

fn position(name: &str, text: &str, at: usize) -> Origin {
    let before = &text[..text.floor_char_boundary(at)];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    Origin::File { name: name.to_owned(), line, column: before[start..].chars().count() + 1 }
}

//! Backend URLs that are made of a request's words: `tcp://{name}.internal:5900`.

use std::fmt;

use super::path::{Parameter, decoded};
use crate::link::BackendUrl;

/// A backend URL with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
}

/// What a parameter may be called.
pub(super) fn is_parameter(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Template {
    /// Whether a text has parameters, and so is no URL yet.
    pub fn is_one(text: &str) -> bool {
        text.contains(['{', '}'])
    }

    /// Reads a template.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Template, String> {
        let rule = "a URL with a host and parameters such as {name}, as tcp://{name}.internal:5900";
        let template = Template { text: text.to_owned() };
        template.parameters().ok_or(rule)?;
        template.example().authority().ok_or(rule)?;
        Ok(template)
    }

    /// A URL that it could become.
    pub fn example(&self) -> BackendUrl {
        // A digit may stand anywhere: in a name, in a port, in a path.
        self.replaced(|_| Some("1".to_owned())).unwrap_or(BackendUrl::Echo)
    }

    /// The names of its parameters; `None` where the braces do not match.
    pub fn parameters(&self) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        let mut rest = self.text.as_str();
        while let Some(open) = rest.find(['{', '}']) {
            let inner = rest[open..].strip_prefix('{')?;
            let (name, behind) = inner.split_once('}')?;
            names.push(is_parameter(name).then_some(name)?);
            rest = behind;
        }
        Some(names)
    }

    /// The URL for these parameters; `None` where one of them cannot be what it is used for.
    pub fn fill(&self, parameters: &[Parameter<'_>]) -> Option<BackendUrl> {
        self.replaced(|wanted| {
            let (_, raw) = parameters.iter().find(|(name, _)| *name == wanted)?;
            decoded(raw)
        })
    }

    fn replaced(&self, value: impl Fn(&str) -> Option<String>) -> Option<BackendUrl> {
        let mut text = String::new();
        let mut rest = self.text.as_str();
        while let Some((before, inner)) = rest.split_once('{') {
            let (name, behind) = inner.split_once('}')?;
            text.push_str(before);
            text.push_str(&value(name)?);
            rest = behind;
        }
        text.push_str(rest);
        BackendUrl::parse(&text).ok()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_parts_of_a_url() {
        let template = Template::parse("ws://{host}.internal:{port}/x/{host}?y").unwrap();
        assert_eq!(template.parameters().unwrap(), ["host", "port", "host"]);
        let url = template.fill(&[("host", "a"), ("port", "81")]).unwrap();
        assert_eq!(url.to_string(), "ws://a.internal:81/x/a?y");
        assert_eq!(template.fill(&[("host", "a")]), None);
        assert_eq!(template.to_string(), "ws://{host}.internal:{port}/x/{host}?y");
    }

    #[test]
    fn no_parameter_can_leave_its_place() {
        let template = Template::parse("tcp://{host}.internal:{port}").unwrap();
        let fill = |host, port| template.fill(&[("host", host), ("port", port)]);
        assert!(fill("a", "1").is_some());
        for (host, port) in [
            ("a:80#", "1"),
            ("u@b", "1"),
            ("a%2f", "1"),
            ("a%40b", "1"),
            ("[::1]", "1"),
            ("", "1"),
            ("a", "x"),
            ("a", "99999"),
            ("a", "1%2f"),
            ("a", ""),
            ("a b", "1"),
            ("a%0d%0a", "1"),
        ] {
            assert_eq!(fill(host, port), None, "{host:?} {port:?}");
        }
    }

    #[test]
    fn what_can_become_no_url_is_no_template() {
        for text in [
            "tcp://{a",
            "tcp://a}:1",
            "tcp://{}:1",
            "tcp://{a b}:1",
            "unix:///{a}",
            "{a}",
            "{a}://b:1",
            "tcp://{a}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}

//! Paths to listen on, with parameters: `/vm/{name}`.

use super::template::is_parameter;

/// The longest name of a host in the DNS (RFC 1035 section 2.3.4), and so the longest parameter.
const LONGEST: usize = 253;

/// A path that clients ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    segments: Vec<Segment>,
    /// Whether what follows is of no interest: the path ends in `*`.
    is_open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// A part of a request's path that has a name: the name, and what stands there, undecoded.
pub type Parameter<'a> = (&'a str, &'a str);

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Path, String> {
        let rule = "a path whose parameters are whole segments with different names, as /vm/{name}";
        let (text, is_open) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
        let mut segments = Vec::new();
        for part in text.split('/') {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let segment = match name {
                Some(name) if is_parameter(name) => Segment::Parameter(name.to_owned()),
                None if !part.contains(['{', '}']) => Segment::Literal(part.to_owned()),
                Some(_) | None => return Err(rule.into()),
            };
            if matches!(segment, Segment::Parameter(_)) && segments.contains(&segment) {
                return Err(rule.into());
            }
            segments.push(segment);
        }
        let path = Path { segments, is_open };
        match path.is_open && path.parameters().next().is_some() {
            true => Err("a path that has parameters or ends in *, not both".into()),
            false => Ok(path),
        }
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The path with its parameters' names taken out: two that are the same so cannot be told apart by any request.
    pub fn shape(&self) -> String {
        let parts = self.segments.iter().map(|segment| match segment {
            Segment::Parameter(_) => "{}",
            Segment::Literal(text) => text,
        });
        let parts: Vec<_> = parts.collect();
        format!("{}{}", parts.join("/"), if self.is_open { "*" } else { "" })
    }

    /// How well a request's path fits, more being better, and its parameters; `None` if it does not. A path that is
    /// named goes before one with parameters, and that before one that ends in `*`.
    pub fn fit<'a>(&'a self, wanted: &'a str) -> Option<(usize, Vec<Parameter<'a>>)> {
        let mut parameters = Vec::new();
        let mut literal = 0;
        let mut parts = wanted.split('/');
        for (index, segment) in self.segments.iter().enumerate() {
            let is_last = index + 1 == self.segments.len();
            match segment {
                Segment::Literal(text) if is_last && self.is_open => {
                    let fits = parts.next()?.starts_with(text.as_str());
                    return fits.then_some((literal + text.len(), parameters));
                }
                Segment::Literal(text) => {
                    if parts.next()? != text {
                        return None;
                    }
                    literal += text.len() + 1;
                }
                Segment::Parameter(name) => parameters.push((name.as_str(), parts.next()?)),
            }
        }
        let rank = if parameters.is_empty() { usize::MAX } else { usize::MAX / 2 + literal };
        parts.next().is_none().then_some((rank, parameters))
    }
}

/// What a parameter says, percent-decoded (RFC 3986 section 2.1), if that could be a part of a host's name or the number
/// of a port: letters, digits, `-`, `_` and `.`, no label empty.
pub(super) fn decoded(raw: &str) -> Option<String> {
    let text = percent_decoded(raw)?;
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = text.bytes().all(is_known) && text.split('.').all(|label| (1..=63).contains(&label.len()));
    (is_name && text.len() <= LONGEST).then_some(text)
}

/// Text without its percent-encoding; `None` where that is broken, or hides no UTF-8.
pub fn percent_decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => (hex(rest.next())? * 16 + hex(rest.next())?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_whole_segments() {
        let path = Path::parse("/vm/{host}/{port}/x").unwrap();
        assert_eq!(path.parameters().collect::<Vec<_>>(), ["host", "port"]);
        let (_, found) = path.fit("/vm/a%2eb/5900/x").unwrap();
        assert_eq!(found, [("host", "a%2eb"), ("port", "5900")]);
        for wanted in ["/vm/a/1", "/vm/a/1/y", "/vm/a/1/x/", "/vm/a/b/1/x", "vm/a/1/x", "/VM/a/1/x", "/"] {
            assert_eq!(path.fit(wanted), None, "{wanted}");
        }
        for wrong in ["/vm/x{name}", "/{}", "/{a b}", "/{a}/{a}", "/{a", "/a}", "/{a}*", "/{a}/*", "/{{a}}"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_closest_fit_wins() {
        let fit = |path: &str, wanted: &str| Path::parse(path).unwrap().fit(wanted).map(|(rank, _)| rank);
        let ranks =
            ["/vm/a", "/vm/{name}", "/{any}/a", "/vm/*", "/*"].map(|path| fit(path, "/vm/a").unwrap());
        assert!(ranks.is_sorted_by(|one, next| one > next), "{ranks:?}");
        assert_eq!(fit("/*", "/"), Some(1));
        assert_eq!(fit("/vm/a*", "/vm/abc/d"), Some(5));
        assert_eq!(fit("/vm/a*", "/vm/b"), None);
        assert_eq!(fit("/", "/"), Some(usize::MAX));
    }

    #[test]
    fn paths_that_no_request_can_tell_apart_have_one_shape() {
        let shape = |path: &str| Path::parse(path).unwrap().shape();
        assert_eq!(shape("/vm/{a}/x"), shape("/vm/{b}/x"));
        assert_ne!(shape("/vm/{a}"), shape("/vm/*"));
        assert_eq!(shape("/a/b*"), "/a/b*");
    }

    #[test]
    fn a_parameter_is_what_a_host_may_be_called() {
        assert_eq!(decoded("vm-1_a.B"), Some("vm-1_a.B".into()));
        assert_eq!(decoded("a%2Eb"), Some("a.b".into()));
        for wrong in [
            "", ".", "a..b", ".a", "a.", "a:1", "a%3a1", "a%00", "a%", "a%2", "a%zz", "a@b", "a%2fb", "ä",
            "a%ff",
        ] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        assert_eq!(decoded(&"a".repeat(64)), None);
        assert_eq!(decoded(&vec!["a".repeat(60); 5].join(".")), None);
    }
}

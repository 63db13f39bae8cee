//! The series that a PromQL expression picks. Not a parser: whether an expression is valid, promtool says.

/// A metric as an expression uses it.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    /// With the suffix of a histogram, if it has one.
    pub metric: String,
    /// Label, operator and value of each matcher.
    pub matchers: Vec<(String, String, String)>,
    /// What stands in square brackets behind it.
    pub range: Option<String>,
    /// The function whose argument it is, or the aggregation if there is none in between.
    pub function: String,
}

impl Selector {
    pub fn has(&self, label: &str, operator: &str, value: &str) -> bool {
        self.matchers.iter().any(|(l, o, v)| (&l[..], &o[..], &v[..]) == (label, operator, value))
    }

    /// The name that the metric has in `# TYPE`.
    pub fn family(&self) -> &str {
        let suffixes = ["_bucket", "_sum", "_count"];
        suffixes.iter().find_map(|suffix| self.metric.strip_suffix(suffix)).unwrap_or(&self.metric)
    }
}

/// Every selector of an expression, in order. Our metrics are known by their prefixes.
pub fn selectors(expr: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut functions: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut rest = expr;
    while let Some(c) = rest.chars().next() {
        if is_part(c) {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            word = rest[..end].to_owned();
            rest = &rest[end..];
            if ["natpulse_", "process_"].iter().any(|prefix| word.starts_with(prefix)) {
                let matchers = enclosed(&mut rest, '{', '}').map_or_else(Vec::new, matchers);
                let range = enclosed(&mut rest, '[', ']').map(str::to_owned);
                let function = functions.last().cloned().unwrap_or_default();
                found.push(Selector { metric: std::mem::take(&mut word), matchers, range, function });
            }
            continue;
        }
        match c {
            '(' => functions.push(std::mem::take(&mut word)),
            ')' => drop(functions.pop()),
            ' ' => {}
            _ => word.clear(),
        }
        rest = &rest[c.len_utf8()..];
    }
    found
}

/// The labels that an expression groups by.
pub fn groupings(expr: &str) -> Vec<&str> {
    let lists = expr.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',').map(str::trim)).collect()
}

/// What stands between these two signs at the beginning, which is then past the second.
fn enclosed<'a>(rest: &mut &'a str, open: char, close: char) -> Option<&'a str> {
    let (inside, after) = rest.strip_prefix(open)?.split_once(close)?;
    *rest = after;
    Some(inside)
}

fn matchers(list: &str) -> Vec<(String, String, String)> {
    let pieces = list.split(',').map(str::trim).filter(|piece| !piece.is_empty());
    let matcher = |piece: &str| {
        let label = piece.find(|c| !is_part(c)).expect(piece);
        let value = piece.find('"').expect(piece);
        let part = |part: &str| part.trim_matches('"').to_owned();
        (part(&piece[..label]), part(&piece[label..value]), part(&piece[value..]))
    };
    pieces.map(matcher).collect()
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn selectors_are_found_with_their_matchers_ranges_and_functions() {
    let expr = r#"1 - sum by (le) (rate(natpulse_a_bucket{job=~"$job", x!="y"}[$__rate_interval]))
        / clamp_min(process_b{}, 1) and on (job) natpulse_c"#;
    let found = selectors(expr);
    let used: Vec<_> = found.iter().map(|s| (&s.metric[..], &s.function[..], s.range.as_deref())).collect();
    assert_eq!(
        used,
        [
            ("natpulse_a_bucket", "rate", Some("$__rate_interval")),
            ("process_b", "clamp_min", None),
            ("natpulse_c", "", None)
        ]
    );
    assert!(
        found[0].has("job", "=~", "$job") && found[0].has("x", "!=", "y") && found[1].matchers.is_empty()
    );
    assert_eq!((found[0].family(), found[2].family()), ("natpulse_a", "natpulse_c"));
    assert_eq!(groupings(expr), ["le"]);
}

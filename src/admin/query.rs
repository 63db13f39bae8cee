//! The parameters of a list.

/// Which part of a list is wanted, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// Items that are left out at the beginning.
    pub(super) offset: usize,
    /// Items at the most.
    pub(super) limit: usize,
    /// What an item must contain, in lower case; nothing is in everything.
    pub(super) filter: String,
    /// The place of the column to sort by, in the list of columns; the first where nothing else is said.
    pub(super) sort: usize,
    /// Whether the last comes first, where that was said.
    pub(super) is_descending: Option<bool>,
}

/// Items where nothing else is said.
const LIMIT: usize = 100;
/// The most items of one answer: some 250 KB of sessions.
const MOST: usize = 1000;

const KNOWN: [&str; 5] = ["offset", "limit", "filter", "sort", "order"];

impl Query {
    /// Reads the query of a URL, for a list that can be sorted by these columns.
    pub(super) fn parse(text: &str, columns: &[&str]) -> Result<Query, String> {
        let mut query =
            Query { offset: 0, limit: LIMIT, filter: String::new(), sort: 0, is_descending: None };
        let mut seen = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key)?, decoded(value)?);
            let wrong = |rule: &str| format!("{key}: {value}: must be {rule}");
            match key.as_str() {
                "offset" => query.offset = value.parse().map_err(|_| wrong("a whole number"))?,
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    query.limit = limit.ok_or_else(|| wrong(&format!("1 to {MOST}")))?;
                }
                "filter" => query.filter = value.to_lowercase(),
                "sort" => {
                    let place = columns.iter().position(|column| *column == value);
                    query.sort = place.ok_or_else(|| wrong(&format!("one of {}", columns.join(", "))))?;
                }
                "order" => {
                    let is_descending = ["asc", "desc"].iter().position(|order| *order == value);
                    query.is_descending = Some(is_descending.ok_or_else(|| wrong("asc or desc"))? == 1);
                }
                _ => return Err(format!("{key}: no such parameter: there is {}", KNOWN.join(", "))),
            }
            if seen.contains(&key) {
                return Err(format!("{key}: must be given once"));
            }
            seen.push(key);
        }
        Ok(query)
    }
}

/// What percent-encoding says, as forms write it.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || format!("{text}: must be percent-encoded UTF-8");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        bytes.push(match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                rest = behind;
                let digit =
                    |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?
            }
            (b'%', _) => return Err(wrong()),
            (b'+', _) => b' ',
            (other, _) => *other,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let query = Query::parse("offset=7&limit=1000&filter=J%C3%BCrgen+%2B&sort=b&order=desc", &["a", "b"]);
        let filter = "jürgen +".to_owned();
        let sort = 1;
        assert_eq!(query, Ok(Query { offset: 7, limit: 1000, filter, sort, is_descending: Some(true) }));
        let query = Query::parse("", &[]).unwrap();
        assert_eq!((query.offset, query.limit, query.sort, query.is_descending), (0, 100, 0, None));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        for (text, said) in [
            ("limit=0", "limit: 0: must be 1 to 1000"),
            ("limit=1001", "limit: 1001: must be 1 to 1000"),
            ("limit=", "limit: : must be 1 to 1000"),
            ("offset=-1", "offset: -1: must be a whole number"),
            ("sort=c", "sort: c: must be one of a, b"),
            ("order=up", "order: up: must be asc or desc"),
            ("page=2", "page: no such parameter: there is offset, limit, filter, sort, order"),
            ("limit=1&limit=1", "limit: must be given once"),
            ("filter=%F", "%F: must be percent-encoded UTF-8"),
            ("filter=%gg", "%gg: must be percent-encoded UTF-8"),
            ("filter=%ff", "%ff: must be percent-encoded UTF-8"),
        ] {
            assert_eq!(Query::parse(text, &["a", "b"]).unwrap_err(), said);
        }
    }
}

//! Numbers and names as they are shown: numbers whole, names harmless and as short as their place.

use unicode_width::UnicodeWidthChar;

/// Stands for what must not reach a terminal, or has no width of its own there.
const HARMLESS: char = '\u{fffd}';
/// Stands for what there was no room for.
const MORE: char = '…';

/// A count with every digit: `83,886,080`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in at most six columns, up to the trillions: `99,999`, `1.2 M`.
pub(crate) fn short(number: u64) -> String {
    if number < 100_000 {
        return count(number);
    }
    scaled(number as f64 / 1000.0, 1000.0, &["k", "M", "G", "T"])
}

/// Bytes in at most eight columns: `1.2 KiB`.
pub(crate) fn bytes(number: u64) -> String {
    if number < 1024 {
        return format!("{number} B");
    }
    scaled(number as f64 / 1024.0, 1024.0, &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A number in the largest of `units` in which it is at least one, each `step` of the one before.
fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // Rounded first, so that nothing is 1024 of a unit.
    while number.round() >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = usize::from(number < 9.95);
    format!("{number:.digits$} {}", units[unit])
}

/// A length of time in at most six columns: `0.4 s`, `241 s`, `17 min`, `9.5 h`, `40 d`.
pub(crate) fn duration(seconds: f64) -> String {
    // Two clocks may disagree by a little.
    let seconds = seconds.max(0.0);
    let (number, unit) = if seconds < 999.5 {
        (seconds, "s")
    } else if seconds < 99.5 * 60.0 {
        (seconds / 60.0, "min")
    } else if seconds < 99.5 * 3600.0 {
        (seconds / 3600.0, "h")
    } else {
        (seconds / 86_400.0, "d")
    };
    let text = if number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") };
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// How often something happens: `0`, `0.02`, `12.5`, `1,250`.
pub(crate) fn rate(rate: f64) -> String {
    match rate {
        rate if rate < 0.005 => "0".to_owned(),
        rate if rate < 9.995 => format!("{rate:.2}"),
        rate if rate < 99.95 => format!("{rate:.1}"),
        rate => count(rate.round() as u64),
    }
}

/// A name from outside, without anything that moves the cursor, colours, joins, or turns the direction of writing: what
/// remains takes the columns that [`width`] says.
pub(crate) fn clean(text: &str) -> String {
    let is_harmless = |c: &char| UnicodeWidthChar::width(*c).is_some_and(|width| width > 0);
    text.chars().map(|c| if is_harmless(&c) { c } else { HARMLESS }).collect()
}

/// How many columns a text takes that went through [`clean`].
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| UnicodeWidthChar::width(c).unwrap_or(0)).sum()
}

/// A text in at most `columns`. One that is longer ends with `…`, not within a number if it has any other place to end.
pub(crate) fn elide(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut left = columns - 1;
    let mut end = 0;
    for (place, c) in text.char_indices() {
        let wanted = UnicodeWidthChar::width(c).unwrap_or(0);
        if wanted > left {
            break;
        }
        left -= wanted;
        end = place + c.len_utf8();
    }
    let is_number = |c: char| c.is_ascii_hexdigit();
    if text[end..].starts_with(is_number) {
        // An address may be cut between its groups; a name that is one long group, anywhere.
        let whole = text[..end].trim_end_matches(is_number);
        let has_digit = text[whole.len()..].chars().take_while(|c| is_number(*c)).any(|c| c.is_ascii_digit());
        if has_digit && !whole.is_empty() {
            end = whole.len();
        }
    }
    format!("{}{MORE}", &text[..end])
}

/// As many of `parts` as fit into `columns`, the first ones, whole, with `gap` between them.
pub(crate) fn fitting(parts: &[String], gap: &str, columns: usize) -> String {
    let mut text = String::new();
    for part in parts {
        let gap = if text.is_empty() { "" } else { gap };
        if width(&text) + gap.len() + width(part) > columns {
            break;
        }
        text.push_str(gap);
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_their_columns() {
        let numbers = [0, 7, 999, 1000, 1023, 1024, 99_999, 100_000, 999_499, 999_999, 83_886_080, 1 << 40];
        let counts = ["0", "7", "999", "1,000", "1,023", "1,024", "99,999", "100 k", "999 k", "1.0 M"];
        for (number, wanted) in numbers.into_iter().zip(counts) {
            assert_eq!(short(number), wanted);
        }
        for number in numbers {
            assert!(short(number).len() <= 6 && bytes(number).len() <= 8, "{number}");
        }
        assert_eq!(count(83_886_080), "83,886,080");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(10_188), "9.9 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16 EiB");
    }

    #[test]
    fn lengths_of_time_keep_to_their_columns() {
        let cases = [
            (-1.0, "0 s"),
            (0.35, "0.3 s"),
            (9.96, "10 s"),
            (241.0, "241 s"),
            (999.6, "17 min"),
            (5960.0, "99 min"),
            (5980.0, "1.7 h"),
            (34_200.0, "9.5 h"),
            (40.0 * 86_400.0, "40 d"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(duration(seconds), wanted);
            assert!(wanted.len() <= 6);
        }
        assert_eq!([rate(0.0), rate(0.017), rate(12.5), rate(1250.4)], ["0", "0.02", "12.5", "1,250"]);
    }

    #[test]
    fn what_a_name_could_do_to_a_terminal_it_does_not() {
        assert_eq!(
            clean("a\x1b[31mb\r\n\u{9b}2Jc\u{7f}\0"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}\u{fffd}2Jc\u{fffd}\u{fffd}"
        );
        assert_eq!(clean("\u{202e}evil\u{200d}\u{301}"), "\u{fffd}evil\u{fffd}\u{fffd}");
        assert_eq!(clean("Zürich 東京"), "Zürich 東京");
        assert_eq!(width("Zürich 東京"), 11);
    }

    #[test]
    fn what_is_too_long_ends_between_its_numbers() {
        assert_eq!(elide("192.0.2.117/24", 14), "192.0.2.117/24");
        assert_eq!(elide("192.0.2.117/24", 13), "192.0.2.117/…");
        assert_eq!(elide("192.0.2.117/24", 11), "192.0.2.…");
        assert_eq!(elide("2001:db8:1234::/48", 12), "2001:db8:…");
        assert_eq!(elide("production", 6), "produ…");
        assert_eq!(elide("facade", 4), "fac…");
        assert_eq!(elide("1234567", 4), "123…");
        assert_eq!(elide("東京東京", 4), "東…");
        assert_eq!(elide("x1", 1), "…");
        assert_eq!(elide("x1", 0), "");
    }

    #[test]
    fn parts_are_shown_whole_or_not_at_all() {
        let parts = ["natpulse 0.1.0".to_owned(), "alive 3 of 9,840".to_owned(), "up".to_owned()];
        assert_eq!(fitting(&parts, "   ", 80), "natpulse 0.1.0   alive 3 of 9,840   up");
        assert_eq!(fitting(&parts, "   ", 37), "natpulse 0.1.0   alive 3 of 9,840");
        assert_eq!(fitting(&parts, "   ", 32), "natpulse 0.1.0");
        assert_eq!(fitting(&parts, "   ", 3), "");
    }
}

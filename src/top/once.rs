//! Everything once, as plain text.

use super::answers::Snapshot;
use super::panels::{self, Panel};
use super::table;
use crate::operator::figures::fitting;

/// How many sessions are asked for, and how many rows other tables may have.
pub(super) const ROWS: usize = 20;

/// The text, without escape codes, in lines of at most `columns`.
pub(super) fn text(snapshot: &Snapshot, url: &str, columns: usize) -> String {
    let mut text = String::new();
    for parts in panels::header(snapshot, None, url) {
        text.push_str(&format!("{}\n", fitting(&parts, "   ", columns)));
    }
    let panels = [
        panels::bridges(&snapshot.bridges),
        panels::networks(snapshot),
        panels::deaths(snapshot),
        panels::sessions(snapshot),
    ];
    for panel in panels {
        text.push_str(&section(&panel, columns));
    }
    text
}

fn section(panel: &Panel, columns: usize) -> String {
    const INDENT: &str = "  ";
    let shown = &panel.rows[..panel.rows.len().min(ROWS)];
    let mut text = format!("\n{}\n", fitting(&panel.title(ROWS), ", ", columns));
    if !shown.is_empty() {
        for line in table::lines(panel.columns, shown, columns.saturating_sub(INDENT.len())) {
            text.push_str(format!("{INDENT}{line}").trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::operator::figures::width;

    #[test]
    fn everything_is_said_in_lines_that_fit() {
        let told = sample::snapshot(3000);
        let url = "http://127.0.0.1:9464";
        for columns in [1, 20, 79, 200] {
            for line in text(&told, url, columns).lines() {
                assert!(width(line) <= columns && !line.contains(char::is_control), "{columns}: {line:?}");
            }
        }
        let text = text(&told, url, 79);
        for wanted in [
            "natpulse 0.1.0   alive 3,000 of 9,840",
            "\n\nbridges: 2\n  name ",
            "\n\nnetworks: 3, 1 learning, 2 settled\n  network ",
            "\n\nlast deaths: 4, 12 clients, 3 backends\n",
            "\n\nsessions: 1 to 20 of 3,000, newest first\n",
            "  2001:db8:1234::/48",
        ] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_natpulse_without_sessions_has_no_table_of_them() {
        let text = text(&sample::snapshot(0), "x", 79);
        assert!(text.ends_with("\n\nsessions: 0, newest first\n"), "{text}");
    }
}

//! Tables that fit: what has no room is left out by the column, and no number is ever cut.

use crate::operator::figures::{elide, width};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    /// Columns of the highest rank go first where there is no room for all. The one of rank 0 stays.
    pub(super) rank: u8,
    pub(super) kind: Kind,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Names, which may be shortened to so many columns.
    Text { least: usize },
    /// Figures that rarely need more columns than this, which are kept free so that the table stands still.
    Figure { usual: usize },
}

/// The widest space between two columns.
const MAX_GAP: usize = 3;

impl Column {
    pub(super) const fn text(heading: &'static str, rank: u8, least: usize) -> Column {
        Column { heading, rank, kind: Kind::Text { least } }
    }

    pub(super) const fn figure(heading: &'static str, rank: u8, usual: usize) -> Column {
        Column { heading, rank, kind: Kind::Figure { usual } }
    }

    /// The columns of the terminal it would like to have.
    fn wanted(&self, cells: impl Iterator<Item = usize>) -> usize {
        let usual = match self.kind {
            Kind::Text { .. } => 0,
            Kind::Figure { usual } => usual,
        };
        cells.max().unwrap_or(0).max(usual).max(width(self.heading))
    }

    /// The fewest it can do with, of those it wants.
    fn least(&self, wanted: usize) -> usize {
        match self.kind {
            Kind::Text { least } => least.max(width(self.heading)).min(wanted),
            Kind::Figure { .. } => wanted,
        }
    }

    fn cell(&self, text: &str, columns: usize) -> String {
        match self.kind {
            Kind::Text { .. } => {
                let text = elide(text, columns);
                let space = columns.saturating_sub(width(&text));
                format!("{text}{:space$}", "")
            }
            // Only where not even one column fits.
            Kind::Figure { .. } if width(text) > columns => " ".repeat(columns),
            Kind::Figure { .. } => format!("{:space$}{text}", "", space = columns - width(text)),
        }
    }
}

/// The heading and the rows, each line at most `room` columns wide. A row has a cell for every column.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>], room: usize) -> Vec<String> {
    let wanted: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| column.wanted(rows.iter().map(|row| width(&row[at]))))
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let least = |shown: &[usize]| -> usize {
        shown.iter().map(|&at| columns[at].least(wanted[at])).sum::<usize>() + shown.len().saturating_sub(1)
    };
    while shown.len() > 1 && least(&shown) > room {
        let first = shown.iter().enumerate().max_by_key(|(_, at)| columns[**at].rank);
        let first = first.map_or(0, |(place, _)| place);
        shown.remove(first);
    }
    // What the shortest form leaves over goes to the names, from the left.
    let mut spare = room.saturating_sub(least(&shown));
    let mut widths = Vec::with_capacity(shown.len());
    for &at in &shown {
        let least = columns[at].least(wanted[at]);
        let more = spare.min(wanted[at] - least);
        spare -= more;
        widths.push((least + more).min(room));
    }
    let gap = 1 + (spare / shown.len().max(2).saturating_sub(1)).min(MAX_GAP - 1);
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells =
            shown.iter().zip(&widths).map(|(&at, &columns_of)| columns[at].cell(&cell(at), columns_of));
        cells.collect::<Vec<_>>().join(&" ".repeat(gap)).trim_end().to_owned()
    };
    let mut lines = vec![line(&|at| columns[at].heading.to_owned())];
    lines.extend(rows.iter().map(|row| line(&|at| row[at].clone())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("name", 0, 6),
        Column::figure("in use", 2, 6),
        Column::figure("connections", 3, 1),
        Column::text("policy", 1, 6),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![row(["192.0.2.0/24", "57 s", "12,345", "smart"]), row(["::/48", "241 s", "1", "fixed"])]
    }

    #[test]
    fn the_least_wanted_columns_go_first() {
        let shown = |room| lines(&COLUMNS, &rows(), room);
        assert_eq!(
            shown(50),
            [
                "name           in use   connections   policy",
                "192.0.2.0/24     57 s        12,345   smart",
                "::/48           241 s             1   fixed",
            ]
        );
        assert_eq!(shown(28)[0], "name          in use  policy");
    }

    #[test]
    fn no_line_is_too_long_and_no_number_cut() {
        for room in 0..60 {
            for line in lines(&COLUMNS, &rows(), room) {
                assert!(width(&line) <= room, "{room}: {line:?}");
                let words = line.split_whitespace().filter(|word| !word.ends_with('…'));
                let known = ["192.0.2.0/24", "57", "12,345", "::/48", "241", "1"];
                for word in words.filter(|word| word.contains(|c: char| c.is_ascii_digit())) {
                    assert!(known.contains(&word), "{room}: {line:?}");
                }
            }
        }
    }

    #[test]
    fn a_table_without_rows_is_its_heading() {
        assert_eq!(lines(&COLUMNS, &[], 40).len(), 1);
    }
}

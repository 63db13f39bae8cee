//! The model on a terminal of any size. Small ones show less, and nothing in part.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, RenderDirection, Sparkline};

use super::model::Model;
use super::panels::{self, Panel};
use super::table;
use crate::operator::figures::{count, elide, fitting, width};

/// What the keys do, the most needed first.
const KEYS: [&str; 6] = ["q quit", "s sort", "r reverse", "/ filter", "↑↓ PgUp PgDn scroll", "Esc all"];
/// The same while a filter is typed.
const EDIT_KEYS: [&str; 2] = ["Enter keep", "Esc clear"];

/// Below this many columns or rows there are the header and the sessions only.
const ROOM_FOR_ALL: (u16, u16) = (72, 20);
/// A header of more than one line needs as many rows as this.
const ROOM_FOR_HEADER: u16 = 12;
/// A box with a heading and one row, and with a few digits between its borders.
const SMALLEST_BOX: (u16, u16) = (10, 4);

/// Where things stand. What has no room is empty.
struct Places {
    header: Rect,
    alive: Rect,
    bridges: Rect,
    deaths: Rect,
    networks: Rect,
    sessions: Rect,
    keys: Rect,
}

fn places(area: Rect) -> Places {
    let is_for_all = area.width >= ROOM_FOR_ALL.0 && area.height >= ROOM_FOR_ALL.1;
    let (top, middle) = match is_for_all {
        true => ((area.height / 5).clamp(5, 12), (area.height / 4).clamp(6, 15)),
        false => (0, 0),
    };
    let header = if area.height >= ROOM_FOR_HEADER { 3 } else { 1 };
    let keys = u16::from(area.height > header + SMALLEST_BOX.1);
    let mut rows = [header, top, middle, 0, keys].map(Constraint::Length);
    rows[3] = Constraint::Fill(1);
    let [header, top, middle, sessions, keys] = Layout::vertical(rows).areas(area);
    let halves = [Constraint::Percentage(45), Constraint::Fill(1)];
    let [alive, bridges] = Layout::horizontal(halves).areas(top);
    let [deaths, networks] = Layout::horizontal(halves).areas(middle);
    let is_too_small = sessions.width < SMALLEST_BOX.0 || sessions.height < SMALLEST_BOX.1;
    let sessions = if is_too_small { Rect::ZERO } else { sessions };
    Places { header, alive, bridges, deaths, networks, sessions, keys }
}

/// How many sessions there is room for.
pub(super) fn session_rows(area: Rect) -> u64 {
    // A border above and below, and the heading.
    u64::from(places(area).sessions.height.saturating_sub(3))
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, is_coloured: bool) {
    let places = places(frame.area());
    let paint = Paint { is_coloured };
    header(frame, places.header, model, paint);
    keys(frame, places.keys, model);
    let Some(snapshot) = &model.snapshot else {
        return;
    };
    alive(frame, places.alive, model, paint);
    panel(frame, places.bridges, &panels::bridges(&snapshot.bridges), paint);
    panel(frame, places.deaths, &panels::deaths(snapshot), paint);
    panel(frame, places.networks, &panels::networks(snapshot), paint);
    panel(frame, places.sessions, &panels::sessions(snapshot), paint);
}

/// Styles: weight says the same as colour, for whoever has asked for none.
#[derive(Clone, Copy)]
struct Paint {
    is_coloured: bool,
}

impl Paint {
    fn colour(self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn title(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    fn trouble(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }
}

fn header(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let columns = usize::from(area.width);
    let mut lines: Vec<Line<'_>> = Vec::new();
    if let Some(snapshot) = &model.snapshot {
        let [first, second, third] = panels::header(snapshot, model.rates().as_ref(), &model.url);
        lines.push(Line::styled(fitting(&first, GAP, columns), Modifier::BOLD));
        lines.push(Line::raw(fitting(&second, GAP, columns)));
        lines.push(Line::raw(fitting(&third, GAP, columns)));
    } else {
        lines.push(Line::styled(elide(&format!("natpulse top {}", model.url), columns), Modifier::BOLD));
        if model.trouble.is_none() {
            lines.push(Line::raw(elide("waiting for the first answer", columns)));
        }
    }
    if let Some((why, since)) = &model.trouble {
        let age =
            if model.snapshot.is_some() { format!(" for {} s", since.as_secs()) } else { String::new() };
        let text = format!("NO ANSWER{age}, trying again: {why}");
        // The last line of the header, or the only one: what is old must not look new.
        lines.truncate(usize::from(area.height).saturating_sub(1).min(2));
        lines.push(Line::styled(elide(&text, columns), paint.trouble()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

const GAP: &str = "   ";

fn keys(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let columns = usize::from(area.width);
    if area.is_empty() {
        return;
    }
    if !model.is_editing {
        let keys = KEYS.map(str::to_owned);
        frame.render_widget(Paragraph::new(fitting(&keys, GAP, columns)), area);
        return;
    }
    const PROMPT: &str = "filter: ";
    // The end of what is typed is where the eyes are; one column is the cursor's.
    let room = columns.saturating_sub(PROMPT.len() + 1);
    let mut shown = model.filter.as_str();
    while width(shown) > room {
        let mut rest = shown.chars();
        rest.next();
        shown = rest.as_str();
    }
    let left = columns.saturating_sub(PROMPT.len() + width(shown) + GAP.len() + 1);
    let hint = fitting(&EDIT_KEYS.map(str::to_owned), GAP, left);
    let text = format!("{PROMPT}{shown} {GAP}{hint}");
    frame.render_widget(Paragraph::new(text), area);
    let cursor = u16::try_from(PROMPT.len() + width(shown)).unwrap_or(u16::MAX);
    let x = area.x.saturating_add(cursor).min(area.right().saturating_sub(1));
    frame.set_cursor_position(Position { x, y: area.y });
}

fn alive(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let inner = Rect { height: area.height.saturating_sub(2), width: area.width.saturating_sub(2), ..area };
    let seen = || model.alive.iter().take(usize::from(inner.width));
    let most = seen().flatten().max().copied().unwrap_or(0);
    let least = seen().flatten().min().copied().unwrap_or(0);
    let title = [
        format!("alive: {} to {}", count(least), count(most)),
        format!("the last {} s", count(seen().count() as u64)),
    ];
    let block = block(area, &title, paint);
    let picture = Sparkline::default()
        .block(block)
        .direction(RenderDirection::RightToLeft)
        .style(paint.colour(Color::Green))
        .max(most.max(1))
        .data(seen().copied());
    frame.render_widget(picture, area);
}

fn panel(frame: &mut Frame<'_>, area: Rect, panel: &Panel, paint: Paint) {
    if area.is_empty() {
        return;
    }
    let (columns, rows) = (area.width.saturating_sub(2).into(), area.height.saturating_sub(3).into());
    let shown = &panel.rows[..panel.rows.len().min(rows)];
    let mut lines = table::lines(panel.columns, shown, columns).into_iter();
    let heading = lines.next().map(|heading| Line::styled(heading, Modifier::BOLD));
    let text: Vec<Line<'_>> = heading.into_iter().chain(lines.map(Line::raw)).collect();
    let block = block(area, &panel.title(rows), paint);
    frame.render_widget(Paragraph::new(text).block(block), area);
}

fn block(area: Rect, title: &[String], paint: Paint) -> Block<'static> {
    // A corner and a space on either side.
    let title = fitting(title, ", ", usize::from(area.width).saturating_sub(4));
    let title = if title.is_empty() { title } else { format!(" {title} ") };
    Block::bordered().title(Line::styled(title, paint.title()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::super::sample;
    use super::*;

    fn watching(sessions: u64) -> Model {
        let mut model = Model::new("http://127.0.0.1:9464".to_owned());
        let mut told = sample::snapshot(sessions);
        for _ in 0..2 {
            model.answered(Ok(told.clone()), Instant::now());
            told.status.now += 1.0;
        }
        model
    }

    fn drawn(model: &mut Model, columns: u16, rows: u16, is_coloured: bool) -> Buffer {
        model.resized(session_rows(Rect::new(0, 0, columns, rows)));
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, model, is_coloured)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn lines(model: &mut Model, columns: u16, rows: u16) -> Vec<String> {
        let buffer = drawn(model, columns, rows, true);
        let line = |row| (0..columns).map(|column| buffer[(column, row)].symbol()).collect::<String>();
        (0..rows).map(line).collect()
    }

    /// Every edge of a box ends in a corner, and what lies between two edges is open on neither side.
    fn assert_boxes_are_whole(lines: &[String]) {
        let grid: Vec<Vec<char>> = lines.iter().map(|line| line.chars().collect()).collect();
        let at = |row: usize, column: usize| grid.get(row).and_then(|line| line.get(column)).copied();
        for (row, line) in grid.iter().enumerate() {
            for (column, c) in line.iter().enumerate() {
                let below = at(row + 1, column);
                let is_open = matches!(c, '┌' | '┐' | '│') && !matches!(below, Some('│' | '└' | '┘'));
                assert!(!is_open, "{c} at {column}, {row}:\n{}", lines.join("\n"));
            }
        }
        let count = |wanted| grid.iter().flatten().filter(|c| **c == wanted).count();
        let corners = ['┌', '┐', '└', '┘'].map(count);
        assert!(corners.iter().all(|found| *found == corners[0]), "{corners:?}\n{}", lines.join("\n"));
    }

    #[test]
    fn a_terminal_of_80_by_24_shows_something_of_everything() {
        let lines = lines(&mut watching(3000), 80, 24);
        let all = lines.join("\n");
        for wanted in [
            "natpulse 0.1.0   alive 3,000 of 9,840   up 26 h",
            "beats sent 4,711 (0/s)   answered 4,690 (0/s)   missed 21 (0/s)",
            "alive: 3,000 to 3,000",
            "bridges: 2 ",
            "last deaths: 3 of 4, 12 clients",
            "nat        242 s",
            "networks: 3, 1 learning, 2 settled",
            "2001:db8:1234::/48",
            "sessions: 1 to 6 of 3,000, newest first",
            "q quit   s sort   r reverse",
        ] {
            assert!(all.contains(wanted), "no {wanted:?} in\n{all}");
        }
        assert_boxes_are_whole(&lines);
    }

    #[test]
    fn a_terminal_of_200_by_50_shows_more() {
        let lines = lines(&mut watching(3000), 200, 50);
        let all = lines.join("\n");
        for wanted in ["ws://0.0.0.0:8080/chat", "back after", "backend beat", "in doubt", "1 to 21 of 3,000"]
        {
            assert!(all.contains(wanted), "no {wanted:?} in\n{all}");
        }
        assert!(all.contains("[2001:db8:1234:5678:9abc:def0:1234:1]:60001"), "{all}");
        assert_boxes_are_whole(&lines);
    }

    #[test]
    fn a_terminal_of_40_by_10_shows_the_sessions() {
        let lines = lines(&mut watching(3000), 40, 10);
        let all = lines.join("\n");
        assert!(all.contains("sessions: 1 to 5 of 3,000") && !all.contains("networks"), "{all}");
        assert_boxes_are_whole(&lines);
    }

    #[test]
    fn no_size_is_too_small_and_no_number_cut() {
        let digits = |lines: &[String]| -> BTreeSet<String> {
            let is_inner = |c: char| c.is_ascii_alphanumeric() || ".,:/[]_-%".contains(c);
            let words = lines.iter().flat_map(|line| line.split(|c: char| !(is_inner(c) || c == '…')));
            let words = words.filter(|word| !word.ends_with('…'));
            words.filter(|word| word.contains(|c: char| c.is_ascii_digit())).map(str::to_owned).collect()
        };
        let mut model = watching(40);
        let mut known = digits(&lines(&mut model, 400, 200));
        for (columns, rows) in
            [(1, 1), (80, 24), (200, 50), (40, 10)].into_iter().chain((0..220).map(|n| (n, 60)))
        {
            let lines = lines(&mut model, columns, rows);
            assert_boxes_are_whole(&lines);
            // How many there is room for depends on the room.
            known.extend((0..=40).flat_map(|n| [n.to_string(), format!("{n},")]));
            let unknown: Vec<_> = digits(&lines).difference(&known).cloned().collect();
            assert!(unknown.is_empty(), "{columns}x{rows}: {unknown:?} in\n{}", lines.join("\n"));
        }
    }

    #[test]
    fn whoever_wants_no_colour_sees_none() {
        let mut model = watching(30);
        model.answered(Err("refused".into()), Instant::now());
        let coloured = |buffer: &Buffer| buffer.content().iter().any(|cell| cell.fg != Color::Reset);
        assert!(coloured(&drawn(&mut model, 80, 24, true)));
        let plain = drawn(&mut model, 80, 24, false);
        assert!(!coloured(&plain) && plain.content().iter().all(|cell| cell.bg == Color::Reset));
    }

    #[test]
    fn trouble_is_said_whether_or_not_there_was_an_answer_before() {
        let mut model = Model::new("http://127.0.0.1:9464".to_owned());
        assert!(lines(&mut model, 80, 24).join("\n").contains("waiting for the first answer"));
        let why = || Err("cannot reach http://127.0.0.1:9464: refused".to_owned());
        model.answered(why(), Instant::now());
        let told = lines(&mut model, 80, 24).join("\n");
        assert!(
            told.contains("NO ANSWER, trying again: cannot reach http://127.0.0.1:9464: refused"),
            "{told}"
        );
        let mut model = watching(3);
        model.answered(why(), Instant::now());
        for (columns, rows) in [(80, 24), (40, 10), (40, 3)] {
            let told = lines(&mut model, columns, rows);
            assert!(told.join("\n").contains("NO ANSWER for 0 s, trying again"), "{told:?}");
            assert_boxes_are_whole(&told);
        }
    }

    #[test]
    fn a_filter_that_is_typed_is_seen_with_its_end() {
        let mut model = watching(3);
        for c in format!("/{}end", "x".repeat(60)).chars() {
            let _ = model.key(KeyEvent::from(KeyCode::Char(c)));
        }
        let seen = lines(&mut model, 40, 10);
        assert!(seen[9].starts_with("filter: xxx") && seen[9].trim_end().ends_with("xend"), "{seen:?}");
        assert!(lines(&mut model, 120, 30)[29].contains("xend    Enter keep   Esc clear"));
        for columns in 0..20 {
            lines(&mut model, columns, 10);
        }
    }

    #[test]
    fn a_name_cannot_move_the_cursor_or_break_a_box() {
        let mut model = watching(1);
        let mut told = sample::snapshot(1);
        let evil = "\x1b[2J\r\n\u{9b}1m東京\u{202e}\u{301}".repeat(9);
        told.status.version.clone_from(&evil);
        told.bridges.items[0].name.clone_from(&evil);
        told.networks.items[0].name.clone_from(&evil);
        told.deaths.items[0].cause.clone_from(&evil);
        told.sessions.items[0].client = Some(evil);
        model.answered(Ok(told), Instant::now());
        for columns in 1..120 {
            let buffer = drawn(&mut model, columns, 40, true);
            let is_evil = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{301}');
            assert!(!buffer.content().iter().any(|cell| cell.symbol().contains(is_evil)));
            // A wide character takes a second cell; borders are looked at in the cells they must be in.
            let bottom = buffer.content().iter().filter(|cell| cell.symbol() == "┘").count();
            assert_eq!(buffer.content().iter().filter(|cell| cell.symbol() == "┐").count(), bottom);
        }
    }
}

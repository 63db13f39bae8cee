//! What is shown: the last answers, what the user asked for with keys, and nothing of where either comes from.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::answers::{Snapshot, Status};
use super::query::{Query, Sort};
use crate::operator::figures::clean;

/// How many polls the picture of sessions alive goes back: one per column of the widest terminal.
const POLLS: usize = 500;
/// Polls closer together than this are one: a key asks at once.
const POLL_APART: Duration = Duration::from_millis(900);
/// Over how long rates are taken: beats are rare.
const RATE_SPAN: f64 = 60.0;
/// The longest filter: an IPv6 address with its port has 47 characters.
const MAX_FILTER: usize = 64;

/// All that the screen shows.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) url: String,
    pub(super) snapshot: Option<Snapshot>,
    /// Why the last poll had no answer, and for how long there has been none.
    pub(super) trouble: Option<(String, Duration)>,
    /// Sessions alive, the newest first; nothing where a poll had no answer.
    pub(super) alive: VecDeque<Option<u64>>,
    pub(super) is_editing: bool,
    pub(super) filter: String,
    sort: Sort,
    is_reversed: bool,
    offset: u64,
    /// How many sessions have room.
    page: u64,
    last_poll: Option<Instant>,
    answered: Option<Instant>,
    recent: VecDeque<Status>,
}

/// What happens how often a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) sent: f64,
    pub(super) answered: f64,
    pub(super) missed: f64,
    pub(super) up_messages: f64,
    pub(super) up_bytes: f64,
    pub(super) down_messages: f64,
    pub(super) down_bytes: f64,
}

impl Model {
    pub(super) fn new(url: String) -> Model {
        Model {
            url,
            snapshot: None,
            trouble: None,
            alive: VecDeque::new(),
            is_editing: false,
            filter: String::new(),
            sort: Sort::Opened,
            is_reversed: false,
            offset: 0,
            page: 1,
            last_poll: None,
            answered: None,
            recent: VecDeque::new(),
        }
    }

    /// What is to be asked for.
    pub(super) fn query(&self) -> Query {
        Query {
            sort: self.sort,
            is_descending: self.sort.is_descending() != self.is_reversed,
            filter: self.filter.clone(),
            offset: self.offset,
            limit: self.page,
        }
    }

    /// There is room for so many sessions now.
    pub(super) fn resized(&mut self, page: u64) {
        self.page = page.max(1);
        self.clamp();
    }

    /// An answer has come, or the reason why there is none.
    pub(super) fn answered(&mut self, answer: Result<Snapshot, String>, at: Instant) {
        let is_sample = self.last_poll.is_none_or(|last| at.duration_since(last) >= POLL_APART);
        let alive = answer.as_ref().ok().map(|snapshot| snapshot.status.sessions.active);
        if is_sample {
            self.last_poll = Some(at);
            self.alive.push_front(alive);
            self.alive.truncate(POLLS);
        }
        match answer {
            Ok(snapshot) => {
                self.remember(&snapshot.status);
                self.snapshot = Some(snapshot);
                self.answered = Some(at);
                self.trouble = None;
                self.clamp();
            }
            Err(why) => {
                let since = self.answered.map_or(Duration::ZERO, |answered| at.duration_since(answered));
                self.trouble = Some((clean(&why), since));
            }
        }
    }

    /// A key was pressed; breaks when it was the one that ends.
    pub(super) fn key(&mut self, key: KeyEvent) -> ControlFlow<()> {
        if key.kind == KeyEventKind::Release {
            return ControlFlow::Continue(());
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return ControlFlow::Break(());
        }
        if self.is_editing {
            self.edit(key.code, is_control);
            return ControlFlow::Continue(());
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than top has uses for")]
        match key.code {
            KeyCode::Char('q') => return ControlFlow::Break(()),
            KeyCode::Char('s') => {
                (self.sort, self.is_reversed, self.offset) = (self.sort.next(), false, 0);
            }
            KeyCode::Char('r') => (self.is_reversed, self.offset) = (!self.is_reversed, 0),
            KeyCode::Char('/') => self.is_editing = true,
            KeyCode::Esc => (self.filter, self.offset) = (String::new(), 0),
            KeyCode::Up => self.offset = self.offset.saturating_sub(1),
            KeyCode::Down => self.offset = self.offset.saturating_add(1),
            KeyCode::PageUp => self.offset = self.offset.saturating_sub(self.page),
            KeyCode::PageDown => self.offset = self.offset.saturating_add(self.page),
            KeyCode::Home => self.offset = 0,
            KeyCode::End => self.offset = u64::MAX,
            _ => {}
        }
        self.clamp();
        ControlFlow::Continue(())
    }

    fn edit(&mut self, code: KeyCode, is_control: bool) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "other keys have no meaning in a line of text")]
        match code {
            KeyCode::Enter => self.is_editing = false,
            KeyCode::Esc => (self.is_editing, self.filter) = (false, String::new()),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char('u') if is_control => self.filter.clear(),
            KeyCode::Char(c) if !is_control && self.filter.chars().count() < MAX_FILTER => {
                self.filter.push_str(&clean(c.encode_utf8(&mut [0; 4])));
            }
            _ => {}
        }
        self.offset = 0;
    }

    /// Keeps the last page in view when the list becomes shorter, or the end is passed.
    fn clamp(&mut self) {
        let total = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.sessions.total);
        self.offset = self.offset.min(total.saturating_sub(self.page));
    }

    fn remember(&mut self, status: &Status) {
        let is_another = |last: &Status| last.started != status.started || last.now > status.now;
        if self.recent.back().is_some_and(is_another) {
            // Restarted, or its clock was set back: nothing before can be compared.
            self.recent.clear();
        }
        self.recent.push_back(status.clone());
        while self.recent.len() > 2 && self.recent[1].now <= status.now - RATE_SPAN {
            self.recent.pop_front();
        }
    }

    /// How often things happened in the last minute, or since the first answer; `None` before the second.
    pub(super) fn rates(&self) -> Option<Rates> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let span = last.now - first.now;
        if span <= 0.0 {
            return None;
        }
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / span;
        Some(Rates {
            sent: rate(first.beats.sent, last.beats.sent),
            answered: rate(first.beats.answered, last.beats.answered),
            missed: rate(first.beats.missed, last.beats.missed),
            up_messages: rate(first.uplink.messages, last.uplink.messages),
            up_bytes: rate(first.uplink.bytes, last.uplink.bytes),
            down_messages: rate(first.downlink.messages, last.downlink.messages),
            down_bytes: rate(first.downlink.bytes, last.downlink.bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn press(model: &mut Model, keys: &[KeyCode]) {
        for &code in keys {
            assert!(model.key(KeyEvent::from(code)).is_continue(), "{code:?}");
        }
    }

    fn typed(model: &mut Model, text: &str) {
        press(model, &text.chars().map(KeyCode::Char).collect::<Vec<_>>());
    }

    #[test]
    fn keys_change_what_is_asked_for() {
        let mut model = Model::new("x".into());
        model.answered(Ok(sample::snapshot(100)), Instant::now());
        model.resized(10);
        assert_eq!(model.query().path(), "/api/sessions?limit=10&offset=0&sort=opened&order=desc");
        typed(&mut model, "ss");
        assert_eq!(model.query().path(), "/api/sessions?limit=10&offset=0&sort=messages&order=desc");
        typed(&mut model, "r");
        press(&mut model, &[KeyCode::PageDown, KeyCode::Down, KeyCode::Down, KeyCode::Up]);
        assert_eq!(model.query().path(), "/api/sessions?limit=10&offset=11&sort=messages&order=asc");
        press(&mut model, &[KeyCode::End]);
        assert_eq!(model.query().offset, 90);
        press(&mut model, &[KeyCode::PageDown, KeyCode::PageUp]);
        assert_eq!(model.query().offset, 80);
        typed(&mut model, "/q &\u{1b}é");
        press(&mut model, &[KeyCode::Enter]);
        let query = model.query();
        assert_eq!((query.offset, model.is_editing), (0, false));
        assert!(query.path().ends_with("&filter=q%20%26%EF%BF%BD%C3%A9"), "{}", query.path());
        press(&mut model, &[KeyCode::Esc]);
        assert_eq!(model.query().filter, "");
    }

    #[test]
    fn a_filter_is_edited_like_a_line() {
        let mut model = Model::new("x".into());
        typed(&mut model, "/abc");
        press(&mut model, &[KeyCode::Backspace]);
        assert_eq!(model.query().filter, "ab");
        let _ = model.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(model.query().filter, "");
        typed(&mut model, &"x".repeat(200));
        assert_eq!(model.query().filter.len(), MAX_FILTER);
        press(&mut model, &[KeyCode::Esc]);
        assert_eq!((model.query().filter.as_str(), model.is_editing), ("", false));
    }

    #[test]
    fn q_ends_it_but_not_while_a_filter_is_typed_and_control_c_always() {
        let mut model = Model::new("x".into());
        assert!(model.key(KeyEvent::from(KeyCode::Char('q'))).is_break());
        typed(&mut model, "/q");
        assert_eq!(model.filter, "q");
        assert!(model.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)).is_break());
    }

    #[test]
    fn a_list_that_becomes_shorter_is_still_in_view() {
        let mut model = Model::new("x".into());
        model.answered(Ok(sample::snapshot(100)), Instant::now());
        model.resized(10);
        press(&mut model, &[KeyCode::End]);
        model.answered(Ok(sample::snapshot(12)), Instant::now());
        assert_eq!(model.query().offset, 2);
        model.resized(50);
        assert_eq!((model.query().offset, model.query().limit), (0, 50));
    }

    #[test]
    fn rates_are_those_of_the_last_minute_of_this_process() {
        let mut model = Model::new("x".into());
        let start = Instant::now();
        let mut told = sample::snapshot(1);
        model.answered(Ok(told.clone()), start);
        assert_eq!(model.rates(), None);
        for second in 1..=200 {
            told.status.now += 1.0;
            told.status.beats.sent += if second > 150 { 2 } else { 100 };
            model.answered(Ok(told.clone()), start + Duration::from_secs(second));
        }
        // 50 seconds of 2, and 10 of 100.
        let sent = model.rates().unwrap().sent;
        assert!((sent - 1100.0 / 60.0).abs() < 0.01, "{sent}");
        told.status.started += 1000.0;
        told.status.beats.sent = 0;
        model.answered(Ok(told), start + Duration::from_secs(201));
        assert_eq!(model.rates(), None);
    }

    #[test]
    fn a_silent_natpulse_is_said_to_be_silent_and_its_last_answer_is_kept() {
        let mut model = Model::new("x".into());
        let start = Instant::now();
        model.answered(Ok(sample::snapshot(3)), start);
        model.answered(Err("no\x1broute".into()), start + Duration::from_secs(7));
        assert_eq!(model.trouble, Some(("no\u{fffd}route".to_owned(), Duration::from_secs(7))));
        assert!(model.snapshot.is_some());
        assert_eq!(model.alive, [None, Some(3)]);
        model.answered(Ok(sample::snapshot(4)), start + Duration::from_secs(8));
        assert_eq!((model.trouble, model.alive.len()), (None, 3));
    }
}

//! The terminal: taken over while it is watched, and given back however that ends.

use std::io::{self, IsTerminal};
use std::thread;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

/// A terminal that shows the screen of a program instead of the shell's, until it is dropped.
#[derive(Debug)]
pub(super) struct Terminal(DefaultTerminal);

/// Keys that wait: more than anyone types while a screen is drawn.
const EVENTS: usize = 64;

impl Terminal {
    /// Takes over the terminal. A panic gives it back as well, before it is reported.
    ///
    /// # Errors
    /// There is none, for a person to read.
    pub(super) fn open() -> Result<Terminal, String> {
        if !io::stdout().is_terminal() {
            return Err("standard output is no terminal; --once prints to anything".to_owned());
        }
        ratatui::try_init().map(Terminal).map_err(|error| format!("cannot take over the terminal: {error}"))
    }

    /// What may be drawn on.
    pub(super) fn screen(&mut self) -> &mut DefaultTerminal {
        &mut self.0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What a panic says stands on the shell's screen by now.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}

/// Keys and changes of size. They are read by a thread, since a terminal can only be waited for, and it waits until the
/// process ends.
pub(super) fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, events) = mpsc::channel(EVENTS);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.blocking_send(event).is_err() || is_last {
                return;
            }
        }
    });
    events
}

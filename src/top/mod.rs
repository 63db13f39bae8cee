//! `natpulse top`: a running natpulse in a terminal, seen through its JSON API.
//!
//! What is shown is decided without any IO: `model` holds answers and what keys did, `panels` makes tables of it, and
//! `screen` and `once` lay them out. The operator's client and `terminal` are the two ends to the world.

mod answers;
mod model;
mod once;
mod panels;
mod query;
#[cfg(test)]
mod sample;
mod screen;
mod table;
mod terminal;

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::Event;
use ratatui::crossterm::terminal::size;
use ratatui::layout::Rect;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::operator::Client;
use answers::Snapshot;
use model::Model;
use query::Query;
use terminal::Terminal;

/// How long after an answer the next is asked for.
const PERIOD: Duration = Duration::from_secs(1);
/// How wide text is that is written to no terminal. One less than the terminals of old have, which begin a new line
/// when their last column is written.
const COLUMNS: u16 = 79;

/// Everything once, as text in lines that fit the terminal, or 80 columns where there is none.
///
/// # Errors
/// Why there is no answer, for a person to read.
pub async fn once(mut client: Client) -> Result<String, String> {
    let mut model = Model::new(client.url());
    model.resized(once::ROWS as u64);
    let snapshot = Snapshot::ask(&mut client, &model.query()).await?;
    let terminal = io::stdout().is_terminal().then(|| size().ok()).flatten();
    let columns = terminal.map_or(COLUMNS, |(columns, _)| columns.saturating_sub(1).max(1));
    Ok(once::text(&snapshot, &model.url, columns.into()))
}

/// Shows everything on this terminal, once a second, until the user ends it. Colours nothing unless `is_coloured`.
///
/// # Errors
/// The terminal cannot be used, for a person to read.
pub async fn watch(client: Client, is_coloured: bool) -> Result<(), String> {
    let broken = |error: io::Error| format!("the terminal: {error}");
    let mut stopped = pin!(stopped().map_err(|error| format!("cannot wait for signals: {error}"))?);
    let mut model = Model::new(client.url());
    let mut terminal = Terminal::open()?;
    let (queries, wanted) = watch::channel(model.query());
    let (sender, mut answers) = mpsc::channel(1);
    tokio::spawn(poll(client, wanted, sender));
    let mut events = terminal::events();
    loop {
        let screen = terminal.screen();
        let size = screen.size().map_err(broken)?;
        model.resized(screen::session_rows(Rect::from(((0, 0).into(), size))));
        let query = model.query();
        queries.send_if_modified(|wanted| {
            let is_new = *wanted != query;
            *wanted = query;
            is_new
        });
        screen.draw(|frame| screen::draw(frame, &model, is_coloured)).map_err(broken)?;
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => model.answered(answer, Instant::now()),
                None => return Err("nobody asks any more".to_owned()),
            },
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) => if model.key(key).is_break() { return Ok(()) },
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(broken(error)),
                None => return Err("nobody reads the keys any more".to_owned()),
            },
            () = &mut stopped => return Ok(()),
        }
    }
}

/// Ends when the process is told to, or its terminal has gone: the terminal is given back then as well.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Asks once a second, and at once when something else is wanted.
async fn poll(
    mut client: Client,
    mut wanted: watch::Receiver<Query>,
    answers: mpsc::Sender<Result<Snapshot, String>>,
) {
    loop {
        let query = wanted.borrow_and_update().clone();
        let answer = Snapshot::ask(&mut client, &query).await;
        if answers.send(answer).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(PERIOD) => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

//! A file of targets, or a directory of such files, read again when it has changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::link::BackendUrl;
use crate::targets::{BadLine, Tokens};
use crate::watched::Mark;

/// For how long a token that is known is taken at its word: one that was taken out is of no use after that.
const TRUSTED: Duration = Duration::from_secs(1);
/// The same for a token that is unknown, and so how often a crowd of them has the disk asked.
const DOUBTED: Duration = Duration::from_millis(50);

/// Whom tokens stand for, as a file says.
#[derive(Debug)]
pub(super) struct TokenFile {
    bridge: String,
    source: PathBuf,
    /// Held while the disk is asked, so that everyone who waits for that asks once.
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    tokens: Arc<Tokens>,
    /// What tells that the files have changed.
    marks: io::Result<Vec<Seen>>,
    looked: Instant,
}

/// A file as it was when it was read.
type Seen = (PathBuf, Mark);

impl TokenFile {
    /// Reads a file or directory.
    pub(super) fn new(bridge: &str, source: &Path) -> TokenFile {
        let marks = marks(source);
        let tokens = Arc::new(read(bridge, &marks));
        let known = Known { tokens, marks, looked: Instant::now() };
        TokenFile { bridge: bridge.to_owned(), source: source.to_owned(), known: Mutex::new(known) }
    }

    /// Whom a token stands for.
    pub(super) async fn get(&self, token: &str) -> Option<BackendUrl> {
        let mut known = self.known.lock().await;
        let patience = if known.tokens.get(token).is_some() { TRUSTED } else { DOUBTED };
        if known.looked.elapsed() >= patience {
            let source = self.source.clone();
            let now = spawn_blocking(move || marks(&source)).await.unwrap_or_else(|error| Err(error.into()));
            known.looked = Instant::now();
            if !is_same(&now, &known.marks) {
                let bridge = self.bridge.clone();
                let reading = spawn_blocking(move || {
                    let tokens = read(&bridge, &now);
                    (tokens, now)
                });
                if let Ok((tokens, marks)) = reading.await {
                    (known.tokens, known.marks) = (Arc::new(tokens), marks);
                }
            }
        }
        known.tokens.get(token).cloned()
    }
}

fn is_same(now: &io::Result<Vec<Seen>>, before: &io::Result<Vec<Seen>>) -> bool {
    match (now, before) {
        (Ok(now), Ok(before)) => now == before,
        (Err(now), Err(before)) => now.kind() == before.kind(),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

/// The files there are, by their names, without those that are hidden. Blocks.
fn marks(source: &Path) -> io::Result<Vec<Seen>> {
    let about = fs::metadata(source)?;
    if !about.is_dir() {
        return Ok(vec![(source.to_owned(), Mark::from(&about))]);
    }
    let mut marks = Vec::new();
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // One that has gone since is not there.
        if let Ok(about) = fs::metadata(entry.path())
            && about.is_file()
            && !is_hidden
        {
            marks.push((entry.path(), Mark::from(&about)));
        }
    }
    marks.sort();
    Ok(marks)
}

/// What the files say; who cannot be read allows nobody. Blocks.
fn read(bridge: &str, marks: &io::Result<Vec<Seen>>) -> Tokens {
    let mut tokens = Tokens::default();
    let files = match marks {
        Ok(files) => files,
        Err(error) => {
            warn!(bridge, %error, "the targets cannot be read, so nobody is let through to any");
            return tokens;
        }
    };
    for (path, _) in files {
        let file = path.display();
        match fs::read_to_string(path) {
            Ok(text) => {
                for BadLine { line, rule } in tokens.read(&text) {
                    warn!(bridge, %file, line, rule, "a line names no target, and is skipped");
                }
            }
            Err(error) => warn!(bridge, %file, %error, "a file of targets cannot be read, and is skipped"),
        }
    }
    info!(bridge, targets = tokens.len(), "targets read");
    tokens
}

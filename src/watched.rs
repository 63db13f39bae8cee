//! Files that may be replaced at any time, and what was made of them.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// What tells a file from what it was before: when it was last changed (ctime, which cannot be set), in seconds and
/// nanoseconds, how long it is, and which one it is. Nothing where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(Option<(i64, i64, u64, u64)>);

impl Mark {
    /// Looks at a file. Blocks.
    pub fn of(file: &Path) -> Mark {
        fs::metadata(file).map_or(Mark(None), |about| Mark::from(&about))
    }
}

impl From<&Metadata> for Mark {
    fn from(about: &Metadata) -> Mark {
        Mark(Some((about.ctime(), about.ctime_nsec(), about.size(), about.ino())))
    }
}

/// What was made of some files, and is made anew when they change.
pub struct Watched<T> {
    files: Vec<PathBuf>,
    current: RwLock<Arc<T>>,
    state: Mutex<State>,
}

/// Not what was made: it may be a secret.
impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("files", &self.files).finish_non_exhaustive()
    }
}

struct State {
    /// The files that something was made of, or could not be.
    tried: Vec<Mark>,
    /// The files when they were last looked at.
    seen: Vec<Mark>,
    is_stale: bool,
}

impl<T> Watched<T> {
    /// Makes something of files for the first time. Blocks.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn new<E>(files: Vec<PathBuf>, make: impl FnOnce() -> Result<T, E>) -> Result<Watched<T>, E> {
        let marks = marks(&files);
        let current = RwLock::new(Arc::new(make()?));
        let state = Mutex::new(State { tried: marks.clone(), seen: marks, is_stale: false });
        Ok(Watched { files, current, state })
    }

    /// What is in use now.
    pub fn current(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the files were of no use when they were last read.
    pub fn is_stale(&self) -> bool {
        self.lock().is_stale
    }

    /// Makes it anew if the files have changed, and are as they were when last looked at: whoever replaces two files
    /// does one after the other. With `at_once`, whether they have changed or not. Returns whether it is new. Blocks.
    ///
    /// # Errors
    /// Those of `make`; then what was made before stays.
    pub fn reload<E>(&self, at_once: bool, make: impl FnOnce() -> Result<T, E>) -> Result<bool, E> {
        let now = marks(&self.files);
        {
            let mut state = self.lock();
            let is_at_rest = std::mem::replace(&mut state.seen, now.clone()) == now;
            if !at_once && (now == state.tried || !is_at_rest) {
                return Ok(false);
            }
            state.tried = now;
        }
        let made = make();
        self.lock().is_stale = made.is_err();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made?);
        Ok(true)
    }

    /// Nothing in here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn marks(files: &[PathBuf]) -> Vec<Mark> {
    files.iter().map(|file| Mark::of(file)).collect()
}

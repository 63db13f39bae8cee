//! A child process whose output is collected line by line, so that a test can wait
//! for what the process says instead of guessing how long it needs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// How long anything may take before the test gives up. Generous, because a loaded
/// machine must not fail a test; nothing ever waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits `future`, and panics with `what` once [`PATIENCE`] is over.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_time(PATIENCE, what, future).await
}

/// [`within`] for the few things that honestly take longer, such as moving gigabytes.
pub async fn within_time<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("gave up after {patience:?}: {what}"),
    }
}

/// Looks at a condition again and again until it holds. For state that no event
/// announces, such as the descriptors another process has open.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub struct Process {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Process {
    pub fn spawn(mut command: Command) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let (sender, lines) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        // Threads, not tasks: a test that keeps its runtime busy must not stop the
        // process by leaving its output pipe full.
        collect(child.stdout.take().unwrap(), sender.clone());
        collect(child.stderr.take().unwrap(), sender);
        Process { name, child, lines }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `pick` finds something in a line of the output, looking at what was
    /// printed before the call too.
    pub async fn wait_line<T>(&self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let mut lines = self.lines.clone();
        let mut seen = 0;
        let mut found = None;
        let search = lines.wait_for(|lines| {
            found = lines[seen..].iter().find_map(|line| pick(line));
            seen = lines.len();
            found.is_some()
        });
        let ended = within(&format!("{} to print {what}", self.name), search).await.is_err();
        match found {
            Some(value) => value,
            None => {
                assert!(ended);
                panic!("{} ended without printing {what}", self.name)
            }
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the process has ended by itself.
    pub async fn exit(&mut self) -> ExitStatus {
        let mut lines = self.lines.clone();
        let closed = lines.wait_for(|_| false);
        let _ = within(&format!("{} to end", self.name), closed).await;
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of {} ---", self.name);
            let lines = self.lines.borrow();
            // The end tells what went wrong; a whole debug log would bury the panic.
            for line in &lines[lines.len().saturating_sub(100)..] {
                eprintln!("{line}");
            }
        }
    }
}

fn collect(output: impl Read + Send + 'static, lines: Arc<watch::Sender<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            lines.send_modify(|lines| lines.push(line));
        }
    });
}

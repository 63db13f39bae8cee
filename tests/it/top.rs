//! `natpulse top` in a real terminal: tmux runs it in a pane, and tells what the pane shows.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::harness::{Natpulse, Ws, ws_connect};
use crate::process::{PATIENCE, within};
use crate::tools::{TempDir, free_addr, program};

/// A terminal with a shell in it.
pub struct Pane {
    dir: TempDir,
}

impl Pane {
    pub fn open(columns: u16, rows: u16) -> Pane {
        let pane = Pane { dir: TempDir::new() };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let session = ["-u", "new-session", "-d", "-s", "it", "-x", &columns, "-y", &rows];
        let shell = ["env", "-u", "NO_COLOR", "-u", "NATPULSE_TOKEN", "PS1=$ ", "sh"];
        pane.tmux(&[&session[..], &shell].concat());
        // No terminal is attached, whose size would be the pane's.
        pane.tmux(&["set-option", "-g", "window-size", "manual"]);
        pane
    }

    /// What tmux answers, asked on a socket of its own and without anyone's settings.
    fn tmux(&self, args: &[&str]) -> String {
        let socket = self.dir.path().join("tmux");
        let mut command = Command::new(program("tmux"));
        command.env("LC_ALL", "C.UTF-8").arg("-S").arg(socket).args(["-f", "/dev/null"]).args(args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-t", "it", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// Presses keys, in the words of tmux: `Enter`, `Escape`, `C-c`, or text.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "it"], keys].concat());
    }

    fn lines(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p", "-t", "it"]).lines().map(str::to_owned).collect()
    }

    /// Waits until the pane shows all of `wanted` and nothing of `unwanted`.
    pub async fn shows(&self, wanted: &[&str], unwanted: &[&str]) -> Vec<String> {
        let what = format!("the terminal to show {wanted:?} without {unwanted:?}");
        let mut last = Vec::new();
        let shown = async {
            loop {
                last = self.lines();
                let all = last.join("\n");
                if wanted.iter().all(|part| all.contains(part))
                    && !unwanted.iter().any(|part| all.contains(part))
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, shown).await;
        assert!(in_time.is_ok(), "gave up: {what}; it shows\n{}", last.join("\n"));
        last
    }

    /// Starts natpulse with these arguments, and has the shell say how it ended.
    pub fn start(&self, environment: &str, arguments: &str) {
        let natpulse = env!("CARGO_BIN_EXE_natpulse");
        let line = format!("{environment} {natpulse} {arguments}; echo left with $?");
        self.press(&[&line, "Enter"]);
    }

    fn start_top(&self, environment: &str, admin: SocketAddr) {
        self.start(environment, &format!("top http://{admin}"));
    }

    /// The shell is there again, and can be talked to.
    async fn is_given_back(&self) {
        self.shows(&["left with 0"], &["sessions:"]).await;
        assert_eq!(
            self.tmux(&["display-message", "-p", "-t", "it", "#{alternate_on}#{cursor_flag}"]),
            "01\n"
        );
        // What is typed is echoed, and read by the line.
        self.press(&[
            "stty -a | tr ' ;' '\\n' | grep -cx -e echo -e icanon",
            "Enter",
            "echo us''able",
            "Enter",
        ]);
        let lines = self.shows(&["usable"], &[]).await;
        assert!(lines.iter().any(|line| line == "2"), "{lines:?}");
        assert!(lines.iter().any(|line| line.ends_with("echo us''able")), "{lines:?}");
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// How many boxes there are. Panics if one has a gap, or a piece belongs to none.
fn boxes(lines: &[String]) -> usize {
    let grid: Vec<Vec<char>> = lines.iter().map(|line| line.chars().collect()).collect();
    let at =
        |row: usize, column: usize| grid.get(row).and_then(|line| line.get(column)).copied().unwrap_or(' ');
    let all = lines.join("\n");
    let (mut count, mut pieces) = (0, 0);
    for (top, line) in grid.iter().enumerate() {
        for (left, _) in line.iter().enumerate().filter(|(_, c)| **c == '┌') {
            let right = (left..line.len()).find(|&column| at(top, column) == '┐');
            let right = right.unwrap_or_else(|| panic!("no corner right of {left}, {top} in\n{all}"));
            let bottom = (top + 1..grid.len()).find(|&row| at(row, left) != '│');
            let bottom = bottom.unwrap_or_else(|| panic!("no corner below {left}, {top} in\n{all}"));
            assert!(
                (top + 1..bottom).all(|row| at(row, right) == '│'),
                "a gap at the right of {left}, {top} in\n{all}"
            );
            assert_eq!((at(bottom, left), at(bottom, right)), ('└', '┘'), "below {left}, {top} in\n{all}");
            assert!(
                (left + 1..right).all(|column| at(bottom, column) == '─'),
                "below {left}, {top} in\n{all}"
            );
            count += 1;
            pieces += 2 * (bottom - top + 1);
        }
    }
    let found = grid.iter().flatten().filter(|c| "┌┐└┘│".contains(**c)).count();
    assert_eq!(found, pieces, "pieces of no box in\n{all}");
    count
}

fn assert_fits(lines: &[String], columns: usize) {
    for line in lines {
        assert!(line.chars().count() <= columns, "{line:?}");
    }
}

fn config(admin: SocketAddr) -> String {
    format!(
        r#"
        [[bridge]]
        name = "chat"
        listen = "ws://127.0.0.1:0/chat"
        backend = "echo:"
        [[bridge]]
        name = "records"
        listen = "ws://127.0.0.1:0/records"
        backend = "echo:"
        [admin]
        listen = "{admin}"
        "#
    )
}

async fn sessions(natpulse: &Natpulse, bridge: &str, count: usize) -> Vec<Ws> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(ws_connect(&natpulse.url(bridge), None).await.0);
    }
    sessions
}

/// The first figure of each row of the table of sessions.
fn ids(lines: &[String]) -> Vec<u64> {
    let table = lines.iter().skip_while(|line| !line.contains("┌ sessions:")).skip(2);
    table.filter_map(|line| line.trim_start_matches('│').split_whitespace().next()?.parse().ok()).collect()
}

#[tokio::test]
async fn numbers_keys_and_sizes_change_what_a_terminal_shows() {
    let admin = free_addr();
    let natpulse = Natpulse::launch(&config(admin), |_| {}).await;
    let mut clients = sessions(&natpulse, "chat", 2).await;
    let pane = Pane::open(80, 24);
    pane.start_top("", admin);
    let lines = pane.shows(&["alive 2 of ", "sessions: 2, newest first", "127.0.0.1:", "q quit"], &[]).await;
    assert_fits(&lines, 80);
    assert_eq!(boxes(&lines), 5);

    clients.extend(sessions(&natpulse, "records", 3).await);
    let lines = pane.shows(&["alive 5 of ", "sessions: 5, newest first", "alive: 2 to 5"], &[]).await;
    assert_eq!(boxes(&lines), 5);
    assert_eq!(ids(&lines).len(), 5, "{lines:?}");

    pane.resize(200, 50);
    let lines = pane.shows(&["backend beat", "opened 5", "sessions: 5,"], &[]).await;
    assert_fits(&lines, 200);
    assert_eq!(boxes(&lines), 5);
    pane.resize(40, 10);
    let lines = pane.shows(&["alive 5 of ", "sessions: 5,"], &["networks:"]).await;
    assert_fits(&lines, 40);
    assert_eq!(boxes(&lines), 1);
    pane.resize(80, 24);
    let lines = pane.shows(&["networks:", "bridges: 2", "sessions: 5,"], &["backend beat"]).await;
    assert_fits(&lines, 80);
    assert_eq!(boxes(&lines), 5);

    pane.press(&["/"]);
    pane.press(&["-l", "RECO"]);
    let lines = pane.shows(&["filter: RECO", "sessions: 3, with \"RECO\""], &[]).await;
    assert_eq!(ids(&lines).len(), 3, "{lines:?}");
    pane.press(&["Enter", "Escape"]);
    pane.shows(&["sessions: 5, newest first", "q quit"], &["filter:"]).await;

    pane.press(&["ssss"]);
    let rising = ids(&pane.shows(&["sessions: 5, by id "], &[]).await);
    pane.press(&["r"]);
    let falling = ids(&pane.shows(&["sessions: 5, by id, highest first"], &[]).await);
    assert!(rising.len() == 5 && rising.is_sorted(), "{rising:?}");
    assert!(falling.iter().rev().eq(&rising), "{falling:?}");

    pane.press(&["q"]);
    pane.is_given_back().await;
    drop(clients);
    natpulse.stop().await;
}

#[tokio::test]
async fn more_sessions_than_rows_are_scrolled_through() {
    let admin = free_addr();
    let natpulse = Natpulse::launch(&config(admin), |_| {}).await;
    let _clients = sessions(&natpulse, "chat", 40).await;
    let pane = Pane::open(80, 24);
    pane.start_top("", admin);
    pane.shows(&["sessions: 1 to 6 of 40"], &[]).await;
    let steps = [
        ("Down", "sessions: 2 to 7 of 40"),
        ("NPage", "sessions: 8 to 13 of 40"),
        ("End", "sessions: 35 to 40 of 40"),
        ("Down", "sessions: 35 to 40 of 40"),
        ("Up", "sessions: 34 to 39 of 40"),
        ("PPage", "sessions: 28 to 33 of 40"),
        ("Home", "sessions: 1 to 6 of 40"),
    ];
    for (key, wanted) in steps {
        pane.press(&[key]);
        let lines = pane.shows(&[wanted], &[]).await;
        assert_eq!((boxes(&lines), ids(&lines).len()), (5, 6), "{key}: {lines:?}");
    }
    pane.press(&["C-c"]);
    pane.is_given_back().await;
}

#[tokio::test]
async fn a_natpulse_that_goes_and_comes_back_is_seen_to() {
    let admin = free_addr();
    let pane = Pane::open(80, 24);
    pane.start_top("", admin);
    pane.shows(&["NO ANSWER, trying again: cannot reach http://127.0.1."], &[]).await;
    let natpulse = Natpulse::launch(&config(admin), |_| {}).await;
    let clients = sessions(&natpulse, "chat", 1).await;
    pane.shows(&["alive 1 of "], &["NO ANSWER"]).await;
    natpulse.kill().await;
    let lines = pane.shows(&["NO ANSWER for ", "alive 1 of "], &[]).await;
    assert_eq!(boxes(&lines), 5);
    drop(clients);
    let natpulse = Natpulse::launch(&config(admin), |_| {}).await;
    pane.shows(&["alive 0 of ", "sessions: 0"], &["NO ANSWER"]).await;
    pane.press(&["q"]);
    pane.is_given_back().await;
    natpulse.stop().await;
}

#[tokio::test]
async fn colour_is_shown_unless_it_is_unwanted() {
    let admin = free_addr();
    let _natpulse = Natpulse::launch(&config(admin), |_| {}).await;
    for (environment, is_coloured) in [("", true), ("NO_COLOR=1", false), ("NO_COLOR=", true)] {
        let pane = Pane::open(80, 24);
        pane.start_top(environment, admin);
        pane.shows(&["alive 0 of ", "sessions: 0"], &[]).await;
        let escaped = pane.tmux(&["capture-pane", "-p", "-e", "-t", "it"]);
        assert!(escaped.contains("\x1b[1m"), "{escaped:?}");
        // Foreground colours other than the terminal's own, in the words of ECMA-48.
        let is_set = |colour| {
            ["m", ";"].map(|end| format!("\x1b[{colour}{end}")).iter().any(|set| escaped.contains(set))
        };
        let has_colour = (30..39).any(is_set);
        assert_eq!(has_colour, is_coloured, "{environment}: {escaped:?}");
        pane.press(&["q"]);
        pane.is_given_back().await;
    }
}

#[tokio::test]
async fn a_signal_gives_the_terminal_back() {
    let admin = free_addr();
    let _natpulse = Natpulse::launch(&config(admin), |_| {}).await;
    let pane = Pane::open(80, 24);
    pane.start_top("", admin);
    pane.shows(&["alive 0 of "], &[]).await;
    // The shell of the pane has one child.
    let shell = pane.tmux(&["display-message", "-p", "-t", "it", "#{pane_pid}"]);
    let children = format!("/proc/{0}/task/{0}/children", shell.trim());
    let child: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let child = rustix::process::Pid::from_raw(child).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
    pane.is_given_back().await;
}

/// What `natpulse top` does with these arguments and no terminal.
async fn top(args: &[&str], token: Option<&str>) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_natpulse"));
    command.arg("top").args(args).env_remove("NATPULSE_TOKEN").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(token) = token {
        command.env("NATPULSE_TOKEN", token);
    }
    within("natpulse top", command.output()).await.unwrap()
}

#[tokio::test]
async fn once_prints_plain_text() {
    let admin = free_addr();
    let natpulse = Natpulse::launch(&config(admin), |_| {}).await;
    let _clients = sessions(&natpulse, "chat", 25).await;
    let url = format!("http://{admin}");
    let output = top(&[&url, "--once"], None).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
    for wanted in ["alive 25 of ", "\nbridges: 2\n", "  chat ", "\nsessions: 1 to 20 of 25, newest first\n"] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    assert_eq!(text.matches(" 127.0.0.1:").count(), 20, "{text}");
}

#[tokio::test]
async fn what_cannot_be_watched_is_said() {
    let nobody = "http://127.0.0.1:1";
    let cases = [
        (vec![nobody, "--once"], 1, "natpulse top: cannot reach http://127.0.0.1:1: Connection refused"),
        (vec![nobody], 1, "standard output is no terminal; --once prints to anything"),
        (vec!["127.0.0.1:9464"], 2, "127.0.0.1:9464: must be http://HOST:PORT"),
        (vec!["https://127.0.0.1:9464"], 2, "must be http://HOST:PORT"),
        (vec![nobody, "--token-file", "/nonexistent"], 2, "/nonexistent: No such file"),
        (vec![nobody, "--token-file", "/dev/null"], 2, "/dev/null: must hold the token in its first line"),
    ];
    for (args, code, why) in cases {
        let output = top(&args, None).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(why), "{args:?}: {text}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn a_token_opens_an_admin_port_that_others_can_reach() {
    const TOKEN: &str = "correct-horse-battery";
    let dir = TempDir::new();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let file = file.to_str().unwrap();
    let natpulse = Natpulse::launch(
        &format!(
            "[[bridge]]\nname = \"chat\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n\
             [admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"{file}\"\n"
        ),
        |_| {},
    )
    .await;
    let url = format!("http://127.0.0.1:{}", natpulse.admin().port());
    let output = top(&[&url, "--once"], None).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("401 Unauthorized") && text.contains("--token-file"), "{text}");
    let output = top(&[&url, "--once"], Some("another-horse-battery")).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("401 Unauthorized") && !text.contains("horse"), "{text}");
    for (args, token) in
        [(vec![&url[..], "--once", "--token-file", file], None), (vec![&url, "--once"], Some(TOKEN))]
    {
        let output = top(&args, token).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

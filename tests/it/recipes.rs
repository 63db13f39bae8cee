//! Every block of code in README.md is run as it is written there, each on a machine of its own.
//!
//! A case is a function for the blocks below one heading, found by the heading in [`run`]. A block that no case knows
//! fails, and one that cannot be run here is printed with the reason.

mod cases;
mod installed;
mod place;
mod served;

use std::fs;
use std::path::Path;

use tokio::task::JoinSet;

/// A block of code.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it is below.
    heading: String,
    /// Its language; empty where it is indented, and so a line for a shell.
    language: String,
    pub text: String,
    line: usize,
}

/// The blocks of README.md, in order.
fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (mut found, mut heading, mut was_empty) = (Vec::<Block>::new(), String::new(), true);
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        let fence = line.strip_prefix("```");
        let begin = |language: &str| Block {
            heading: heading.clone(),
            language: language.to_owned(),
            text: String::new(),
            line: number + 1,
        };
        open = match (open.take(), fence, line.strip_prefix("    ")) {
            // A fenced one goes on to the next fence, an indented one as long as lines are.
            (Some(mut block), None, _) if !block.language.is_empty() => {
                block.text += &format!("{line}\n");
                Some(block)
            }
            (Some(mut block), None, Some(inner)) => {
                block.text += &format!("{inner}\n");
                Some(block)
            }
            (Some(block), ..) => {
                found.push(block);
                None
            }
            (None, Some(language), _) => Some(begin(language)),
            (None, None, Some(inner)) if was_empty => Some(Block { text: format!("{inner}\n"), ..begin("") }),
            (None, None, _) => None,
        };
        if open.is_none()
            && let Some((_, title)) = line.split_once("# ").filter(|(sign, _)| sign.chars().all(|c| c == '#'))
        {
            heading = title.to_owned();
        }
        was_empty = line.is_empty();
    }
    assert!(open.is_none(), "a block without an end: {open:?}");
    found
}

/// The blocks below a heading.
pub fn below(heading: &str) -> Vec<Block> {
    let found: Vec<_> = blocks().into_iter().filter(|block| block.heading == heading).collect();
    assert!(!found.is_empty(), "README.md has no block below {heading:?}");
    found
}

/// Runs the blocks below a heading.
async fn run(heading: &str, blocks: &[Block]) {
    match heading {
        "Try it" => cases::try_it(blocks).await,
        "A browser reaches a TCP service" => served::browser(blocks).await,
        "A device's legacy client reaches its server as WebSocket" => served::device(blocks).await,
        "noVNC, or any other byte stream" => served::novnc(blocks).await,
        "An existing WebSocket service" => served::websockets(blocks).await,
        "Unix sockets" => served::unix(blocks).await,
        "Heartbeats" => cases::heartbeats(blocks).await,
        "TLS" => served::tls(blocks).await,
        "Behind another proxy" => served::behind_a_proxy(blocks).await,
        "Limits" => cases::limits(blocks).await,
        "Framings" => cases::framings(blocks).await,
        "Who may come in" => served::who(blocks).await,
        "Where they go" => served::targets(blocks).await,
        "Coming from websockify" => served::websockify(blocks).await,
        "Configuration" => cases::configuration(blocks).await,
        "Watching it" => cases::watching(blocks).await,
        "Running it" => cases::running(blocks).await,
        "Draining" => cases::draining(blocks).await,
        "In a terminal" => cases::terminal(blocks),
        "Dashboards and alerts" => cases::dashboards(blocks),
        "Events" => cases::events(blocks).await,
        "A Debian package" | "Under systemd" => installed::by_the_test_of_the_package(blocks),
        "As a container" => installed::as_a_container(blocks),
        "In Kubernetes" => installed::in_kubernetes(blocks),
        _ => panic!("nobody runs what is below {heading:?}: add a case to tests/it/recipes.rs"),
    }
}

/// Says that a block is not run here.
fn not_run(block: &Block, why: &str) {
    println!("README.md:{}: not run: {why}", block.line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_of_the_readme_runs_as_it_is_written() {
    let mut headings: Vec<(String, Vec<Block>)> = Vec::new();
    for block in blocks() {
        match headings.last_mut().filter(|(heading, _)| *heading == block.heading) {
            Some((_, blocks)) => blocks.push(block),
            None => headings.push((block.heading.clone(), vec![block])),
        }
    }
    let mut cases = JoinSet::new();
    for (heading, blocks) in headings {
        // By its own task, so that one that fails does not hide the others.
        cases.spawn(async move {
            let case = tokio::spawn({
                let heading = heading.clone();
                async move { run(&heading, &blocks).await }
            });
            case.await.err().map(|error| format!("{heading}: {error}"))
        });
    }
    let failed: Vec<_> = cases.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_language_of_the_readme_is_known() {
    let found = blocks();
    assert!(found.len() >= 30, "only {} blocks: is the page read as it should be?", found.len());
    for block in found {
        let known = ["", "js", "json", "nginx", "python", "toml", "yaml", "dockerfile", "ini"];
        assert!(known.contains(&block.language.as_str()), "README.md:{}: {}", block.line, block.language);
    }
}

//! A file says whom tokens stand for.

use std::fs;
use std::path::Path;

use tokio::io::AsyncWriteExt;

use super::{attempts, counts, name_of, status};
use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::process::within;
use crate::tools::TempDir;

/// A server that says its name and waits for the other side to leave.
async fn named(name: &'static str) -> Backend {
    Backend::serve(move |mut stream| async move {
        stream.write_all(name.as_bytes()).await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        Ok(())
    })
    .await
}

async fn start(listen: &str, targets: &Path) -> Natpulse {
    Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0{listen}\"\nbackend = {{ targets = {targets:?} }}\n"
    ))
    .await
}

#[tokio::test]
async fn a_token_leads_to_its_target_and_no_other_does() {
    let (one, two) = (named("one").await, named("two").await);
    let dir = TempDir::new();
    let file = dir.path().join("tokens.cfg");
    let text = format!("# ours\n\nfirst: {}\nnot a target\nthe second: {}\n", one.addr, two.addr);
    fs::write(&file, text).unwrap();
    let natpulse = start("/*", &file).await;
    let skipped = natpulse.logged("a line names no target, and is skipped");
    assert_eq!((skipped.len(), &skipped[0]["line"]), (1, &4.into()), "{skipped:?}");
    assert!(!natpulse.lines().iter().any(|line| line.contains("first")), "a token was logged");

    assert_eq!(name_of(&natpulse, "b", "/websockify?token=first").await, "one");
    assert_eq!(name_of(&natpulse, "b", "/?x=1&token=the%20second").await, "two");
    assert_eq!(name_of(&natpulse, "b", "/?token=the+second").await, "two");
    for path in ["/", "/?token=", "/?token=third", "/?token=First", "/?token=not", "/first", "/?token=%ff"] {
        assert_eq!(status(natpulse.addr("b"), path).await, 404, "{path}");
    }
    counts(&natpulse, &attempts("unknown_target"), 7.0).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_path_may_hold_the_token_and_a_directory_the_files() {
    let (one, two) = (named("one").await, named("two").await);
    let dir = TempDir::new();
    fs::write(dir.path().join("1.cfg"), format!("a: {}\nb: {}\n", one.addr, one.addr)).unwrap();
    fs::write(dir.path().join("2.cfg"), format!("b: {}\n", two.addr)).unwrap();
    fs::write(dir.path().join(".3.cfg.swp"), format!("b: {}\n", one.addr)).unwrap();
    let natpulse = start("/vm/{token}", dir.path()).await;
    assert_eq!(name_of(&natpulse, "b", "/vm/a").await, "one");
    assert_eq!(name_of(&natpulse, "b", "/vm/b").await, "two");
    assert_eq!(status(natpulse.addr("b"), "/vm/c?token=a").await, 404);
    natpulse.stop().await;
}

#[tokio::test]
async fn a_file_that_changes_is_read_again() {
    let (one, two) = (named("one").await, named("two").await);
    let dir = TempDir::new();
    let file = dir.path().join("tokens.cfg");
    fs::write(&file, format!("old: {}\n", one.addr)).unwrap();
    let natpulse = start("/*", &file).await;
    assert_eq!(name_of(&natpulse, "b", "/?token=old").await, "one");
    assert_eq!(status(natpulse.addr("b"), "/?token=new").await, 404);

    fs::write(&file, format!("new: {}\nold: {}\n", two.addr, two.addr)).unwrap();
    let answered = async |path: &str, wanted: u16| {
        within(path, async { while status(natpulse.addr("b"), path).await != wanted {} }).await;
    };
    answered("/?token=new", 101).await;
    assert_eq!(name_of(&natpulse, "b", "/?token=old").await, "two");

    // Whoever was taken out is let in no more, and without the file nobody is.
    fs::write(&file, format!("new: {}\n", two.addr)).unwrap();
    answered("/?token=old", 404).await;
    fs::remove_file(&file).unwrap();
    answered("/?token=new", 404).await;
    natpulse.event("the targets cannot be read, so nobody is let through to any", |_| true).await;
    fs::write(&file, format!("new: {}\n", one.addr)).unwrap();
    answered("/?token=new", 101).await;
    natpulse.stop().await;
}

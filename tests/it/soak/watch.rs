//! What natpulse takes while it is watched.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::harness::Natpulse;
use crate::measure::memory;
use crate::process::{eventually, within};

/// How often a sample is taken.
pub const EVERY: Duration = Duration::from_secs(2);
/// What is compared with the end is the minute that ends here, or a sixth of the time that ends at a third of it where that
/// is less.
const REFERENCE: Duration = Duration::from_secs(300);
const WINDOW: Duration = Duration::from_secs(60);

/// By how much a median may be larger at the end: sessions come and go between two samples. A hundred and forty begin in a
/// second, so that what one in ten thousand of them left behind would be more than this after half an hour.
const MORE_DESCRIPTORS: u64 = 16;
const MORE_TASKS: u64 = 16;
/// In bytes.
const MORE_MEMORY: u64 = 2 << 20;

/// One of the figures of a sample.
type Figure = fn(&Sample) -> u64;

/// What natpulse takes at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at: Duration,
    sessions: u64,
    descriptors: u64,
    tasks: u64,
    threads: u64,
    /// Bytes that are its own.
    memory: u64,
    /// Lines of `/metrics`.
    series: u64,
}

impl Sample {
    pub async fn take(natpulse: &Natpulse, at: Duration) -> Sample {
        let metrics = natpulse.metrics().await;
        let active = metrics.iter().filter(|(series, _)| series.starts_with("natpulse_sessions_active"));
        Sample {
            at,
            sessions: active.map(|(_, value)| *value as u64).sum(),
            descriptors: natpulse.fds() as u64,
            tasks: metrics["natpulse_runtime_tasks"] as u64,
            threads: fs::read_dir(format!("/proc/{}/task", natpulse.pid())).unwrap().count() as u64,
            memory: memory(natpulse),
            series: metrics.len() as u64,
        }
    }
}

/// The middle of what samples say.
fn median(samples: &[Sample], of: Figure) -> u64 {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Those of a window that ends there.
fn window(samples: &[Sample], end: Duration, length: Duration) -> Vec<Sample> {
    let begin = end.saturating_sub(length);
    samples.iter().filter(|sample| sample.at > begin && sample.at <= end).cloned().collect()
}

/// Medians of ten parts of the time, as Markdown.
pub fn table(samples: &[Sample]) -> String {
    let mut text = "| minute | sessions | descriptors | tasks | threads | memory, KiB | series |\n\
                    |---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for part in samples.chunks(samples.len().div_ceil(10)) {
        let of = |figure: Figure| median(part, figure);
        let minute = part.last().unwrap().at.as_secs_f32() / 60.0;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {minute:.1} | {} | {} | {} | {} | {} | {} |",
            of(|sample| sample.sessions),
            of(|sample| sample.descriptors),
            of(|sample| sample.tasks),
            of(|sample| sample.threads),
            of(|sample| sample.memory / 1024),
            of(|sample| sample.series),
        );
    }
    text
}

/// Panics if natpulse took more at the end than after five minutes.
pub fn compare(samples: &[Sample], length: Duration) {
    let early = window(samples, REFERENCE.min(length / 3), WINDOW.min(length / 6));
    let late = window(samples, samples.last().unwrap().at, WINDOW.min(length / 6));
    let most = |samples: &[Sample], of: Figure| samples.iter().map(of).max().unwrap();
    let compared: [(&str, Figure, u64); 4] = [
        ("descriptors", |sample| sample.descriptors, MORE_DESCRIPTORS),
        ("tasks", |sample| sample.tasks, MORE_TASKS),
        ("bytes of memory", |sample| sample.memory, MORE_MEMORY),
        ("threads", |sample| sample.threads, 0),
    ];
    for (what, of, more) in compared {
        let (before, after) = (median(&early, of), median(&late, of));
        println!("{what}: {before} early, {after} at the end");
        assert!(after <= before + more, "{what}: {before} early, {after} at the end");
    }
    let (before, after) = (most(&early, |sample| sample.series), most(&late, |sample| sample.series));
    println!("series: at most {before} early, at most {after} at the end");
    assert!(after <= before, "series: at most {before} early, at most {after} at the end");
}

/// Waits until natpulse, which nobody uses any more, has the descriptors and tasks that it had before anyone did.
pub async fn is_back_at(natpulse: &Natpulse, idle: &Sample) {
    eventually("the descriptors to be back where they were", || natpulse.fds() as u64 <= idle.descriptors)
        .await;
    within("the tasks to be back where they were", async {
        while Sample::take(natpulse, Duration::ZERO).await.tasks > idle.tasks {}
    })
    .await;
    println!("without clients: {} descriptors and {} tasks, as before them", idle.descriptors, idle.tasks);
}

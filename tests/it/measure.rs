//! What a running natpulse costs, as the kernel counts it.

use std::fs;
use std::time::Duration;

use crate::harness::Natpulse;

/// Bytes of memory that are natpulse's own: heap, stacks, what it wrote to of its file. Its
/// Pss also moves when another natpulse comes or goes with which it shares its program's
/// pages, and tests run side by side; what a process allocates is the same in both.
pub fn memory(natpulse: &Natpulse) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", natpulse.pid())).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kib: u64 = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

/// Processor time used since the start.
pub fn cpu(natpulse: &Natpulse) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", natpulse.pid())).unwrap();
    // The program's name stands in brackets, and everything behind it is numbers.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // USER_HZ is 100 on every architecture that Linux runs on today.
    Duration::from_millis(ticks * 10)
}

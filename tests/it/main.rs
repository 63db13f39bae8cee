//! Tests of the built program from the outside: it is started as a user would
//! start it, and talked to by real clients and in front of real servers.
//!
//! `tests/run` installs the programs these tests drive. A test whose program is
//! missing fails and says so, because a skipped test would look like a passed one.

// In a test program `pub` reaches no further than the program, a panic is how a test fails, and what
// happens to a variant that a test does not expect is just that.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm
)]

mod access;
mod api;
mod backends;
mod bad_input;
mod browser;
mod conformance;
mod contract;
mod dashboards;
mod ends;
mod endurance;
mod fronts;
mod harness;
mod heartbeat;
mod limits;
mod measure;
mod metrics;
mod namespace;
mod nat;
mod openapi;
mod packages;
mod page;
mod pairs;
mod probe;
mod process;
mod raw;
mod recipes;
mod regression;
mod reload;
mod security;
mod services;
mod simulation;
mod soak;
mod supervised;
mod targets;
mod throughput;
mod tidy;
mod tls;
mod tools;
mod top;
mod webhook;
mod wire;

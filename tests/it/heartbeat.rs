//! Heartbeats: pure decisions against made-up time, then the program against real peers.

mod config;
mod peers;
mod pulse;

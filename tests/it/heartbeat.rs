//! Heartbeats: pure decisions against made-up time, then the program against real peers.

mod config;
mod kept;
mod legacy;
pub mod peers;
mod pulse;
mod redial;

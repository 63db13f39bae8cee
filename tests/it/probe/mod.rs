//! Silent connections between two natpulse, from which they learn how long a network keeps one.

mod command;
mod measured;
mod protocol;

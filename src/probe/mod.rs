//! Probes: connections between two natpulse that carry nothing and are left silent, to learn how long the network
//! between them keeps such a connection.
//!
//! The far side is whoever was dialled. It answers the probes itself, whatever its bridge does otherwise, and speaks
//! first after each silence: some NATs make a forgotten mapping anew for a packet from inside, so that a device which
//! spoke first would find everything well where nobody could have reached it.
//!
//! * `word`: what the two sides say to each other. Pure.
//! * `line`: a WebSocket that carries it.
//! * [`serve`]: the far side.
//! * `near`: one silence, from the asking to the verdict.
//! * [`Prober`]: the probes of one network, as `heartbeat` plans them.
//! * [`watch`]: the same beside sessions, for as long as there are any.
//! * [`measure`]: the same for a person who wants to know.

mod far;
mod line;
mod measure;
mod near;
mod prober;
mod report;
mod watch;
mod word;

pub use far::serve;
pub use measure::{Measurement, measure};
pub use near::{ProbeError, Target};
pub use prober::{Event, Prober};
pub use watch::watch;
pub use word::Instance;

/// The WebSocket subprotocol of a probe connection. Another number would be another language.
pub const SUBPROTOCOL: &str = "natpulse.probe.1";

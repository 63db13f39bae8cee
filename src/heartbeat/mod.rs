//! Heartbeats: when to beat, when a peer is dead, how long a network keeps a silent connection. Pure: moments
//! come in as arguments, decisions go out as values.
//!
//! * [`Settings`]: what an operator may choose.
//! * [`Pulse`], one per connection: when is the next beat due, and is the peer dead?

mod pulse;
mod settings;

pub use pulse::{Action, Answer, Facts, Means, Path, Patience, Pulse};
pub use settings::{Policy, Settings, Wechat};

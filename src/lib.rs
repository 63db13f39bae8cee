//! natpulse joins two ends, a client's and a backend's, and keeps what is between them alive.
//!
//! Where things are:
//!
//! * [`cli`] and [`config`]: what the operator wants. Text ends there; nobody else sees any.
//! * [`server`]: the process: signals, reload, the end.
//! * [`drain`]: when it leaves, and who wants to know.
//! * [`supervisor`]: what the service manager is told.
//! * [`proxy`]: binds, accepts, gives each client a task, goes from one config to the next, drains.
//! * [`sessions`]: what sessions tell of themselves, and who is told when an end dies.
//! * [`gate`]: who may come in.
//! * [`limits`]: how much anyone may take. Pure: no IO, no clock.
//! * [`link`]: one connection of each scheme: accept, dial, the WebSocket handshake.
//! * [`targets`]: whom to dial, where that is not one fixed URL.
//! * [`session`]: one client's conversation with its backend; one task, both directions.
//! * [`wire`]: bytes to messages and back. Pure: no IO, no clock.
//! * [`heartbeat`]: how long a connection may be silent. Pure: no IO, no clock.
//! * [`simulate`]: the same in virtual time, over models of NATs.
//! * [`networks`]: what was learned about networks, shared by sessions.
//! * [`probe`]: silent connections between two natpulse, from which that is learned without risk.
//! * [`close`]: every way a session can end, in one table.
//! * [`events`]: what happens to sessions, told to a webhook.
//! * [`watched`]: files that are read again when they change.
//! * [`metrics`] and [`admin`]: what is counted, and the port that tells it.
//! * [`operator`]: what is asked of a running natpulse through that port.
//! * [`top`]: a running natpulse in a terminal, seen through that port.
//!
//! The path of a message: the task wakes in [`session::Session::run`]; `session/relay.rs` reads what the
//! kernel has; [`wire::translate`] turns every complete message in it into the other end's bytes; one
//! write sends them. What the other end does not take waits in its [`session::Side`], and nothing more is
//! read until it has gone.
//!
//! What is deliberately absent: queues and channels between the two directions, a buffer per idle session,
//! locks on the path of a message, and traits with one implementation.

pub mod admin;
pub mod cli;
pub mod close;
pub mod config;
pub mod drain;
pub mod events;
pub mod gate;
pub mod heartbeat;
pub mod limits;
pub mod link;
pub mod metrics;
pub mod networks;
pub mod operator;
pub mod probe;
pub mod proxy;
pub mod server;
pub mod session;
pub mod sessions;
pub mod simulate;
pub mod supervisor;
pub mod targets;
pub mod top;
pub mod watched;
pub mod wire;

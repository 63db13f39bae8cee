//! The heartbeat in virtual time, over models of NATs: what a policy costs and whom it loses. The policies under test
//! are those of [`crate::heartbeat`], the very code that runs in production; what is modelled is everything around
//! it: networks, clients, packets and timers. `natpulse simulate` and the tests call [`run`].
//!
//! * `nat`: how a NAT treats packets.
//! * `world`: virtual time, event by event.
//! * `clients`: users' connections, that come, beat, fall silent and go.
//! * `probes`: the connections that carry nothing.
//! * `tally`: what is counted.
//! * `table`: which policies and models are compared by default, and how that is printed.

mod clients;
mod nat;
mod probes;
mod table;

mod tally;
mod world;

pub use nat::Nat;
pub use table::{Comparison, Row, compare, json, text};

pub use tally::{Loss, Report, Tally};
pub use world::run;

use core::time::Duration;

use crate::heartbeat::{Policy, Settings, Wechat};

/// A policy under test.
#[derive(Clone, Debug, PartialEq)]
pub enum Contender {
    /// It knows the timeout, and beats just in time: what nobody can undercut.
    Oracle,
    /// A policy that knows nothing beforehand, with its settings.
    Learns {
        /// What it is told.
        settings: Settings,
        /// Whether both ends are natpulse, so that connections that carry nothing can be left silent.
        probes: bool,
    },
}

impl Contender {
    /// The default policy; `probes` if both ends are natpulse.
    pub fn smart(max: Duration, probes: bool) -> Contender {
        Contender::Learns { settings: Settings { max, ..Settings::default() }, probes }
    }

    /// The same on a listening end that may not use anybody's connection to learn.
    pub fn cautious(max: Duration) -> Contender {
        let settings = Settings { max, explore: false, ..Settings::default() };
        Contender::Learns { settings, probes: false }
    }

    /// A fixed interval.
    pub fn fixed(every: Duration) -> Contender {
        let settings = Settings { policy: Policy::Fixed { every }, ..Settings::default() };
        Contender::Learns { settings, probes: false }
    }

    /// WeChat's rule, by default or with another minimum.
    pub fn wechat(rule: Wechat) -> Contender {
        let settings = Settings { policy: Policy::Wechat(rule), ..Settings::default() };
        Contender::Learns { settings, probes: false }
    }
}

/// What the clients of a network do apart from answering.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// How many there are in each network.
    pub count: u32,
    /// How many in a thousand beats, or their answers, are lost on the way for no reason.
    pub loss_permille: u16,
    /// How long a client stays on average before it leaves for reasons of its own; `None`: for ever.
    pub stays: Option<Duration>,
    /// How many in a hundred of those who leave say nothing: a closed laptop, a dead radio.
    pub silent_percent: u8,
    /// How many in a hundred clients need an hour to come back after their connection died, on average; the others
    /// are back within 20 s.
    pub late_percent: u8,
    /// How many in a hundred timers fire late, by up to two minutes: a doze.
    pub doze_percent: u8,
}

impl Clients {
    /// So many who stay for ever, over a path that loses nothing.
    pub fn steady(count: u32) -> Clients {
        Clients { count, loss_permille: 0, stays: None, silent_percent: 0, late_percent: 0, doze_percent: 0 }
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Who decides.
    pub contender: Contender,
    /// The networks, each behind a NAT of its own.
    pub nats: Vec<Nat>,
    /// Who lives in each of them.
    pub clients: Clients,
    /// How long it lasts.
    pub length: Duration,
    /// When the server dies and is back at once, knowing none of its connections.
    pub restarts: Vec<Duration>,
    /// From when on what is counted is counted separately too: see [`Report::settled`].
    pub settled_after: Duration,
}

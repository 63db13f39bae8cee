//! How long a connection may be silent. Pure: no IO, no clock, no random number, no log; what happened and when
//! it happened are arguments, and what to do comes back.
//!
//! A NAT keeps a mapping for a while after the last packet and then forgets it without a word. Whoever beats
//! more often than that wastes packets and radio time; whoever beats less often loses connections. Nobody can ask
//! the NAT, so this module learns from what happens to silences:
//!
//! * [`Bracket`]: what one network has shown: the longest silence that was survived and the shortest that was
//!   not. Never an average: a survival says "at least", a death says "at most".
//! * [`Networks`]: the table of all networks: which connections share one, whose death was the NAT's doing, who
//!   may try a longer silence, who must beat at once. Everything outside talks to it.
//! * [`Prober`]: which connections that carry nothing to leave silent for how long, where both ends are natpulse.
//! * [`Ladder`]: WeChat's published rule, for comparison and for those who want it.
//! * [`Pulse`]: of one connection, when its next beat is due, and whether its peer is dead.
//! * [`coalesce`]: when to wake for it, so that one wake-up serves many.
//! * `known`: the timeouts that middleboxes are really set to, which both searches prefer.
//!
//! `now` is the time since the UNIX epoch, because what was learned outlives the process.

mod crowd;
mod departure;
mod facts;
mod grid;
mod key;
mod known;
mod network;
mod networks;
mod probe;
mod pulse;
mod record;
mod roll_call;
mod smart;
mod wechat;

pub use departure::{Cause, Departure};
pub use facts::{Facts, Means, Path, Patience};
pub use grid::coalesce;
pub use key::NetworkKey;
pub use network::{Learned, Plan, Seat, Wake};
pub use networks::{Known, NetworkId, Networks};
pub use probe::{Outcome, ProbeId, Prober, Step};
pub use pulse::{Action, Answer, Pulse};
pub use record::RecordError;
pub use smart::Bracket;
pub use wechat::Ladder;

use core::time::Duration;

/// How an end is kept alive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Who decides how long a silence may last.
    pub policy: Policy,
    /// The shortest interval between beats. 15 s: no timeout in the literature is shorter than 30 s.
    pub min: Duration,
    /// The longest interval between beats. It decides how long a death may go unnoticed. 10 min: three in four
    /// of the measured timeouts are shorter or hardly longer.
    pub max: Duration,
    /// What is taken off a silence that was proven, in thousandths of it. 40: twice the jitter of timers that we
    /// have no say in.
    pub margin_permille: u16,
    /// The least that is taken off. 3 s: as long as we wait for an answer when the round trip is known, so that
    /// the repetition of a lost beat still leaves within the silence that is proven.
    pub margin_min: Duration,
    /// How long a beat may stay unanswered. 10 s: the worst round trips of cellular links.
    pub reply_timeout: Duration,
    /// Whether a user's connection may be used to try a longer silence, one of a network at a time.
    pub explore: bool,
    /// How many connections that carry nothing may be left silent at once, where both ends are natpulse.
    pub probes: u8,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            policy: Policy::Smart,
            min: Duration::from_secs(15),
            max: Duration::from_secs(600),
            margin_permille: 40,
            margin_min: Duration::from_secs(3),
            reply_timeout: Duration::from_secs(10),
            explore: true,
            probes: 8,
        }
    }
}

impl Settings {
    /// The shortest interval that the policy can come to; `None` where there are no beats.
    pub fn shortest(&self) -> Option<Duration> {
        match &self.policy {
            Policy::Off => None,
            Policy::Fixed { every } => Some(*every),
            Policy::Wechat(rule) => Some(rule.min),
            Policy::Smart => Some(self.min),
        }
    }
}

/// Who decides how long a silence may last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Nobody: no beats.
    Off,
    /// The operator.
    Fixed {
        /// The interval between beats.
        every: Duration,
    },
    /// WeChat's published rule.
    Wechat(Wechat),
    /// What the network has shown.
    Smart,
}

impl Policy {
    /// What the operator calls it.
    pub fn label(&self) -> &'static str {
        match self {
            Policy::Off => "off",
            Policy::Fixed { .. } => "fixed",
            Policy::Wechat(_) => "wechat",
            Policy::Smart => "smart",
        }
    }

    /// Whether it learns from what happens to connections.
    pub fn learns(&self) -> bool {
        match self {
            Policy::Off | Policy::Fixed { .. } => false,
            Policy::Wechat(_) | Policy::Smart => true,
        }
    }
}

/// The numbers of WeChat's rule. The rule is in Tencent's mars, `mars/stn/src/smart_heartbeat.cc`; the numbers of
/// its public `config.h` differ from article to article (270 s to 590 or 890 s, 3 good, 3 bad).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wechat {
    /// The interval of a fresh connection, and the shortest there is. 210 s.
    pub min: Duration,
    /// The longest interval. 600 s.
    pub max: Duration,
    /// How much longer the next interval is. 60 s.
    pub step_up: Duration,
    /// How far below the last good interval to settle, and how far to rise a week later. 20 s.
    pub step_down: Duration,
    /// After how many good beats in a row the interval grows. 5.
    pub good: u8,
    /// After how many bad beats in a row it shrinks. 2.
    pub bad: u8,
    /// How many good beats at the minimum a fresh connection needs first. 3.
    pub establish: u8,
    /// How long a settled interval is held before a longer one is tried. 7 days.
    pub again: Duration,
}

impl Default for Wechat {
    fn default() -> Wechat {
        Wechat {
            min: Duration::from_secs(210),
            max: Duration::from_secs(600),
            step_up: Duration::from_secs(60),
            step_down: Duration::from_secs(20),
            good: 5,
            bad: 2,
            establish: 3,
            again: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// A silence in whole milliseconds, the form in which it is learned: four bytes last for 49 days.
fn millis(silence: Duration) -> u32 {
    u32::try_from(silence.as_millis()).unwrap_or(u32::MAX)
}

/// A moment in whole seconds since the UNIX epoch, the form in which it is learned: good until 2106.
fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

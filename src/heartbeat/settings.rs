//! What an operator may choose.

use core::time::Duration;

/// How the connections of one end are kept alive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How the interval between beats is found.
    pub policy: Policy,
    /// The shortest interval, which is also the first one.
    pub min: Duration,
    /// The longest interval: a longer one saves beats and delays the discovery of the dead. It is also how long
    /// the reply clock of a busy peer may stand still.
    pub max: Duration,
    /// By how much the interval stays below what is proven, in thousandths of it.
    pub margin_permille: u16,
    /// By how much it stays below at the least.
    pub margin_min: Duration,
    /// How long a peer may take to answer a beat.
    pub reply_timeout: Duration,
    /// Whether a user's connection may be used to try a longer silence.
    pub explore: bool,
    /// Extra connections that may be used to learn about one network, where the far end is natpulse too.
    pub probes: u8,
}

/// How the interval is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// No beats, and no verdict.
    Off,
    /// Always the same.
    Fixed {
        /// The interval.
        every: Duration,
    },
    /// The published rule of WeChat's smart heartbeat.
    Wechat(Wechat),
    /// What is proven for the network, less the margin.
    Smart,
}

/// The constants of WeChat's rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wechat {
    /// The first interval, and the shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// By how much it grows.
    pub step_up: Duration,
    /// By how much it shrinks below the last good one.
    pub step_down: Duration,
    /// Good beats before it grows.
    pub good: u32,
    /// Bad beats before it shrinks.
    pub bad: u32,
    /// Good beats at the shortest interval before the connection counts as stable.
    pub establish: u32,
    /// When it is tried upward again.
    pub again: Duration,
}

impl Default for Settings {
    /// The defaults that the config file documents. 15 s is half of the shortest timeout measured for mobile
    /// networks (30 s); 10 minutes of undiscovered death is the most that people who watch connections put up with.
    fn default() -> Self {
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

impl Default for Wechat {
    /// The published constants.
    fn default() -> Self {
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

impl Settings {
    /// The shortest interval that this policy can come to.
    pub fn shortest(&self) -> Option<Duration> {
        match &self.policy {
            Policy::Off => None,
            Policy::Fixed { every } => Some(*every),
            Policy::Wechat(wechat) => Some(wechat.min),
            Policy::Smart => Some(self.min),
        }
    }
}

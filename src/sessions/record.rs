//! What others may know of one session.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::Bridge;
use crate::close::Party;

/// What a session tells of itself while it lasts. Its own task is the only one that writes the counters, so that
/// writing them is as cheap as if nobody read them; every value is right by itself, and nothing more is promised.
#[derive(Debug)]
pub struct Record {
    number: u64,
    bridge: Arc<Bridge>,
    /// An IPv4 address in IPv6 clothes, because there is one of these for each session.
    ip: Ipv6Addr,
    /// 0, which no connection has, where the client has no address, or a proxy has told no port.
    port: u16,
    is_dismissed: AtomicBool,
    /// When it opened, in ms since the UNIX epoch.
    opened_ms: u64,
    uplink: Crossed,
    downlink: Crossed,
    /// When a message, or a part of one, last crossed, in ms since the UNIX epoch; 0 before the first.
    last_message_ms: AtomicU64,
    /// The client's interval in use and the backend's, in ms; 0 where there is none.
    intervals_ms: [AtomicU32; 2],
    /// Its task.
    waker: Waker,
}

/// What has crossed in one direction.
#[derive(Debug, Default)]
pub struct Crossed {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Crossed {
    /// Complete messages.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Payload bytes, those of an unfinished message included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Adds to a counter that nobody else writes.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

impl Record {
    pub(super) fn new(
        number: u64,
        bridge: Arc<Bridge>,
        client: Option<SocketAddr>,
        opened: Duration,
        waker: Waker,
    ) -> Record {
        let ip = client.map_or(Ipv6Addr::UNSPECIFIED, |client| match client {
            SocketAddr::V4(client) => client.ip().to_ipv6_mapped(),
            SocketAddr::V6(client) => *client.ip(),
        });
        Record {
            number,
            bridge,
            ip,
            port: client.map_or(0, |client| client.port()),
            is_dismissed: AtomicBool::new(false),
            opened_ms: ms(opened),
            uplink: Crossed::default(),
            downlink: Crossed::default(),
            last_message_ms: AtomicU64::new(0),
            intervals_ms: Default::default(),
            waker,
        }
    }

    /// Its number, which no other session of this process has; the one in the log.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The bridge that it crosses.
    pub fn bridge(&self) -> &Arc<Bridge> {
        &self.bridge
    }

    /// The client's address; `None` where it came by a Unix socket.
    pub fn client(&self) -> Option<SocketAddr> {
        let is_known = self.port > 0 || !self.ip.is_unspecified();
        is_known.then(|| SocketAddr::new(self.ip.to_canonical(), self.port))
    }

    /// When it opened, since the UNIX epoch.
    pub fn opened(&self) -> Duration {
        Duration::from_millis(self.opened_ms)
    }

    /// What crossed from a party to the other.
    pub fn crossed(&self, from: Party) -> &Crossed {
        match from {
            Party::Client => &self.uplink,
            Party::Backend => &self.downlink,
        }
    }

    /// When a message, or a part of one, last crossed, since the UNIX epoch; `None` before the first.
    pub fn last_message(&self) -> Option<Duration> {
        let at_ms = self.last_message_ms.load(Ordering::Relaxed);
        (at_ms > 0).then(|| Duration::from_millis(at_ms))
    }

    /// The interval between beats in use on a side; `None` where there are no beats.
    pub fn interval(&self, side: Party) -> Option<Duration> {
        let interval_ms = self.intervals_ms[side as usize].load(Ordering::Relaxed);
        (interval_ms > 0).then(|| Duration::from_millis(interval_ms.into()))
    }

    /// Has the session closed: its task is woken, and says goodbye to both ends.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }

    /// Whether the session is to close. Whoever waits for it need not be woken by anything else.
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Acquire)
    }

    /// Counts what crossed from a party. As everything below, for the session's own task.
    pub fn add(&self, from: Party, messages: u64, bytes: u64) {
        let crossed = self.crossed(from);
        add(&crossed.messages, messages);
        add(&crossed.bytes, bytes);
    }

    /// Takes note that a message, or a part of one, crossed when the session was so old.
    pub fn message_crossed(&self, age: Duration) {
        self.last_message_ms.store(self.opened_ms + ms(age), Ordering::Relaxed);
    }

    /// Takes note of the interval in use on a side.
    pub fn use_interval(&self, side: Party, interval: Option<Duration>) {
        let interval_ms = interval.map_or(0, |it| u32::try_from(it.as_millis()).unwrap_or(u32::MAX));
        self.intervals_ms[side as usize].store(interval_ms, Ordering::Relaxed);
    }
}

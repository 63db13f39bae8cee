//! What a service manager is told, in the words of sd_notify(3): that natpulse serves, reloads or leaves, that it is
//! alive, and a line for people. Where no NOTIFY_SOCKET was named, nothing is told to anyone.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram as Datagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long the manager may leave a word of ours waiting in its queue.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a manager hears how a drain goes.
const PROGRESS: Duration = Duration::from_secs(1);
/// How much longer than until the next word it is asked to wait, while natpulse leaves: a busy machine may make us late.
const GRACE: Duration = Duration::from_secs(30);

/// The service manager, if there is one.
#[derive(Clone, Debug)]
pub struct Supervisor {
    manager: Option<Arc<Manager>>,
}

#[derive(Debug)]
struct Manager {
    address: SocketAddr,
    /// How long it waits for a sign of life.
    watchdog: Option<Duration>,
    /// Whether it was logged that it hears nothing.
    has_failed: AtomicBool,
}

impl Supervisor {
    /// The one that the environment names.
    pub fn from_environment() -> Supervisor {
        let variable = |name: &str| std::env::var_os(name);
        let manager = Manager::of(variable, std::process::id()).unwrap_or_else(|why| {
            warn!("{why}");
            None
        });
        Supervisor { manager: manager.map(Arc::new) }
    }

    /// Every listener is bound, and clients are served; also after a reload, whether it changed anything or not.
    pub async fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}")).await;
    }

    /// A reload begins, which [`Supervisor::ready`] ends.
    pub async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading")).await;
    }

    /// The process ends as soon as nobody is left.
    pub async fn stopping(&self) {
        self.tell("STOPPING=1").await;
    }

    /// Says again and again how the drain goes, and asks the manager to wait for the end for as long as it hears of us,
    /// once the process is `stopping`. Ends only if there is nobody to be told.
    pub async fn tell_progress(self, stopping: CancellationToken, status: impl Fn() -> String) {
        if self.manager.is_none() {
            return;
        }
        let mut clock = interval(PROGRESS);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let longer = match stopping.is_cancelled() {
                true => format!("\nEXTEND_TIMEOUT_USEC={}", (PROGRESS + GRACE).as_micros()),
                false => String::new(),
            };
            self.tell(&format!("STATUS={}{longer}", status())).await;
        }
    }

    /// Gives signs of life, if any are waited for: a runtime that is stuck gives none. Ends only if there is nobody to
    /// be told.
    pub async fn stay_alive(self) {
        let Some(patience) = self.manager.as_ref().and_then(|manager| manager.watchdog) else {
            return;
        };
        let mut clock = interval(patience / 2);
        // A machine that slept has no past to catch up with.
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            self.tell("WATCHDOG=1").await;
        }
    }

    async fn tell(&self, words: &str) {
        let Some(manager) = &self.manager else {
            return;
        };
        let told = timeout(PATIENCE, manager.tell(words)).await;
        match told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => manager.has_failed.store(false, Ordering::Relaxed),
            Err(error) if manager.has_failed.swap(true, Ordering::Relaxed) => debug!(%error, "not told"),
            Err(error) => warn!(%error, "the service manager cannot be told anything"),
        }
    }
}

impl Manager {
    /// The one that these variables name to the process with this number.
    fn of(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Result<Option<Manager>, String> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let address = match name.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(&name),
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => Err(io::Error::other("it is neither a path nor begins with @")),
        };
        let address =
            address.map_err(|error| format!("NOTIFY_SOCKET = {}: {error}", name.to_string_lossy()))?;
        let number = |name: &str| {
            variable(name).and_then(|value| String::from_utf8(value.into_vec()).ok()?.parse::<u64>().ok())
        };
        let is_for_us = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(pid.into());
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_for_us && *micros > 1);
        let watchdog = watchdog.map(Duration::from_micros);
        Ok(Some(Manager { address, watchdog, has_failed: AtomicBool::new(false) }))
    }

    /// On a socket of its own, so that a manager which was itself replaced is reached again.
    async fn tell(&self, words: &str) -> io::Result<()> {
        let socket = Datagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&self.address)?;
        UnixDatagram::from_std(socket)?.send(words.as_bytes()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> Result<Option<Manager>, String> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Manager::of(|name| find(name).map(|(_, value)| value.into()), 42)
    }

    #[test]
    fn the_manager_is_named_by_a_path_or_an_abstract_name() {
        assert!(manager(&[]).unwrap().is_none());
        assert!(manager(&[("NOTIFY_SOCKET", ""), ("WATCHDOG_USEC", "5000000")]).unwrap().is_none());
        let named = |name| manager(&[("NOTIFY_SOCKET", name)]).map(|manager| manager.unwrap().address);
        assert_eq!(named("/run/notify").unwrap().as_pathname().unwrap().to_str(), Some("/run/notify"));
        assert_eq!(named("@notify").unwrap().as_abstract_name(), Some(&b"notify"[..]));
        for wrong in ["run/notify", "vsock:2:1234", &format!("/{}", "long".repeat(40))] {
            let why = named(wrong).unwrap_err();
            assert!(why.starts_with(&format!("NOTIFY_SOCKET = {wrong}: ")), "{why}");
        }
    }

    #[test]
    fn signs_of_life_are_given_to_who_waits_for_ours() {
        let watchdog = |variables: &[(&str, &str)]| {
            let variables = [&[("NOTIFY_SOCKET", "@x")], variables].concat();
            manager(&variables).unwrap().unwrap().watchdog
        };
        assert_eq!(watchdog(&[]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "3000000")]), Some(Duration::from_secs(3)));
        assert_eq!(
            watchdog(&[("WATCHDOG_USEC", "3"), ("WATCHDOG_PID", "42")]),
            Some(Duration::from_micros(3))
        );
        for (micros, pid) in [("3000000", "43"), ("3000000", "x"), ("0", "42"), ("1", "42"), ("-1", "42")] {
            assert_eq!(watchdog(&[("WATCHDOG_USEC", micros), ("WATCHDOG_PID", pid)]), None, "{micros} {pid}");
        }
    }

    #[tokio::test]
    async fn a_reload_begins_at_a_moment_and_ends_when_all_serve() {
        let name = format!("natpulse-{}-reload", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = Datagram::bind_addr(&address).unwrap();
        let told = || {
            let mut words = [0; 256];
            let length = socket.recv(&mut words).unwrap();
            String::from_utf8(words[..length].to_vec()).unwrap()
        };
        let manager = manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap();
        let supervisor = Supervisor { manager: manager.map(Arc::new) };
        let seconds = || clock_gettime(ClockId::Monotonic).tv_sec.unsigned_abs();
        let before = seconds();
        supervisor.reloading().await;
        let words = told();
        let micros = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let micros: u64 = micros.strip_suffix("\nSTATUS=reloading").unwrap().parse().unwrap();
        assert!((before..=seconds()).contains(&(micros / 1_000_000)), "{words}");
        supervisor.ready("serving 2 bridges").await;
        assert_eq!(told(), "READY=1\nSTATUS=serving 2 bridges");
    }
}

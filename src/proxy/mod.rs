//! The proxy: binds what the config names, accepts clients, gives each a task, and lets them go. The config may change
//! while it runs.

mod accept;
mod admission;
mod backends;
mod door;
mod entry;
mod files;
mod pass;
mod redial;
mod reload;
mod route;
mod school;
mod serve;
mod token_file;
mod web;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{Config, Limits, Server};
use crate::events::Queue;
use crate::limits::Ceilings;
use crate::link::Inherited;
use crate::metrics::Metrics;
use crate::probe::Instance;
use crate::session::Budget;
use crate::sessions::{Changes, Sessions};
use admission::Admission;
use files::Files;
use reload::Socket;
use school::School;

/// Descriptors that sessions leave to listeners, the admin port, the runtime and refusals under way.
const RESERVED_DESCRIPTORS: u64 = 160;
/// A session is two connections.
const DESCRIPTORS_PER_SESSION: u64 = 2;
/// Probes of other natpulse that are served at one time: one for so many descriptors, within these bounds. They are
/// silent for long, but few: a network that is measured needs one now and then.
const DESCRIPTORS_PER_PROBE: u64 = 64;
const PROBES: (u64, u64) = (8, 4096);
/// Clients that may be told at one time that there is no room; more are simply disconnected.
const REFUSALS: usize = 32;
/// The part of the drain window within which clients are asked to leave; the rest is for their goodbyes.
const DRAIN_SPREAD: f32 = 0.75;

/// How long a client whose session is not open yet is waited for when the drain begins: whoever was accepted counts on
/// being served, and may be a second away. It is as long as handshakes may take unless the config says otherwise.
const LATECOMER: Duration = Duration::from_secs(5);
/// The part of the drain window that they may take, at the most.
const LATECOMER_PART: u32 = 4;

/// How often, in seconds, all networks are looked at for the metrics: as often as they are usually scraped.
const SURVEY_SECONDS: u32 = 15;

/// How often what was learned about networks is written down: a crash loses no more.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// A proxy that has bound its sockets.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    sockets: Vec<Socket>,
    /// Whether clients are accepted.
    is_started: bool,
    /// Open until the drain begins, so that whoever comes is not queued for nobody afterwards.
    inherited: Inherited,
    descriptors: Descriptors,
    drain_window: Duration,
}

/// What all bridges have in common, for as long as natpulse runs.
#[derive(Debug)]
struct Shared {
    drain: CancellationToken,
    /// Within which part of a drain clients are asked to leave, in milliseconds.
    drain_spread: Arc<AtomicU64>,
    tasks: TaskTracker,
    admission: Arc<Admission>,
    budget: Arc<Budget>,
    refusals: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    instance: Instance,
    sessions: Arc<Sessions>,
    metrics: Metrics,
    school: School,
    files: Arc<Files>,
}

/// What the process may have open, and what does not change of how that is shared out.
#[derive(Clone, Copy, Debug)]
struct Descriptors {
    all: u64,
    probes: u64,
    /// Bits of an IPv4 and of an IPv6 address that name a network.
    prefixes: (u8, u8),
}

impl Proxy {
    /// Binds every listening socket of the config, but for those that are `inherited`. `descriptors` is how many the
    /// process may have open; what happens to sessions is pushed to `events`. Blocks while files are read.
    ///
    /// # Errors
    /// The sockets that could not be bound, and the files that are of no use.
    pub async fn bind(
        config: Config,
        metrics: &Metrics,
        events: Option<Queue>,
        inherited: Inherited,
        descriptors: u64,
    ) -> Result<Proxy, Vec<String>> {
        let descriptors = Descriptors {
            all: descriptors,
            probes: (descriptors / DESCRIPTORS_PER_PROBE).clamp(PROBES.0, PROBES.1),
            prefixes: (config.networks.ipv4_prefix, config.networks.ipv6_prefix),
        };
        let ceilings = descriptors.ceilings(&config.server, &config.limits);
        let shared = Arc::new(Shared {
            drain: CancellationToken::new(),
            drain_spread: Arc::default(),
            tasks: TaskTracker::new(),
            admission: Admission::new(ceilings, metrics.places()),
            budget: Arc::new(Budget::new(config.limits.buffered)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            probes: Arc::new(Semaphore::new(descriptors.probes as usize)),
            instance: Instance(rand::random()),
            sessions: Arc::new(Sessions::new(events)),
            metrics: metrics.clone(),
            school: School::new(config.networks.clone()),
            files: Arc::new(Files::new(metrics.clone())),
        });
        let drain_window = config.server.drain_window;
        let (sockets, is_started) = (Vec::new(), false);
        let mut proxy = Proxy { shared, sockets, is_started, inherited, descriptors, drain_window };
        proxy.apply(config).await?;
        for unnamed in proxy.inherited.unnamed() {
            warn!(listen = unnamed, "an inherited socket that no listener of the config names serves nobody");
        }
        // Whoever looks before the first session has opened finds what an earlier run has left.
        proxy.shared.school.count(metrics);
        Ok(proxy)
    }

    /// A token that is cancelled when the proxy is to drain.
    pub fn drain_token(&self) -> CancellationToken {
        self.shared.drain.clone()
    }

    /// How long the drain may take.
    pub fn drain_window(&self) -> Duration {
        self.drain_window
    }

    /// The sessions that will open, and the bridges.
    pub fn sessions(&self) -> Arc<Sessions> {
        self.shared.sessions.clone()
    }

    /// Accepts clients from now on.
    pub fn start(&mut self) {
        self.is_started = true;
        self.open_doors();
        tokio::spawn(watch(self.shared.clone()));
        tokio::spawn(keep(self.shared.clone()));
        tokio::spawn(self.shared.files.clone().watch());
    }

    /// Goes on with another config: new bridges begin, those that are there no more are drained, and those that are as
    /// they were notice nothing. A bridge that is changed serves new clients in the new way, and the sessions it has in
    /// the old one. Of the config, `admin`, `networks`, `events` and `log` are not looked at. Blocks while files are read.
    ///
    /// # Errors
    /// All that stands against it; then nothing has changed.
    pub async fn reload(&mut self, config: Config) -> Result<Changes, Vec<String>> {
        let changes = self.apply(config).await;
        self.read_files(changes.is_ok());
        self.shared.school.forget();
        changes
    }

    /// Reads all files again that belong to bridges: certificates, keys and tokens. `is_config_of_use` says whether the
    /// config was when it was last read, for the metrics. Blocks.
    pub fn read_files(&self, is_config_of_use: bool) {
        self.shared.files.config_read(is_config_of_use);
    }

    /// Whether the config was of no use when it was last read.
    pub fn is_config_stale(&self) -> bool {
        self.shared.files.is_config_stale()
    }

    /// Drains: waits until the last session has gone, or the drain window has passed. Comes out with the number of sessions
    /// that were still there.
    pub async fn drained(self) -> usize {
        let Proxy { shared, inherited, drain_window, .. } = self;
        drop(inherited);
        shared.drain.cancel();
        shared.tasks.close();
        let begun = Instant::now();
        info!(tasks = shared.tasks.len(), window_s = drain_window.as_secs_f32(), "draining");
        let all_gone = timeout(drain_window, shared.tasks.wait()).await.is_ok();
        let left = shared.tasks.len();
        save(&shared).await;
        match all_gone {
            true => info!(took_s = begun.elapsed().as_secs_f32(), "drained"),
            false => warn!(left, "the drain window is over; what is left is cut off"),
        }
        left
    }
}

impl Descriptors {
    /// How much anyone may take.
    fn ceilings(&self, server: &Server, limits: &Limits) -> Ceilings {
        let handshakes = admission::handshakes(limits, self.all);
        let taken = RESERVED_DESCRIPTORS + self.probes + handshakes as u64;
        let affordable = self.all.saturating_sub(taken) / DESCRIPTORS_PER_SESSION;
        let affordable = usize::try_from(affordable).unwrap_or(usize::MAX).max(1);
        let sessions = server.max_sessions.map_or(affordable, |sessions| sessions.min(affordable));
        if server.max_sessions.is_some_and(|wanted| wanted > sessions) {
            warn!(
                sessions,
                descriptors = self.all,
                "max_sessions is cut to what the descriptor limit allows"
            );
        }
        admission::ceilings(limits, sessions, handshakes, self.prefixes)
    }
}

impl Shared {
    /// Within which time clients are asked to leave from now on, when there are so many seconds for a drain.
    fn spread_over(&self, drain_window: Duration) {
        let spread = drain_window.mul_f32(DRAIN_SPREAD).as_millis();
        self.drain_spread.store(u64::try_from(spread).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Measures once a second how late the runtime's timers are, and now and then what is known of networks.
async fn watch(shared: Arc<Shared>) {
    loop {
        for _ in 0..SURVEY_SECONDS {
            let due = Instant::now() + Duration::from_secs(1);
            sleep_until(due).await;
            shared.metrics.lag(due.elapsed());
        }
        shared.school.count(&shared.metrics);
    }
}

/// Writes down now and then what was learned.
async fn keep(shared: Arc<Shared>) {
    loop {
        sleep(SAVE_EVERY).await;
        save(&shared).await;
    }
}

/// Writes down what was learned, without holding up anyone.
async fn save(shared: &Arc<Shared>) {
    let shared = shared.clone();
    // Whatever keeps it from being written was logged.
    let _ = tokio::task::spawn_blocking(move || shared.school.save()).await;
}

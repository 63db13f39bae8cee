//! The proxy: binds what the config names, accepts clients, gives each a task, and lets them go.

mod admission;
mod backends;
mod door;
mod entry;
mod keyring;
mod pass;
mod redial;
mod route;
mod school;
mod token_file;
mod web;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::close::{Party, Severity};
use crate::config::{Bridge, Config, Server};
use crate::events::Queue;
use crate::limits::OfBridge;
use crate::link::{BackendUrl, ListenUrl, Listener};
use crate::metrics::Metrics;
use crate::networks::Networks;
use crate::probe::{self, Instance};
use crate::session::{Budget, Ended, Session};
use crate::sessions::{self, Sessions};
use admission::{Admission, Place};
use door::Door;
use keyring::Keyring;
use redial::Redial;
use route::Route;
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

/// How often, in seconds, all networks are looked at for the metrics: as often as they are usually scraped.
const SURVEY_SECONDS: u32 = 15;

/// How often what was learned about networks is written down: a crash loses no more.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// A proxy that has bound its sockets and is ready to run.
#[derive(Debug)]
pub struct Proxy {
    doors: Vec<(Listener, Arc<Door>)>,
    shared: Arc<Shared>,
    school: Arc<School>,
    keyring: Keyring,
    drain_window: Duration,
}

/// What all doors have in common.
#[derive(Debug)]
struct Shared {
    drain: CancellationToken,
    handshake_timeout: Duration,
    tasks: TaskTracker,
    admission: Arc<Admission>,
    trusted_proxies: Vec<IpNet>,
    budget: Arc<Budget>,
    refusals: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    instance: Instance,
    sessions: Arc<Sessions>,
    metrics: Metrics,
}

/// A socket that could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// What was to be bound.
    pub url: String,
    /// Why it was not.
    pub error: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: {}", self.url, self.error)
    }
}

impl std::error::Error for BindError {}

impl Proxy {
    /// Binds every listening socket of the config. `descriptors` is how many the process may have open; what happens to
    /// sessions is pushed to `events`.
    ///
    /// # Errors
    /// The first socket that could not be bound.
    pub async fn bind(
        config: Config,
        metrics: &Metrics,
        events: Option<Queue>,
        descriptors: u64,
    ) -> Result<Proxy, BindError> {
        let Server { drain_window, max_sessions, handshake_timeout } = config.server;
        let probes = (descriptors / DESCRIPTORS_PER_PROBE).clamp(PROBES.0, PROBES.1);
        let handshakes = admission::handshakes(&config.limits, descriptors);
        let taken = RESERVED_DESCRIPTORS + probes + handshakes as u64;
        let affordable = descriptors.saturating_sub(taken) / DESCRIPTORS_PER_SESSION;
        let affordable = usize::try_from(affordable).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        let sessions = max_sessions.map_or(affordable, |sessions| sessions.min(affordable));
        if max_sessions.is_some_and(|wanted| wanted > sessions) {
            warn!(sessions, descriptors, "max_sessions is cut to what the descriptor limit allows");
        }
        let groups = by_address(config.bridges);
        let of_bridge = |bridge: &Bridge| OfBridge {
            sessions: bridge.limits.sessions,
            sessions_per_address: bridge.limits.sessions_per_address,
        };
        let of_bridges = groups.iter().flatten().map(of_bridge);
        let prefixes = (config.networks.ipv4_prefix, config.networks.ipv6_prefix);
        let shared = Arc::new(Shared {
            drain: CancellationToken::new(),
            handshake_timeout,
            tasks: TaskTracker::new(),
            admission: Admission::new(&config.limits, sessions, handshakes, prefixes, of_bridges),
            trusted_proxies: config.trusted_proxies,
            budget: Arc::new(Budget::new(config.limits.buffered)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            probes: Arc::new(Semaphore::new(probes as usize)),
            instance: Instance(rand::random()),
            sessions: Arc::new(Sessions::new(events)),
            metrics: metrics.clone(),
        });
        metrics.watch_permits(&shared.admission.permits, sessions);
        let mut school = School::new(config.networks);
        let mut keyring = Keyring::default();
        let (mut doors, mut number) = (Vec::new(), 0);
        for bridges in groups {
            let url = bridges[0].listen.url.clone();
            let listener = listen(&url).await.map_err(|error| BindError { url: url.to_string(), error })?;
            let spread = drain_window.mul_f32(DRAIN_SPREAD);
            let tls = keyring.acceptor(&bridges[0])?;
            let route = |bridge: Bridge| {
                let connector = keyring.connector(&bridge)?;
                let upkeep = [Party::Client, Party::Backend].map(|party| {
                    let end = match party {
                        Party::Client => &bridge.listen.heartbeat,
                        Party::Backend => &bridge.backend.heartbeat,
                    };
                    school.upkeep(&bridge.name, party, end, metrics.side(&bridge.name, party))
                });
                let listen = bound_url(&bridge.listen.url, &listener);
                number += 1;
                Ok(Route::new(number - 1, bridge, &listen, &shared, spread, connector, upkeep))
            };
            let routes: Vec<_> = bridges.into_iter().map(route).collect::<Result<_, _>>()?;
            for Route { names, .. } in &routes {
                info!(bridge = &*names.name, listen = names.listen, backend = names.backend, "listening");
            }
            doors.push((listener, Arc::new(Door { routes, shared: shared.clone(), tls })));
        }
        // Whoever looks before the first session has opened finds what an earlier run has left.
        school.count(metrics);
        Ok(Proxy { doors, shared, school: Arc::new(school), keyring, drain_window })
    }

    /// A token that is cancelled when the proxy begins to drain.
    pub fn drain_token(&self) -> CancellationToken {
        self.shared.drain.clone()
    }

    /// The sessions that will open.
    pub fn sessions(&self) -> Arc<Sessions> {
        self.shared.sessions.clone()
    }

    /// The bridges, by their names.
    pub fn bridges(&self) -> Vec<Arc<sessions::Bridge>> {
        self.doors.iter().flat_map(|(_, door)| &door.routes).map(|route| route.names.clone()).collect()
    }

    /// Every table of networks, with the side that it is about.
    pub fn networks(&self) -> Vec<(Party, Arc<Networks>)> {
        self.school.tables()
    }

    /// Accepts clients from now on, and serves until the drain token is cancelled and the last session has gone, or the
    /// drain window has passed; comes out with the number of sessions that were still there.
    pub fn run(self) -> impl Future<Output = usize> {
        let Proxy { doors, shared, school, keyring, drain_window } = self;
        for (listener, door) in doors {
            for (route, bridge) in door.routes.iter().enumerate() {
                for backend in 0..bridge.checked() {
                    tokio::spawn(door.clone().watch_backend(route, backend));
                }
                if let Some(watching) = bridge.entry.watch(shared.drain.clone()) {
                    tokio::spawn(watching);
                }
            }
            shared.tasks.spawn(door.accept(listener));
        }
        tokio::spawn(watch(shared.clone(), school.clone()));
        let watching = keyring.watch(shared.metrics.clone(), shared.drain.clone());
        tokio::spawn(async move {
            if let Err(error) = watching.await {
                warn!(%error, "certificates are not read again: no SIGHUP");
            }
        });
        async move {
            while timeout(SAVE_EVERY, shared.drain.cancelled()).await.is_err() {
                save(&school).await;
            }
            shared.tasks.close();
            let begun = Instant::now();
            info!(tasks = shared.tasks.len(), window_s = drain_window.as_secs_f32(), "draining");
            let all_gone = timeout(drain_window, shared.tasks.wait()).await.is_ok();
            let left = shared.tasks.len();
            save(&school).await;
            match all_gone {
                true => info!(took_s = begun.elapsed().as_secs_f32(), "drained"),
                false => warn!(left, "the drain window is over; what is left is cut off"),
            }
            left
        }
    }
}

/// Measures once a second how late the runtime's timers are, and now and then what is known of networks.
async fn watch(shared: Arc<Shared>, school: Arc<School>) {
    loop {
        for _ in 0..SURVEY_SECONDS {
            let due = Instant::now() + Duration::from_secs(1);
            sleep_until(due).await;
            shared.metrics.lag(due.elapsed());
        }
        school.count(&shared.metrics);
    }
}

/// Writes down what was learned, without holding up anyone.
async fn save(school: &Arc<School>) {
    let school = school.clone();
    // Whatever keeps it from being written was logged.
    let _ = tokio::task::spawn_blocking(move || school.save()).await;
}

/// Bridges that share a WebSocket address, and each of the others by itself.
fn by_address(bridges: Vec<Bridge>) -> Vec<Vec<Bridge>> {
    let mut groups: Vec<Vec<Bridge>> = Vec::new();
    let mut shared_addresses = HashMap::new();
    for bridge in bridges {
        match bridge.listen.url {
            ListenUrl::Ws { address, .. } => {
                let group = *shared_addresses.entry(address).or_insert(groups.len());
                match groups.get_mut(group) {
                    Some(group) => group.push(bridge),
                    None => groups.push(vec![bridge]),
                }
            }
            ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => groups.push(vec![bridge]),
        }
    }
    groups
}

async fn listen(url: &ListenUrl) -> io::Result<Listener> {
    match url {
        ListenUrl::Ws { address, .. } | ListenUrl::Tcp { address, .. } => Listener::tcp(*address),
        ListenUrl::Unix(path) => Listener::unix(path).await,
    }
}

/// The URL with the port that was really bound.
fn bound_url(url: &ListenUrl, listener: &Listener) -> ListenUrl {
    match (url.clone(), listener.tcp_address()) {
        (ListenUrl::Ws { path, is_tls, .. }, Some(address)) => ListenUrl::Ws { address, path, is_tls },
        (ListenUrl::Tcp { is_tls, .. }, Some(address)) => ListenUrl::Tcp { address, is_tls },
        (url, _) => url,
    }
}

impl Shared {
    /// Sees to the network of a session's backend being probed, where that is to be done and nobody does it yet.
    fn watch(&self, route: &Route, own: &Option<Arc<BackendUrl>>, session: &Session) {
        let prober = own.as_ref().and_then(|own| route.prober(own, session, &self.metrics));
        if let Some(prober) = prober {
            self.tasks.spawn(probe::watch(prober, route.bridge.name.clone(), self.drain.clone()));
        }
    }

    /// Runs a session, and tells the log and the metrics about it.
    async fn run(
        &self,
        session: &mut Session,
        route: &Route,
        mut own: Option<Arc<BackendUrl>>,
        place: &mut Option<Box<Place>>,
    ) {
        let number = session.record().number();
        let active = route.metrics().open();
        let listed = self.sessions.open(session.record(), || session.network(Party::Client));
        // How it went is told in one line, at its end.
        debug!(bridge = route.bridge.name, session = number, "session opened");
        self.watch(route, &own, session);
        let mut redial = None;
        let outcome = loop {
            match session.run(&self.drain).await {
                Ended::For(outcome) => break outcome,
                Ended::Backend(reason) => {
                    warn!(
                        bridge = route.bridge.name,
                        session = number,
                        reason = reason.label(),
                        "dialling again"
                    );
                }
            }
            let redial = redial.get_or_insert_with(|| Box::new(Redial::new(session.begun())));
            // Boxed, because a handshake needs far more memory than a session, and only for a moment.
            let dialled = Box::pin(redial.dial(route, &own, session, &self.drain)).await;
            route.metrics().reconnected(dialled.is_some());
            match dialled {
                Some(dialled) => {
                    info!(bridge = route.bridge.name, session = number, "the backend is back");
                    let is_natpulse = dialled.is_natpulse;
                    own.clone_from(&dialled.own);
                    session.resume(route.backend_side(dialled), is_natpulse);
                    self.watch(route, &own, session);
                }
                None => session.give_up(),
            }
        };
        active.close(outcome.reason, session.begun().elapsed());
        drop(listed);
        // Whoever reads that a session has ended may count on its place.
        drop(place.take());
        let bridge = route.bridge.name.as_str();
        let [up, down] = [Party::Client, Party::Backend].map(|from| session.record().crossed(from));
        macro_rules! closed {
            ($level:ident) => {
                $level!(
                    bridge,
                    session = number,
                    reason = outcome.reason.label(),
                    detail = outcome.detail,
                    uplink_messages = up.messages(),
                    uplink_bytes = up.bytes(),
                    downlink_messages = down.messages(),
                    downlink_bytes = down.bytes(),
                    duration_ms = session.begun().elapsed().as_millis() as u64,
                    "session closed"
                )
            };
        }
        match outcome.reason.severity() {
            Severity::Info => closed!(info),
            Severity::Warn => closed!(warn),
        }
    }
}

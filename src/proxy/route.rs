//! One bridge at work: what it answers, whom it dials, how its two ends speak.

use std::net::SocketAddr;
use std::path;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Shared;
use super::backends::Backends;
use super::entry::Entry;
use super::files::Made;
use super::web::Web;
use crate::close::Party;
use crate::config::{Bridge, BridgeLimits, HealthCheck, Speech};
use crate::limits::OfBridge;
use crate::link::proxy_protocol::Version;
use crate::link::tls::{Connector, HTTP};
use crate::link::{
    Answer, BackendUrl, Call, Caller, DialError, Dialled, ListenUrl, Place, Refusal, Stream, Wanted, check,
    dial,
};
use crate::metrics::{BridgeMetrics, Dialling};
use crate::probe::{self, Prober, Target};
use crate::session::{RecordKind, Session, Settings, Side};
use crate::sessions;
use crate::targets::Path;
use crate::wire::websocket::{self, Role};
use crate::wire::{Decoder, Encoder, Kind};

/// A bridge and what its sessions are told. One that is changed becomes another: the sessions that are open go on with
/// what they began with.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) bridge: Bridge,
    pub(super) shared: Arc<Shared>,
    /// Cancelled when its sessions are to leave: natpulse drains, or the bridge was removed.
    pub(super) drain: CancellationToken,
    /// What it is called from outside.
    pub(super) names: Arc<sessions::Bridge>,
    settings: Arc<Settings>,
    /// Who may come in.
    pub(super) entry: Entry,
    /// The number by which it is known to the limits.
    pub(super) number: usize,
    /// Who does the backend's TLS handshakes, where there are any.
    tls: Option<Arc<Connector>>,
    /// The path that clients ask for, where there are paths.
    pub(super) path: Option<Path>,
    backends: Backends,
    /// The files that are served on plain GETs.
    pub(super) web: Option<Web>,
}

impl Route {
    /// A bridge at work that was bound to `listen`. Blocks.
    ///
    /// # Errors
    /// What is wrong with one of its files.
    pub(super) fn new(bridge: Bridge, listen: &ListenUrl, shared: &Arc<Shared>) -> Result<Route, String> {
        let Shared { sessions, metrics, school, .. } = &**shared;
        let tls = connector(&bridge)?;
        let entry = Entry::new(&bridge.name, &bridge.access)?;
        // Before anything else is counted, so that nobody who leaves under the same name takes that along.
        let counts = metrics.enter(&bridge.name);
        let mirror = bridge.message == RecordKind::Mirror;
        let redial = !matches!(bridge.listen.url, ListenUrl::Ws { .. })
            && bridge.backend.whom.speech() == Speech::WebSocket;
        let [client, backend] = [Party::Client, Party::Backend].map(|party| {
            let end = match party {
                Party::Client => &bridge.listen.heartbeat,
                Party::Backend => &bridge.backend.heartbeat,
            };
            school.upkeep(&bridge.name, party, end, metrics.side(&bridge.name, party))
        });
        let names = Arc::new(sessions::Bridge {
            name: bridge.name.as_str().into(),
            listen: listen.to_string(),
            backend: bridge.backend.whom.to_string(),
            networks: [&client, &backend].map(|upkeep| Arc::downgrade(&upkeep.networks)),
        });
        let backends = Backends::new(&bridge.name, &bridge.backend.whom, metrics);
        let path = match &bridge.listen.url {
            ListenUrl::Ws { path, .. } => Path::parse(path).ok(),
            ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => None,
        };
        let web = bridge.web.clone().map(Web::new);
        let BridgeLimits { max_age, idle_timeout, sessions: most, sessions_per_address } = bridge.limits;
        let settings = Arc::new(Settings {
            linger: bridge.linger,
            mirror,
            redial,
            metrics: counts,
            sessions: sessions.clone(),
            max_age,
            idle_timeout,
            budget: shared.budget.clone(),
            drain_spread: shared.drain_spread.clone(),
            client,
            backend,
        });
        let number = shared.admission.add(OfBridge { sessions: most, sessions_per_address });
        let (shared, drain) = (shared.clone(), shared.drain.child_token());
        Ok(Route { bridge, shared, drain, names, settings, entry, number, tls, path, backends, web })
    }

    /// Begins what it does without clients: it looks after its backends, and its files, for as long as it has a door or a
    /// session.
    pub(super) fn begin(self: &Arc<Route>) {
        let backends = self.backends.checked().map_or(0, |(urls, _)| urls.len());
        for backend in 0..backends {
            tokio::spawn(watch_backend(Arc::downgrade(self), backend));
        }
        let (files, name) = (&self.shared.files, &self.bridge.name);
        if let Some(tls) = &self.tls {
            files.keep(name, Made::Connector(Arc::downgrade(tls)));
        }
        if let Some(tokens) = self.entry.tokens() {
            files.keep(name, Made::Tokens(Arc::downgrade(tokens)));
        }
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &BridgeMetrics {
        &self.settings.metrics
    }

    /// What to do with a request that asks for this bridge, where `take_place` finds a session its place, or another
    /// natpulse's probe.
    pub(super) async fn answer(
        &self,
        index: usize,
        wanted: Wanted,
        caller: &Caller,
        take_place: impl FnOnce(bool) -> Result<(), Refusal>,
    ) -> Answer {
        if self.bridge.demo && wanted.is_plain_get {
            if !self.entry.admits(caller) {
                return Answer::Refuse(Refusal::AddressDenied);
            }
            return Answer::Page(include_str!("demo.html"));
        }
        if let Some(web) = self.web.as_ref().filter(|_| wanted.is_plain_get) {
            if !self.entry.admits(caller) {
                return Answer::Refuse(Refusal::AddressDenied);
            }
            return web.answer(&wanted).await;
        }
        let is_probe = wanted.offers(probe::SUBPROTOCOL);
        if let Err(refusal) = wanted.upgrade {
            return Answer::Refuse(refusal);
        }
        let until = match self.entry.look(&wanted, caller) {
            Ok(until) => until,
            Err(refusal) => return Answer::Refuse(refusal),
        };
        let (offered, bearer) = self.entry.offered(wanted.upgrade.unwrap_or_default());
        if let Err(refusal) = take_place(is_probe) {
            return Answer::Refuse(refusal);
        }
        if is_probe {
            let subprotocol = Some(probe::SUBPROTOCOL.to_owned());
            return Answer::Open { route: index, dialled: None, subprotocol, until };
        }
        let own = self.backends.find(self.path.as_ref(), &wanted.path, wanted.query.as_deref()).await;
        let own = match own {
            Ok(own) => own,
            Err(refusal) => return Answer::Refuse(refusal),
        };
        // A bridge that names no subprotocols leaves the choice to a WebSocket backend.
        let ours = &self.bridge.subprotocols;
        let chosen = ours.iter().find(|name| offered.contains(name)).cloned();
        let offers = if ours.is_empty() { offered } else { chosen.iter().cloned().collect() };
        match self.dial(own, &offers, &self.introduction(caller)).await {
            Ok(dialled) => {
                let subprotocol = chosen.or_else(|| dialled.subprotocol.clone()).or(bearer);
                Answer::Open { route: index, dialled: Some(dialled), subprotocol, until }
            }
            Err(refusal) => Answer::Refuse(refusal),
        }
    }

    /// What a backend is told of a client before all else; nothing where it wants to hear nothing.
    pub(super) fn introduction(&self, caller: &Caller) -> Box<[u8]> {
        let version = self.bridge.backend.proxy_protocol;
        let header = version.map(|version| caller.introduction(version, self.shared.instance));
        header.unwrap_or_default().into()
    }

    /// Dials a backend for a client: `own` where the client has asked for it or has had it, else, or if that fails, any
    /// there is, one after the other for as long as the dial timeout allows. Each is introduced to the client first. A
    /// failure is logged.
    pub(super) async fn dial(
        &self,
        own: Option<Arc<BackendUrl>>,
        subprotocols: &[String],
        introduction: &[u8],
    ) -> Result<Dialled, Refusal> {
        let deadline = Instant::now() + self.bridge.dial_timeout;
        let candidates = self.backends.candidates(own);
        let count = candidates.len();
        for (index, url) in candidates.into_iter().enumerate() {
            // Each has its share of what is left, so that one that is silent leaves time for the others.
            let patience = deadline.saturating_duration_since(Instant::now()) / (count - index) as u32;
            match self.dial_one(&url, subprotocols, introduction, patience).await {
                Ok(dialled) => return Ok(Dialled { own: Some(url), ..dialled }),
                Err(refusal @ Refusal::ForbiddenTarget) => return Err(refusal),
                Err(_) => {}
            }
        }
        Err(Refusal::BadGateway)
    }

    async fn dial_one(
        &self,
        url: &Arc<BackendUrl>,
        subprotocols: &[String],
        introduction: &[u8],
        patience: Duration,
    ) -> Result<Dialled, Refusal> {
        let begun = Instant::now();
        let dialled = timeout(patience, dial(&self.call(url, subprotocols, introduction))).await;
        let (result, is_well) = match &dialled {
            Ok(Ok(_)) => (Dialling::Connected, true),
            // It is there, and says no to this client.
            Ok(Err(DialError::Refused(_))) => (Dialling::Failed, true),
            Ok(Err(_)) => (Dialling::Failed, false),
            Err(_) => (Dialling::TimedOut, false),
        };
        self.metrics().dialled(result, begun.elapsed());
        self.backends.reached(url, is_well);
        let (error, refusal) = match dialled {
            Ok(Ok(dialled)) => return Ok(dialled),
            Ok(Err(error @ DialError::Forbidden(_))) => (error.to_string(), Refusal::ForbiddenTarget),
            Ok(Err(error)) => (error.to_string(), Refusal::BadGateway),
            Err(_) => (format!("no answer within {patience:?}"), Refusal::BadGateway),
        };
        warn!(bridge = self.bridge.name, backend = %url, error, "cannot dial the backend");
        Err(refusal)
    }

    fn call<'a>(&'a self, url: &'a BackendUrl, subprotocols: &'a [String], preface: &'a [u8]) -> Call<'a> {
        Call {
            url,
            place: Place::Named(self.backends.reach()),
            subprotocols,
            token_file: self.token_file(),
            longest: self.bridge.max_message,
            preface,
            tls: self.tls.as_deref(),
        }
    }

    /// The file with the token that the backend is sent.
    fn token_file(&self) -> Option<&path::Path> {
        self.bridge.backend.token.as_ref().map(|token| token.file.as_path())
    }

    /// Checks on one of the backends.
    async fn check(&self, backend: usize) {
        let Some((urls, HealthCheck { timeout: patience, .. })) = self.backends.checked() else {
            return;
        };
        let preface = self.bridge.backend.proxy_protocol.map(Version::local).unwrap_or_default();
        let checked = timeout(patience, check(&self.call(&urls[backend], &[], &preface))).await;
        let has_passed = matches!(checked, Ok(Ok(())));
        self.backends.count_check(has_passed);
        self.backends.reached(&urls[backend], has_passed);
    }

    /// A session between a client and the backend that was dialled for it, in the task that `waker` wakes.
    pub(super) fn session(
        &self,
        client: Stream,
        caller: &Caller,
        early: &[u8],
        dialled: Dialled,
        waker: Waker,
    ) -> Session {
        let record = self.settings.sessions.record(caller.number, &self.names, caller.address, waker);
        let client = self.client_side(client, early);
        let is_natpulse = dialled.is_natpulse;
        let backend = self.backend_side(dialled);
        Session::new(client, backend, self.settings.clone(), record, is_natpulse)
    }

    /// The probes of the network between a session's backend and us, where nobody probes it yet.
    pub(super) fn prober(&self, own: &BackendUrl, session: &Session) -> Option<Prober> {
        let BackendUrl::Ws { authority, .. } = own else {
            return None;
        };
        let (probing, address) = session.probing()?;
        let address = SocketAddr::new(address, authority.port);
        let preface = self.bridge.backend.proxy_protocol.map(Version::local).unwrap_or_default();
        let (url, tls) = (own.clone(), self.tls.clone());
        let token_file = self.token_file().map(path::Path::to_owned);
        let target = Target { address, url, preface, tls, token_file };
        Some(Prober::new(probing, target, Some(self.shared.metrics.clone())))
    }

    /// What the network of a client is called.
    pub(super) fn network_of(&self, caller: &Caller) -> String {
        let network =
            caller.address.map(|theirs| self.settings.client.prefix(theirs.ip().to_canonical()).to_string());
        network.unwrap_or_else(|| "local".to_owned())
    }

    fn client_side(&self, stream: Stream, early: &[u8]) -> Side {
        let end = &self.bridge.listen;
        let side = match end.url {
            ListenUrl::Ws { .. } => self.websocket(stream, early, Role::Server, true),
            ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => {
                let (decoder, encoder) =
                    (end.framing.decoder(self.bridge.max_message), end.framing.encoder());
                Side::new(stream, decoder, encoder, None, early)
            }
        };
        side.with_beat(self.settings.client.beat.as_ref())
    }

    /// The backend's end of a session.
    pub(super) fn backend_side(&self, dialled: Dialled) -> Side {
        let end = &self.bridge.backend;
        let Dialled { stream, early, .. } = dialled;
        let side = match end.whom.speech() {
            Speech::WebSocket => {
                self.websocket(stream, &early, Role::Client { mask_key: rand::random }, false)
            }
            // The echo service hears its own words: frames that nobody has masked.
            Speech::Echo => self.websocket(stream, &early, Role::Server, false),
            Speech::Bytes => {
                let (decoder, encoder) =
                    (end.framing.decoder(self.bridge.max_message), end.framing.encoder());
                Side::new(stream, decoder, encoder, None, &early)
            }
        };
        side.with_beat(self.settings.backend.beat.as_ref())
    }

    fn websocket(&self, stream: Stream, early: &[u8], role: Role, masked: bool) -> Side {
        let kind = match self.bridge.message {
            RecordKind::Fixed(kind) => kind,
            RecordKind::Mirror => Kind::Binary,
        };
        let decoder = Decoder::WebSocket(websocket::Decoder::new(masked, self.bridge.max_message));
        let encoder = Encoder::WebSocket(websocket::Encoder::new(role, kind));
        Side::new(stream, decoder, encoder, Some(role), early)
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.shared.admission.remove(self.number);
        self.shared.metrics.leave(&self.bridge.name);
    }
}

/// Checks on one of a bridge's backends, again and again, for as long as the bridge has a door or a session.
async fn watch_backend(route: Weak<Route>, backend: usize) {
    let checks = |route: Arc<Route>| route.backends.checked().map(|(_, HealthCheck { every, .. })| every);
    let Some(every) = route.upgrade().and_then(checks) else {
        return;
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(route) = route.upgrade() else {
            return;
        };
        route.check(backend).await;
    }
}

/// Who meets the backend of a bridge; `None` where that is without TLS.
fn connector(bridge: &Bridge) -> Result<Option<Arc<Connector>>, String> {
    let (whom, settings) = (&bridge.backend.whom, &bridge.backend.tls);
    let (Some(host), Some(settings)) = (whom.tls_host(), settings) else {
        return Ok(None);
    };
    let alpn = (whom.speech() == Speech::WebSocket).then_some(HTTP);
    let connector = Connector::new(settings, &host, alpn);
    connector.map(|connector| Some(Arc::new(connector))).map_err(|error| format!("{whom}: {error}"))
}

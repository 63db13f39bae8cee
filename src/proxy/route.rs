//! One bridge at work: what it answers, whom it dials, how its two ends speak.

use std::net::SocketAddr;
use std::path;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::Shared;
use super::backends::Backends;
use super::entry::Entry;
use super::web::Web;
use crate::config::{Bridge, BridgeLimits, HealthCheck, Speech};
use crate::link::proxy_protocol::Version;
use crate::link::tls::Connector;
use crate::link::{
    Answer, BackendUrl, Call, Caller, DialError, Dialled, ListenUrl, Refusal, Stream, Wanted, check, dial,
};
use crate::metrics::{BridgeMetrics, Dialling, Metrics};
use crate::probe::{self, Instance, Prober, Target};
use crate::session::{RecordKind, Session, Settings, Side, Upkeep};
use crate::sessions;
use crate::targets::Path;
use crate::wire::websocket::{self, Role};
use crate::wire::{Decoder, Encoder, Kind};

/// A bridge and what its sessions are told.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) bridge: Bridge,
    /// What it is called from outside.
    pub(super) names: Arc<sessions::Bridge>,
    settings: Arc<Settings>,
    /// Who may come in.
    pub(super) entry: Entry,
    /// Its number among all bridges, by which it is known to the limits.
    pub(super) number: usize,
    /// What this process is called where a session's number would not be unique.
    instance: Instance,
    /// Who does the backend's TLS handshakes, where there are any.
    tls: Option<Arc<Connector>>,
    /// The path that clients ask for, where there are paths.
    pub(super) path: Option<Path>,
    backends: Backends,
    /// The files that are served on plain GETs.
    pub(super) web: Option<Web>,
}

impl Route {
    /// A bridge at work that was bound to `listen`, whose ends are kept alive by `client` and `backend`.
    pub(super) fn new(
        number: usize,
        bridge: Bridge,
        listen: &ListenUrl,
        shared: &Shared,
        drain_spread: Duration,
        tls: Option<Arc<Connector>>,
        [client, backend]: [Upkeep; 2],
    ) -> Route {
        let mirror = bridge.message == RecordKind::Mirror;
        let redial = !matches!(bridge.listen.url, ListenUrl::Ws { .. })
            && bridge.backend.whom.speech() == Speech::WebSocket;
        let (linger, sessions) = (bridge.linger, shared.sessions.clone());
        let metrics = shared.metrics.bridge(&bridge.name);
        let names = Arc::new(sessions::Bridge {
            name: bridge.name.as_str().into(),
            listen: listen.to_string(),
            backend: bridge.backend.whom.to_string(),
        });
        let backends = Backends::new(&bridge.name, &bridge.backend.whom, &shared.metrics);
        let path = match &bridge.listen.url {
            ListenUrl::Ws { path, .. } => Path::parse(path).ok(),
            ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => None,
        };
        let web = bridge.web.clone().map(Web::new);
        let BridgeLimits { max_age, idle_timeout, .. } = bridge.limits;
        let settings = Settings {
            linger,
            mirror,
            redial,
            metrics,
            sessions,
            max_age,
            idle_timeout,
            budget: shared.budget.clone(),
            drain_spread,
            client,
            backend,
        };
        let entry = Entry::new(&bridge.name, &bridge.access);
        let (settings, instance) = (Arc::new(settings), shared.instance);
        Route { bridge, names, settings, entry, number, instance, tls, path, backends, web }
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
        match self.dial(own, &offers, caller).await {
            Ok(dialled) => {
                let subprotocol = chosen.or_else(|| dialled.subprotocol.clone()).or(bearer);
                Answer::Open { route: index, dialled: Some(dialled), subprotocol, until }
            }
            Err(refusal) => Answer::Refuse(refusal),
        }
    }

    /// Dials a backend for a client: `own` where the client has asked for it or has had it, else, or if that fails, any
    /// there is, one after the other for as long as the dial timeout allows. A failure is logged.
    pub(super) async fn dial(
        &self,
        own: Option<Arc<BackendUrl>>,
        subprotocols: &[String],
        caller: &Caller,
    ) -> Result<Dialled, Refusal> {
        let deadline = Instant::now() + self.bridge.dial_timeout;
        let candidates = self.backends.candidates(own);
        let count = candidates.len();
        for (index, url) in candidates.into_iter().enumerate() {
            // Each has its share of what is left, so that one that is silent leaves time for the others.
            let patience = deadline.saturating_duration_since(Instant::now()) / (count - index) as u32;
            match self.dial_one(&url, subprotocols, caller, patience).await {
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
        caller: &Caller,
        patience: Duration,
    ) -> Result<Dialled, Refusal> {
        let begun = Instant::now();
        let preface = self.bridge.backend.proxy_protocol;
        let preface = preface.map(|version| caller.introduction(version, self.instance)).unwrap_or_default();
        let dialled = timeout(patience, dial(&self.call(url, subprotocols, &preface))).await;
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
            reach: self.backends.reach(),
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

    /// How many backends there are to be checked on.
    pub(super) fn checked(&self) -> usize {
        self.backends.checked().map_or(0, |(urls, _)| urls.len())
    }

    /// Checks on one of the backends, again and again.
    pub(super) async fn watch_backend(&self, member: usize) {
        let Some((urls, HealthCheck { every, timeout: patience })) = self.backends.checked() else {
            return;
        };
        let preface = self.bridge.backend.proxy_protocol.map(Version::local).unwrap_or_default();
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let checked = timeout(patience, check(&self.call(&urls[member], &[], &preface))).await;
            let has_passed = matches!(checked, Ok(Ok(())));
            self.backends.count_check(has_passed);
            self.backends.reached(&urls[member], has_passed);
        }
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
    pub(super) fn prober(&self, own: &BackendUrl, session: &Session, metrics: &Metrics) -> Option<Prober> {
        let BackendUrl::Ws { authority, path_and_query, .. } = own else {
            return None;
        };
        let (probing, address) = session.probing()?;
        let address = SocketAddr::new(address, authority.port);
        let preface = self.bridge.backend.proxy_protocol.map(Version::local).unwrap_or_default();
        let (authority, path_and_query) = (authority.clone(), path_and_query.clone());
        let tls = self.tls.clone().filter(|_| own.tls_authority().is_some());
        let token_file = self.token_file().map(path::Path::to_owned);
        let target = Target { address, authority, path_and_query, preface, tls, token_file };
        Some(Prober::new(probing, target, Some(metrics.clone())))
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

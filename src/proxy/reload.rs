//! From one config to the next: which sockets and bridges stay, which are new, and which have to go.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::accept::accept;
use super::door::{Door, Rules};
use super::files::Made;
use super::route::Route;
use super::{LATECOMER, LATECOMER_PART, Proxy};
use crate::config::{Bridge, Config};
use crate::link::tls::{Acceptor, HTTP, TlsError};
use crate::link::{Inherited, ListenUrl, Listener};
use crate::sessions::Changes;

/// A listening socket, which outlives the bridges that are behind it.
#[derive(Debug)]
pub(super) struct Socket {
    place: String,
    bound: Option<SocketAddr>,
    door: watch::Sender<Arc<Door>>,
    /// Until clients are accepted.
    listener: Option<Listener>,
    closing: CancellationToken,
    accepting: Option<JoinHandle<()>>,
}

/// A socket as it is to be.
struct Planned {
    place: String,
    /// A new one, where there was none in this place.
    listener: Option<Listener>,
    door: Arc<Door>,
}

impl Proxy {
    /// Makes everything that is new, and only if all of that can be had lets go of what is old.
    pub(super) async fn apply(&mut self, config: Config) -> Result<Changes, Vec<String>> {
        let rules = Arc::new(Rules {
            handshake_timeout: config.server.handshake_timeout,
            latecomer: LATECOMER.min(config.server.drain_window / LATECOMER_PART),
            trusted_proxies: config.trusted_proxies,
        });
        let names: Vec<_> = config.bridges.iter().map(|bridge| bridge.name.clone()).collect();
        let before = self.routes();
        let known = by_name(&before);
        let (mut planned, mut errors) = (Vec::new(), Vec::new());
        for bridges in by_address(config.bridges) {
            match self.plan(bridges, &known, &rules).await {
                Ok(socket) => planned.push(socket),
                Err(more) => errors.extend(more),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.shared.admission.set(self.descriptors.ceilings(&config.server, &config.limits));
        self.shared.budget.set(config.limits.buffered);
        self.shared.spread_over(config.server.drain_window);
        self.drain_window = config.server.drain_window;
        self.replace_sockets(planned).await;
        Ok(self.tell(&before, &names))
    }

    /// Who is behind the sockets.
    fn routes(&self) -> Vec<Arc<Route>> {
        self.sockets.iter().flat_map(|socket| socket.door.borrow().routes.clone()).collect()
    }

    /// A socket for bridges that share one: what there is already is taken over, routes that are `known` among it.
    async fn plan(
        &self,
        bridges: Vec<Bridge>,
        known: &HashMap<&str, &Arc<Route>>,
        rules: &Arc<Rules>,
    ) -> Result<Planned, Vec<String>> {
        let url = bridges[0].listen.url.clone();
        let place = place(&bridges[0]);
        let socket = self.sockets.iter().find(|socket| socket.place == place);
        let (listener, bound) = match socket {
            Some(socket) => (None, socket.bound),
            None => {
                let listener = listen(&url, &self.inherited).await;
                let listener = listener.map_err(|error| vec![format!("cannot listen on {url}: {error}")])?;
                let bound = listener.tcp_address();
                (Some(listener), bound)
            }
        };
        let tls = socket.and_then(|socket| socket.door.borrow().tls.clone());
        let tls = acceptor(&bridges[0], tls).map_err(|error| vec![format!("{url}: {error}")])?;
        let (mut routes, mut errors) = (Vec::new(), Vec::new());
        for bridge in bridges {
            let listen = bound_url(&bridge.listen.url, bound);
            let same = known.get(bridge.name.as_str()).filter(|route| route.bridge == bridge);
            // One that moved together with its socket's port would not be found where it says that it is.
            match same.filter(|route| route.names.listen == listen.to_string()) {
                Some(&route) => routes.push(route.clone()),
                None => match Route::new(bridge, &listen, &self.shared) {
                    Ok(route) => routes.push(Arc::new(route)),
                    Err(error) => errors.push(error),
                },
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let door = Door { routes, shared: self.shared.clone(), tls, rules: rules.clone() };
        Ok(Planned { place, listener, door: Arc::new(door) })
    }

    /// Has clients come in by other doors from now on. When it is done, nobody listens on a socket that is not planned.
    async fn replace_sockets(&mut self, planned: Vec<Planned>) {
        let mut old: HashMap<_, _> = std::mem::take(&mut self.sockets)
            .into_iter()
            .map(|socket| (socket.place.clone(), socket))
            .collect();
        for Planned { place, listener, door } in planned {
            let known = old.get(&place).and_then(|socket| socket.door.borrow().tls.as_ref().map(Arc::as_ptr));
            if let Some(tls) = door.tls.as_ref().filter(|tls| known != Some(Arc::as_ptr(tls))) {
                self.shared.files.keep(&door.routes[0].bridge.name, Made::Acceptor(Arc::downgrade(tls)));
            }
            let socket = match old.remove(&place) {
                Some(socket) => {
                    socket.door.send_replace(door);
                    socket
                }
                None => Socket {
                    place,
                    bound: listener.as_ref().and_then(Listener::tcp_address),
                    door: watch::Sender::new(door),
                    listener,
                    closing: self.shared.drain.child_token(),
                    accepting: None,
                },
            };
            self.sockets.push(socket);
        }
        for socket in old.into_values() {
            socket.closing.cancel();
            if let Some(accepting) = socket.accepting {
                // It ends well, or has panicked and said so.
                let _ = accepting.await;
            }
        }
        if self.is_started {
            self.open_doors();
        }
    }

    /// Accepts clients where that is not done yet.
    pub(super) fn open_doors(&mut self) {
        for socket in &mut self.sockets {
            if let Some(listener) = socket.listener.take() {
                let accepting = accept(listener, socket.door.subscribe(), socket.closing.clone());
                socket.accepting = Some(self.shared.tasks.spawn(accepting));
            }
        }
    }

    /// Begins what is new, has the sessions of what is gone leave, and tells the log and whoever looks. `names` are the
    /// bridges in the order of the config.
    fn tell(&self, before: &[Arc<Route>], names: &[String]) -> Changes {
        let now = self.routes();
        let mut now = by_name(&now);
        let mut changes = Changes::default();
        for route in before {
            let name = route.bridge.name.clone();
            match now.get(name.as_str()) {
                Some(other) if Arc::ptr_eq(other, route) => changes.unchanged.push(name),
                Some(_) => changes.changed.push(name),
                None => {
                    info!(bridge = name, "removed; its sessions are asked to leave");
                    route.drain.cancel();
                    changes.removed.push(name);
                }
            }
        }
        let unchanged: HashSet<_> = changes.unchanged.iter().cloned().collect();
        let routes: Vec<_> = names.iter().filter_map(|name| now.remove(name.as_str())).collect();
        for route in routes.iter().filter(|route| !unchanged.contains(&route.bridge.name)) {
            let (name, names) = (&route.bridge.name, &route.names);
            info!(bridge = name, listen = names.listen, backend = names.backend, "listening");
            route.begin();
            if !changes.changed.contains(name) {
                changes.added.push(name.clone());
            }
        }
        self.shared.sessions.set_bridges(routes.iter().map(|route| route.names.clone()).collect());
        changes
    }
}

fn by_name(routes: &[Arc<Route>]) -> HashMap<&str, &Arc<Route>> {
    routes.iter().map(|route| (route.bridge.name.as_str(), route)).collect()
}

/// Bridges that share a WebSocket address, and each of the others by itself.
fn by_address(bridges: Vec<Bridge>) -> Vec<Vec<Bridge>> {
    let mut groups: Vec<Vec<Bridge>> = Vec::new();
    let mut places = HashMap::new();
    for bridge in bridges {
        let group = *places.entry(place(&bridge)).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(bridge),
            None => groups.push(vec![bridge]),
        }
    }
    groups
}

/// What a listening socket is known by: what it is bound to, as the config says. Port 0 is a different port for each
/// bridge, except that WebSockets share it.
fn place(bridge: &Bridge) -> String {
    match &bridge.listen.url {
        ListenUrl::Tcp { address, .. } if address.port() == 0 => format!("{address} {}", bridge.name),
        ListenUrl::Ws { address, .. } | ListenUrl::Tcp { address, .. } => address.to_string(),
        ListenUrl::Unix(path) => path.display().to_string(),
    }
}

async fn listen(url: &ListenUrl, inherited: &Inherited) -> io::Result<Listener> {
    if let Some(listener) = inherited.listener(url)? {
        return Ok(listener);
    }
    match url {
        ListenUrl::Ws { address, .. } | ListenUrl::Tcp { address, .. } => Listener::tcp(*address),
        ListenUrl::Unix(path) => Listener::unix(path).await,
    }
}

/// The URL with the port that was really bound.
fn bound_url(url: &ListenUrl, bound: Option<SocketAddr>) -> ListenUrl {
    match (url.clone(), bound) {
        (ListenUrl::Ws { path, is_tls, .. }, Some(address)) => ListenUrl::Ws { address, path, is_tls },
        (ListenUrl::Tcp { is_tls, .. }, Some(address)) => ListenUrl::Tcp { address, is_tls },
        (url, _) => url,
    }
}

/// Who meets the clients of a bridge, and of all that share its address; `None` where that is without TLS. Who has done so
/// goes on, if that is still asked for.
fn acceptor(bridge: &Bridge, known: Option<Arc<Acceptor>>) -> Result<Option<Arc<Acceptor>>, TlsError> {
    let Some(settings) = &bridge.listen.tls else {
        return Ok(None);
    };
    let alpn = matches!(bridge.listen.url, ListenUrl::Ws { .. }).then_some(HTTP);
    match known.filter(|known| known.is_for(settings, alpn)) {
        Some(known) => Ok(Some(known)),
        None => Ok(Some(Arc::new(Acceptor::new(settings, alpn)?))),
    }
}

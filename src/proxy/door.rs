//! A listening socket: who comes in, and what becomes of them.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Shared;
use super::admission::NoPlace;
use super::pass::Pass;
use super::route::Route;
use super::serve::OpenedSession;
use crate::close::CloseReason;
use crate::link::forwarded;
use crate::link::proxy_protocol::Ends;
use crate::link::tls::Acceptor;
use crate::link::{
    Answer, Caller, ListenUrl, NotOpened, Opened, Refusal, Stream, Wanted, take_header, upgrade,
};
use crate::metrics::Handshake;
use crate::probe;
use crate::session::Term;

/// What both ends are told when the token of a client has expired.
const EXPIRED: &str = "the token has expired";

type Opening = Pin<Box<dyn Future<Output = Option<Admitted>> + Send>>;

/// A client that was let in.
enum Admitted {
    /// Boxed, because every async function that passes a value on holds a copy of it.
    Session(Box<OpenedSession>),
    /// Another natpulse's probe, to be served.
    Probe(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// A listening socket's bridges: one, or several that share a WebSocket address and differ by path. After a reload there
/// is another, and who came in by this one goes on.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) shared: Arc<Shared>,
    /// Who does the TLS handshakes, where there are any.
    pub(super) tls: Option<Arc<Acceptor>>,
    pub(super) rules: Arc<Rules>,
}

/// What holds at all doors.
#[derive(Debug)]
pub(super) struct Rules {
    /// How long a client may take until it has sent its request.
    pub(super) handshake_timeout: Duration,
    /// How long a client whose session is not open yet is waited for when the drain begins.
    pub(super) latecomer: Duration,
    /// The proxies that are believed when they say in an HTTP header whom they speak for.
    pub(super) trusted_proxies: Vec<IpNet>,
}

impl Door {
    /// Lets a client begin its handshake, and gives it a task.
    pub(super) fn admit(self: Arc<Self>, mut stream: Stream) {
        let shared = self.shared.clone();
        let peer = stream.peer_address();
        // Who else it is that a proxy speaks for is known later.
        let address = peer.filter(|peer| !self.is_proxy(*peer));
        if address.is_none_or(|address| shared.admission.knock(address).is_ok()) {
            let pass = Pass::new(shared.admission.begin(address), address.is_some());
            let opening = self.clone().opening(stream, pass);
            shared.tasks.spawn(serve(opening));
            return;
        }
        // To be told costs more than to be hung up on, so few are, rarely, and nobody who would have to be told over TLS.
        let can_be_told =
            matches!(self.routes[0].bridge.listen.url, ListenUrl::Ws { .. }) && self.tls.is_none();
        let is_told = can_be_told && address.is_some_and(|address| shared.admission.explains(address));
        match shared.refusals.clone().try_acquire_owned() {
            Ok(refusal) if is_told => {
                let opening = self.opening(stream, Pass::none());
                shared.tasks.spawn(async move {
                    opening.await;
                    drop(refusal);
                });
            }
            _ => {
                self.routes[0].metrics().handshake(Handshake::Limited);
                // A reset leaves nothing behind in the kernel.
                stream.abort();
            }
        }
    }

    /// Whether a peer speaks for others, and will say for whom.
    fn is_proxy(&self, peer: IpAddr) -> bool {
        let is_named = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&peer));
        is_named(&self.routes[0].bridge.listen.proxy_protocol) || is_named(&self.rules.trusted_proxies)
    }

    /// All that comes before a session. Boxed, because it needs far more memory than a session, and only for a moment.
    fn opening(self: Arc<Self>, stream: Stream, pass: Pass) -> Opening {
        Box::pin(async move {
            let opening = async {
                let begun = Instant::now();
                let (stream, caller) = self.receive(stream, begun).await?;
                match self.routes[0].bridge.listen.url {
                    ListenUrl::Ws { .. } => self.handshake(stream, caller, begun, &pass).await,
                    ListenUrl::Tcp { .. } | ListenUrl::Unix(_) => self.open(stream, &caller, &pass).await,
                }
            };
            let mut opening = pin!(opening);
            tokio::select! {
                opened = &mut opening => opened,
                () = pass.displaced() => {
                    self.routes[0].metrics().handshake(Handshake::TimedOut);
                    None
                }
                () = self.shared.drain.cancelled() => timeout(self.rules.latecomer, &mut opening).await.ok().flatten(),
            }
        })
    }

    /// What is left of the handshake timeout, which is one for all that comes before a session, to a client who connected
    /// at `begun`.
    fn patience(&self, begun: Instant) -> Duration {
        self.rules.handshake_timeout.saturating_sub(begun.elapsed())
    }

    /// What precedes everything that a client, who connected at `begun`, says of itself; `None` where that is wrong, and
    /// the connection closed.
    async fn receive(&self, mut stream: Stream, begun: Instant) -> Option<(Stream, Caller)> {
        let mut caller = Caller::of(&stream, self.shared.sessions.number());
        let proxies = &self.routes[0].bridge.listen.proxy_protocol;
        if !proxies.is_empty()
            && let Err(result) = self.take_header(&mut stream, proxies, &mut caller, begun).await
        {
            debug!(?result, "no PROXY header");
            self.routes[0].metrics().handshake(result);
            return None;
        }
        let Some(tls) = &self.tls else {
            return Some((stream, caller));
        };
        // In a box, because it needs more memory than all else here.
        let result = match timeout(self.patience(begun), Box::pin(tls.accept(stream))).await {
            Ok(Ok(stream)) => {
                caller.secured = stream.secured();
                return Some((stream, caller));
            }
            Ok(Err(error)) => {
                debug!(client = ?caller.address, %error, "no TLS");
                Handshake::TlsFailed
            }
            Err(_) => Handshake::TimedOut,
        };
        self.routes[0].metrics().handshake(result);
        None
    }

    /// Learns from a proxy whom it speaks for.
    async fn take_header(
        &self,
        stream: &mut Stream,
        proxies: &[IpNet],
        caller: &mut Caller,
        begun: Instant,
    ) -> Result<(), Handshake> {
        let peer = caller.address.map(|peer| peer.ip().to_canonical());
        if !peer.is_some_and(|peer| proxies.iter().any(|network| network.contains(&peer))) {
            return Err(Handshake::Untrusted);
        }
        match timeout(self.patience(begun), take_header(stream)).await {
            Err(_) => Err(Handshake::TimedOut),
            Ok(Err(error)) => {
                debug!(?error, "a PROXY header that cannot be read");
                Err(Handshake::Rejected)
            }
            Ok(Ok(ends)) => {
                if let Some(Ends { client, reached }) = ends {
                    caller.address = Some(client);
                    caller.reached = Some(reached);
                }
                Ok(())
            }
        }
    }

    /// A byte stream is a session as soon as its backend is there.
    async fn open(&self, stream: Stream, caller: &Caller, pass: &Pass) -> Option<Admitted> {
        let route = self.routes[0].clone();
        let begun = Instant::now();
        if !route.entry.admits(caller) {
            route.metrics().handshake(Handshake::AddressDenied);
            return None;
        }
        let knocked = pass.knock(&self.shared.admission, caller);
        if let Err(none) = knocked.and_then(|()| pass.open(&self.shared.admission, route.number, caller)) {
            route.metrics().handshake(match none {
                NoPlace::Full => Handshake::Unavailable,
                NoPlace::TooMany => Handshake::Limited,
            });
            return None;
        }
        let introduction = route.introduction(caller);
        match route.dial(None, &route.bridge.subprotocols, &introduction).await {
            Ok(dialled) => {
                route.metrics().accepted(begun.elapsed());
                let own = dialled.own.clone();
                let session = route.session(stream, caller, &[], dialled, waker().await);
                let place = Some(pass.place()?);
                let opened = OpenedSession { route, own, introduction, session, place };
                Some(Admitted::Session(Box::new(opened)))
            }
            Err(_) => {
                route.metrics().handshake(Handshake::BackendFailed);
                let mut stream = stream;
                stream.abort();
                None
            }
        }
    }

    /// The opening handshake of a WebSocket, with a client who connected at `begun`.
    async fn handshake(
        &self,
        stream: Stream,
        caller: Caller,
        begun: Instant,
        pass: &Pass,
    ) -> Option<Admitted> {
        let asked = AtomicU64::new(0);
        let known = OnceLock::new();
        let decide = async |wanted: Wanted| {
            let found = match caller.address {
                Some(peer) => forwarded::client(&wanted.headers, peer, &self.rules.trusted_proxies).map(Some),
                None => Ok(None),
            };
            let caller = match found {
                Ok(address) => known.get_or_init(|| Caller { address, ..caller.clone() }),
                Err(why) => return Answer::Refuse(Refusal::BadRequest(why)),
            };
            if pass.knock(&self.shared.admission, caller).is_err() {
                return Answer::Refuse(Refusal::TooMany);
            }
            let Some(index) = self.find(&wanted) else {
                return Answer::Refuse(Refusal::NotFound);
            };
            asked.store(index as u64, Ordering::Relaxed);
            let route = &self.routes[index];
            let take_place = |is_probe| self.take_place(is_probe, route, caller, pass);
            route.answer(index, wanted, caller, take_place).await
        };
        let upgraded = upgrade(stream, self.patience(begun), self.shared.instance, decide).await;
        let caller = known.get().unwrap_or(&caller);
        // What asked for no bridge is counted with the first one of its address.
        let metrics = self.routes[asked.into_inner() as usize].metrics();
        let result = match upgraded {
            Ok(Opened { stream, early, route, dialled: Some(dialled), until }) => {
                metrics.accepted(begun.elapsed());
                let own = dialled.own.clone();
                let route = self.routes[route].clone();
                let mut session = route.session(stream, caller, &early, dialled, waker().await);
                if let Some(until) = until {
                    session.limit(Term { until, reason: CloseReason::Expired, words: EXPIRED });
                }
                // The backend of a WebSocket's client is never replaced.
                let (introduction, place) = (Box::default(), Some(pass.place()?));
                let opened = OpenedSession { route, own, introduction, session, place };
                return Some(Admitted::Session(Box::new(opened)));
            }
            Ok(Opened { stream, early, route, dialled: None, .. }) => {
                metrics.handshake(Handshake::Probe);
                return self.probe(stream, caller, &early, route);
            }
            Err(NotOpened::Page) => return None,
            Err(NotOpened::Refused(Refusal::BadGateway)) => Handshake::BackendFailed,
            Err(NotOpened::Refused(Refusal::UnknownTarget)) => Handshake::UnknownTarget,
            Err(NotOpened::Refused(Refusal::ForbiddenTarget)) => Handshake::ForbiddenTarget,
            Err(NotOpened::Refused(Refusal::Unavailable)) => Handshake::Unavailable,
            Err(NotOpened::Refused(Refusal::TooMany)) => Handshake::Limited,
            Err(NotOpened::Refused(Refusal::AddressDenied)) => Handshake::AddressDenied,
            Err(NotOpened::Refused(Refusal::OriginDenied)) => Handshake::OriginDenied,
            Err(NotOpened::Refused(Refusal::TokenMissing | Refusal::TokenInvalid)) => Handshake::TokenDenied,
            Err(NotOpened::TimedOut) => Handshake::TimedOut,
            Err(NotOpened::Refused(_) | NotOpened::Broken) => Handshake::Rejected,
        };
        debug!(?result, "no session opened");
        metrics.handshake(result);
        None
    }

    /// Finds a place for a client that may come in.
    fn take_place(&self, is_probe: bool, route: &Route, caller: &Caller, pass: &Pass) -> Result<(), Refusal> {
        // A client that was accepted before the drain began is served; a probe comes back.
        let is_unavailable = self.shared.drain.is_cancelled() || self.shared.probes.available_permits() == 0;
        if is_probe && is_unavailable {
            return Err(Refusal::Unavailable);
        }
        // A probe is no session, and takes nobody's place.
        let opened = if is_probe { Ok(()) } else { pass.open(&self.shared.admission, route.number, caller) };
        opened.map_err(|none| match none {
            NoPlace::Full => Refusal::Unavailable,
            NoPlace::TooMany => Refusal::TooMany,
        })
    }

    /// Another natpulse's probe, if there is room for it.
    fn probe(&self, stream: Stream, caller: &Caller, early: &[u8], route: usize) -> Option<Admitted> {
        let permit = self.shared.probes.clone().try_acquire_owned().ok()?;
        let (network, early) = (self.routes[route].network_of(caller), early.to_vec());
        let (instance, drain) = (self.shared.instance, self.shared.drain.clone());
        Some(Admitted::Probe(Box::pin(async move {
            probe::serve(stream, &early, instance, network, &drain).await;
            drop(permit);
        })))
    }

    /// The bridge for a path: the one that names it, else the one whose parameters fit, else the one whose path ends in
    /// `*` and fits best.
    /// Where one has files to show, a plain GET is for these, unless its path is that of a demo.
    fn find(&self, wanted: &Wanted) -> Option<usize> {
        let fit =
            |(index, route): (usize, &Arc<Route>)| Some((route.path.as_ref()?.fit(&wanted.path)?.0, index));
        let best = self.routes.iter().enumerate().filter_map(fit).max_by_key(|(fit, _)| *fit);
        let best = best.map(|(_, index)| index);
        let is_demo = best.is_some_and(|index| self.routes[index].bridge.demo);
        let web = self.routes.iter().position(|route| route.web.is_some());
        web.filter(|_| wanted.is_plain_get && !is_demo).or(best)
    }
}

/// Serves one client from its first byte to its last.
async fn serve(opening: Opening) {
    match opening.await {
        Some(Admitted::Session(opened)) => opened.run().await,
        Some(Admitted::Probe(probe)) => probe.await,
        None => {}
    }
}

/// What wakes the task that this is called in.
async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

//! The admin port: health, readiness and metrics, and for people and their programs the JSON API, the status page and what
//! happens as it happens; away from the clients' ports.

mod access;
mod answer;
mod lists;
mod page;
mod query;
mod rows;
mod status;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::close::Party;
use crate::drain::Drain;
use crate::metrics::{Metrics, SideCount};
use crate::sessions::{Bridge, Changes, Sessions};
use access::Access;
use answer::{Answer, error, json, text};
use status::{Leaving, Live, Status};

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// How long a connection may take to ask for something. Short, because silent ones must not keep a health
/// check waiting.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// How long a connection may rest between two requests: twice the usual interval of a scraper.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long accepting rests when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What there is, for whoever asks for something else.
const PATHS: &str = "there is /, /healthz, /readyz, /metrics, /api/status, /api/events, /api/bridges, /api/sessions, \
                     /api/sessions/{id}, /api/networks, /api/deaths, /api/drain, /api/reload and \
                     /api/openapi.json";

/// What the port tells of.
#[derive(Debug)]
pub struct Counted {
    /// What is counted.
    pub metrics: Metrics,
    /// How natpulse leaves.
    pub drain: Arc<Drain>,
    /// The sessions, and the bridges.
    pub sessions: Arc<Sessions>,
    /// When natpulse started, since the UNIX epoch.
    pub started: Duration,
    /// Who reads the config again, and is to answer what came of it.
    pub reload: mpsc::Sender<oneshot::Sender<Result<Reloaded, Vec<String>>>>,
}

/// What came of another config.
#[derive(Debug, Default, Serialize)]
pub struct Reloaded {
    /// What has changed.
    #[serde(flatten)]
    pub changes: Changes,
    /// Tables that have changed, and wait for the next start.
    pub needs_restart: Vec<&'static str>,
}

impl Counted {
    /// What was counted of the client's side of a bridge, and of the backend's.
    fn sides(&self, bridge: &Bridge) -> [SideCount; 2] {
        [Party::Client, Party::Backend].map(|party| self.metrics.side(&bridge.name, party).count())
    }
}

/// The admin port, bound.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    counted: Arc<Counted>,
    access: Access,
    live: Live,
}

impl Admin {
    /// Binds the port, or takes the one that is `inherited`. It tells of what is `counted`; `token` is asked for where
    /// somebody could look or change something who must not. It is not ready once somebody has
    /// asked for the drain.
    ///
    /// # Errors
    /// The address is taken, not ours, or not allowed.
    pub async fn bind(
        address: SocketAddr,
        inherited: Option<TcpListener>,
        token: Option<String>,
        counted: Counted,
    ) -> io::Result<Admin> {
        let listener = match inherited {
            Some(listener) => listener,
            None => TcpListener::bind(address).await?,
        };
        let is_local = listener.local_addr()?.ip().to_canonical().is_loopback();
        let (access, live) = (Access::new(token, is_local), Live::new(&counted));
        Ok(Admin { listener, state: Arc::new(State { counted: Arc::new(counted), access, live }) })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn run(self) {
        let state = self.state.clone();
        tokio::join!(self.accept(), state.live.run(&state.counted));
    }

    async fn accept(self) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let state = self.state.clone();
                    tokio::spawn(async move {
                        serve(stream, state).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "the admin port cannot accept; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let has_asked = AtomicBool::new(false);
    let service = service_fn(async |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        Ok::<_, Infallible>(state.answer(&request).await)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(KEEP_ALIVE)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = match timeout(FIRST_REQUEST, &mut connection).await {
        Ok(served) => served,
        Err(_) if has_asked.load(Ordering::Relaxed) => connection.await,
        Err(_) => return,
    };
    if let Err(error) = served {
        debug!(%error, "admin connection");
    }
}

impl State {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let (method, path) = (request.method(), request.uri().path());
        let is_open = matches!(path, "/healthz" | "/readyz" | "/metrics");
        if !is_open && let Err(refusal) = self.access.look(request.headers()) {
            return answer::refused(refusal);
        }
        let is_look = method == Method::GET || method == Method::HEAD;
        let query = request.uri().query().unwrap_or_default();
        if let Some(id) = path.strip_prefix("/api/sessions/") {
            return self.session(id, request);
        }
        match path {
            "/" | "/healthz" | "/readyz" | "/metrics" | "/api/status" | "/api/events" | "/api/bridges"
            | "/api/sessions" | "/api/networks" | "/api/deaths" | "/api/openapi.json"
                if !is_look =>
            {
                answer::not_allowed("GET, HEAD")
            }
            "/api/drain" => self.drain(request),
            "/api/reload" => self.reload(request).await,
            "/" => answer::page(page::PAGE, self.access.page()),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.counted.drain.schedule().is_some() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            "/readyz" => text(StatusCode::OK, "ok\n"),
            "/metrics" => self.metrics(),
            "/api/status" => json(answer::written(&Status::of(&self.counted))),
            "/api/events" => self.live.events(&self.counted).unwrap_or_else(|| {
                error(StatusCode::SERVICE_UNAVAILABLE, "too many look on already: ask for /api/status")
            }),
            "/api/bridges" => self.list(lists::bridges, query).await,
            "/api/sessions" => self.list(lists::sessions, query).await,
            "/api/networks" => self.list(lists::networks, query).await,
            "/api/deaths" => self.list(lists::deaths, query).await,
            "/api/openapi.json" => json(include_str!("openapi.json")),
            _ => error(StatusCode::NOT_FOUND, PATHS),
        }
    }

    /// One of the lists, which may be long: made where nobody waits for this thread.
    async fn list(&self, list: fn(&Counted, &str) -> Result<Vec<u8>, String>, query: &str) -> Answer {
        let (counted, query) = (self.counted.clone(), query.to_owned());
        match spawn_blocking(move || list(&counted, &query)).await {
            Ok(Ok(body)) => json(body),
            Ok(Err(wrong)) => error(StatusCode::BAD_REQUEST, &wrong),
            Err(failed) => {
                warn!(error = %failed, "cannot make a list");
                error(StatusCode::INTERNAL_SERVER_ERROR, "the list cannot be made")
            }
        }
    }

    /// One session: looked at, or closed.
    fn session(&self, id: &str, request: &Request<Incoming>) -> Answer {
        let method = request.method();
        if ![Method::GET, Method::HEAD, Method::DELETE].contains(method) {
            return answer::not_allowed("GET, HEAD, DELETE");
        }
        if method == Method::DELETE
            && let Err(refusal) = self.access.change(request.headers())
        {
            return answer::refused(refusal);
        }
        let Some(record) = id.parse().ok().and_then(|number| self.counted.sessions.find(number)) else {
            return error(StatusCode::NOT_FOUND, &format!("{id}: no such session is open"));
        };
        if method != Method::DELETE {
            return json(lists::session(&record));
        }
        info!(bridge = &*record.bridge().name, session = record.number(), "the operator closes a session");
        record.dismiss();
        answer::done()
    }

    /// Begins the drain; asked again, it tells how that goes.
    fn drain(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::POST {
            return answer::not_allowed("POST");
        }
        if let Err(refusal) = self.access.change(request.headers()) {
            return answer::refused(refusal);
        }
        if self.counted.drain.schedule().is_none() {
            info!("the operator asks for a drain");
        }
        self.counted.drain.begin();
        answer::accepted(answer::written(&Leaving::of(&self.counted.drain)))
    }

    /// Has the config read again.
    async fn reload(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::POST {
            return answer::not_allowed("POST");
        }
        if let Err(refusal) = self.access.change(request.headers()) {
            return answer::refused(refusal);
        }
        let (asked, reloaded) = oneshot::channel();
        info!("the operator has the config read again");
        // Once the drain has begun nobody listens.
        let reloaded = match self.counted.reload.send(asked).await {
            Ok(()) => reloaded.await.ok(),
            Err(_) => None,
        };
        match reloaded {
            Some(Ok(reloaded)) => json(answer::written(&reloaded)),
            Some(Err(errors)) => error(StatusCode::UNPROCESSABLE_ENTITY, &errors.join("\n")),
            None => error(StatusCode::SERVICE_UNAVAILABLE, "natpulse is leaving"),
        }
    }

    fn metrics(&self) -> Answer {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        match self.counted.metrics.render(tasks) {
            Ok((body, content_type)) => answer::metrics(body, &content_type),
            Err(failed) => {
                warn!(error = %failed, "cannot render the metrics");
                error(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered")
            }
        }
    }
}

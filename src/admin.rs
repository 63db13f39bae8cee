//! The admin port: health, readiness and metrics, away from the clients' ports.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// How long a connection may take to ask for something. Short, because silent ones must not keep a health
/// check waiting.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// How long a connection may rest between two requests: twice the usual interval of a scraper.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long accepting rests when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin port, bound.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    metrics: Metrics,
    drain: CancellationToken,
}

impl Admin {
    /// Binds the port; it is not ready once `drain` is cancelled.
    ///
    /// # Errors
    /// The address is taken, not ours, or not allowed.
    pub async fn bind(address: SocketAddr, metrics: Metrics, drain: CancellationToken) -> io::Result<Admin> {
        let listener = TcpListener::bind(address).await?;
        Ok(Admin { listener, state: Arc::new(State { metrics, drain }) })
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
        hyper::Result::Ok(state.answer(request.method(), request.uri().path()))
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
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n");
        }
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(),
            "/readyz" if self.drain.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        match self.metrics.render(tasks) {
            Ok((body, content_type)) => {
                let mut response = Response::new(Full::from(body));
                if let Ok(content_type) = HeaderValue::from_str(&content_type) {
                    response.headers_mut().insert(CONTENT_TYPE, content_type);
                }
                response
            }
            Err(error) => {
                warn!(%error, "cannot render the metrics");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered\n")
            }
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

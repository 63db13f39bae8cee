//! The opening handshake from the server's side (RFC 6455 section 4.2), and the HTTP answers for
//! everything that is none.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::head::Head;
use super::{Dialled, Stream, Wanted, WebFile};

/// Largest request head in bytes, request line included: what common servers allow.
pub(super) const MAX_HEADER: usize = 8 * 1024;

/// The header by which a natpulse that dials says that it is one, and one that is dialled answers with its name. To
/// anyone else it is one more header that nobody knows.
pub(super) const NATPULSE: &str = "natpulse";

/// Why no session opens, and the HTTP answer that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: a header of the handshake is missing or wrong.
    BadRequest(&'static str),
    /// 401: a token is needed, and there was none.
    TokenMissing,
    /// 401: the token is not, or no longer, valid.
    TokenInvalid,
    /// 403: the client's address may not connect.
    AddressDenied,
    /// 403: pages of this origin may not connect.
    OriginDenied,
    /// 404: no bridge has this path.
    NotFound,
    /// 403: the path names a backend that may not be dialled.
    ForbiddenTarget,
    /// 404: the path or the token names no backend.
    UnknownTarget,
    /// 405: an upgrade is a GET.
    NotGet,
    /// 426: no upgrade, or not to version 13.
    UpgradeRequired,
    /// 429: the client's address has as much as it may have, or tries too often.
    TooMany,
    /// 502: the backend could not be dialled.
    BadGateway,
    /// 503: full, or leaving.
    Unavailable,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Answer {
    /// Switch protocols.
    Open {
        /// Which bridge, as the caller counts them.
        route: usize,
        /// Its backend; `None` where natpulse answers the client itself.
        dialled: Option<Dialled>,
        /// The subprotocol chosen.
        subprotocol: Option<String>,
        /// The last moment of what let the client in, where it has one.
        until: Option<Instant>,
    },
    /// Show a page.
    Page(&'static str),
    /// Show a file.
    File(WebFile),
    /// Say no.
    Refuse(Refusal),
}

/// A connection that has become a WebSocket.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub stream: Stream,
    /// Bytes that came right behind the request.
    pub early: Bytes,
    /// Which bridge it is for.
    pub route: usize,
    /// The bridge's backend; `None` where natpulse answers the client itself.
    pub dialled: Option<Dialled>,
    /// The last moment of what let the client in, where it has one.
    pub until: Option<Instant>,
}

/// Why a connection has not become one, and is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// A page was shown.
    Page,
    /// It was told no.
    Refused(Refusal),
    /// The request did not come in time.
    TimedOut,
    /// It was no HTTP, or ended early.
    Broken,
}

/// Serves one request on a fresh connection: `decide` says what becomes of it. A client that takes longer
/// than `patience` to ask is sent away; one that says that it is natpulse is told that we are, by the name of
/// `instance`.
///
/// # Errors
/// Why there is no session; the client has been told where that is possible.
pub async fn upgrade<F>(
    stream: Stream,
    patience: Duration,
    instance: impl fmt::Display + Copy,
    decide: impl Fn(Wanted) -> F,
) -> Result<Opened, NotOpened>
where
    F: Future<Output = Answer>,
{
    let opened = Mutex::new(None);
    let refused = Mutex::new(None);
    let due = Mutex::new(None);
    let due_by = &due;
    let (has_asked, has_more) = (AtomicBool::new(false), AtomicBool::new(false));
    let (opened_by, refused_by, asked, decide, has_more) =
        (&opened, &refused, &has_asked, &decide, &has_more);
    let service = service_fn(|request: Request<Incoming>| {
        Box::pin(async move {
            asked.store(true, Ordering::Relaxed);
            let key = request.headers().get(SEC_WEBSOCKET_KEY).cloned();
            let instance = request.headers().contains_key(NATPULSE).then(|| instance.to_string());
            let response = match decide(Wanted::of(&request, has_more.load(Ordering::Relaxed))).await {
                Answer::Open { route, dialled, subprotocol, until } => {
                    *opened_by.lock().expect("nobody panics with this lock") = Some((route, dialled, until));
                    switching(key.as_ref(), subprotocol.as_deref(), instance.as_deref()).map(Either::Left)
                }
                Answer::Page(html) => {
                    let html_type = HeaderValue::from_static("text/html; charset=utf-8");
                    let mut response = Response::new(Full::from(html));
                    response.headers_mut().insert(CONTENT_TYPE, html_type);
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    response.map(Either::Left)
                }
                Answer::File(file) => {
                    let until = Instant::now() + file.patience();
                    *due_by.lock().expect("nobody panics with this lock") = Some(until);
                    file.response().map(Either::Right)
                }
                Answer::Refuse(refusal) => {
                    *refused_by.lock().expect("nobody panics with this lock") = Some(refusal);
                    refusal.response().map(Either::Left)
                }
            };
            hyper::Result::Ok(response)
        })
    });
    let mut connection = http1::Builder::new()
        .half_close(true)
        .max_buf_size(MAX_HEADER)
        .max_header_size(MAX_HEADER)
        .serve_connection(TokioIo::new(Head::new(stream, has_more)), service);
    let served = {
        let mut serve = pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
        match timeout(patience, &mut serve).await {
            Ok(served) => Some(served),
            Err(_) if has_asked.load(Ordering::Relaxed) => loop {
                // Only a file can be too long for the connection's buffers, and so take as long as the client likes.
                let until = *due.lock().expect("nobody panics with this lock");
                match timeout(patience.max(DEPARTURE), &mut serve).await {
                    Ok(served) => break Some(served),
                    Err(_) if until.is_some_and(|until| until <= Instant::now()) => {
                        return Err(NotOpened::Broken);
                    }
                    Err(_) => {}
                }
            },
            Err(_) => None,
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().into_inner();
    let opened = opened.lock().expect("nobody panics with this lock").take();
    let refused = *refused.lock().expect("nobody panics with this lock");
    let failed = match (served, opened) {
        (Some(Ok(())), Some((route, dialled, until))) => {
            return Ok(Opened { stream, early: parts.read_buf, route, dialled, until });
        }
        (Some(Ok(())), None) if has_asked.into_inner() => refused.map_or(NotOpened::Page, NotOpened::Refused),
        (Some(_), _) => NotOpened::Broken,
        (None, _) => {
            // The client may be gone; then nobody misses the answer.
            let _ = stream.write_all(REQUEST_TIMEOUT).await;
            NotOpened::TimedOut
        }
    };
    depart(stream, if failed == NotOpened::TimedOut { DEPARTURE / 4 } else { DEPARTURE }).await;
    Err(failed)
}

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How long a client may take to read an answer and hang up; one that has had its time already gets a part of it.
const DEPARTURE: Duration = Duration::from_secs(1);
/// What is read from it meanwhile, in bytes.
const DEPARTURE_BYTES: u64 = 64 * 1024;

/// Closes a connection so that the answer on it is not lost to a reset: unread input would cause one
/// (RFC 9112 section 9.6).
async fn depart(mut stream: Stream, patience: Duration) {
    if stream.shutdown().await.is_ok() {
        let drained =
            async { tokio::io::copy(&mut (&mut stream).take(DEPARTURE_BYTES), &mut tokio::io::sink()).await };
        // Whatever happens to it, the connection is over.
        let _ = timeout(patience, drained).await;
    }
}

fn switching(
    key: Option<&HeaderValue>,
    subprotocol: Option<&str>,
    instance: Option<&str>,
) -> Response<Full<Bytes>> {
    let accept = derive_accept_key(key.map_or(&[][..], HeaderValue::as_bytes));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(accept).expect("base64 is a header value"));
    if let Some(name) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    if let Some(instance) = instance.and_then(|instance| HeaderValue::from_str(instance).ok()) {
        headers.insert(NATPULSE, instance);
    }
    response
}

impl Refusal {
    fn response(self) -> Response<Full<Bytes>> {
        let (status, text) = match self {
            Refusal::BadRequest(why) => (StatusCode::BAD_REQUEST, why),
            Refusal::TokenMissing => (StatusCode::UNAUTHORIZED, "a token is needed\n"),
            Refusal::TokenInvalid => (StatusCode::UNAUTHORIZED, "this token is not valid\n"),
            Refusal::AddressDenied => (StatusCode::FORBIDDEN, "this address may not connect\n"),
            Refusal::OriginDenied => (StatusCode::FORBIDDEN, "pages of this origin may not connect\n"),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "no bridge has this path\n"),
            Refusal::ForbiddenTarget => (StatusCode::FORBIDDEN, "this target may not be reached from here\n"),
            Refusal::UnknownTarget => (StatusCode::NOT_FOUND, "there is no such target\n"),
            Refusal::NotGet => (StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is opened with GET\n"),
            Refusal::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, "this is a WebSocket, version 13\n"),
            Refusal::TooMany => {
                (StatusCode::TOO_MANY_REQUESTS, "too many from your address, try again later\n")
            }
            Refusal::BadGateway => (StatusCode::BAD_GATEWAY, "the backend could not be reached\n"),
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "no session to spare, try again\n"),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        match self {
            // The scheme, and what is wrong with a token (RFC 6750 section 3).
            Refusal::TokenMissing => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Refusal::TokenInvalid => {
                let invalid = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(WWW_AUTHENTICATE, invalid);
            }
            Refusal::NotGet => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            Refusal::UpgradeRequired => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade, close"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Refusal::Unavailable | Refusal::TooMany => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Refusal::BadRequest(_)
            | Refusal::AddressDenied
            | Refusal::OriginDenied
            | Refusal::NotFound
            | Refusal::ForbiddenTarget
            | Refusal::UnknownTarget
            | Refusal::BadGateway => {}
        }
        response
    }
}

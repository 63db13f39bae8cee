//! Dialling a backend, and its WebSocket handshake where it is one.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connect::connect;
use super::endpoint::Authority;
use super::preface::introduce;
use super::request::has_token;
use super::tls::Connector;
use super::upgrade::{MAX_HEADER, NATPULSE};
use super::{BackendUrl, Echo, Reach, Stream};

/// A backend that is ready to be spoken to.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// Bytes that came right behind the handshake.
    pub early: Bytes,
    /// The subprotocol that a WebSocket backend chose.
    pub subprotocol: Option<String>,
    /// Whether it says that it is natpulse.
    pub is_natpulse: bool,
    /// Whom a session dials again when this connection dies, where that is for the caller to say.
    pub own: Option<Arc<BackendUrl>>,
}

/// Why a backend could not be reached.
#[derive(Debug)]
pub enum DialError {
    /// No connection.
    Io(io::Error),
    /// A connection, but no HTTP on it.
    Http(hyper::Error),
    /// An answer that is not the upgrade that was asked for.
    Refused(String),
    /// The name leads to an address that may not be dialled.
    Forbidden(IpAddr),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Io(error) => write!(f, "{error}"),
            DialError::Http(error) => write!(f, "{error}"),
            DialError::Refused(what) => f.write_str(what),
            DialError::Forbidden(address) => write!(f, "its address, {address}, may not be dialled"),
        }
    }
}

impl std::error::Error for DialError {}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        DialError::Io(error)
    }
}

impl From<hyper::Error> for DialError {
    fn from(error: hyper::Error) -> Self {
        DialError::Http(error)
    }
}

/// What dialling a backend takes.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whom.
    pub url: &'a BackendUrl,
    /// At which address, where it has one.
    pub place: Place<'a>,
    /// What a WebSocket is offered.
    pub subprotocols: &'a [String],
    /// The file with the token that a WebSocket is sent, if it is sent one.
    pub token_file: Option<&'a Path>,
    /// The longest message that will cross, in bytes.
    pub longest: u64,
    /// The PROXY header that it is sent before anything else; empty where it is sent none.
    pub preface: &'a [u8],
    /// Who does the TLS handshake, where there is one.
    pub tls: Option<&'a Connector>,
}

/// Where a backend is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// Where its name leads now, as far as that may be dialled.
    Named(&'a Reach),
    /// Where its name has led earlier.
    At(SocketAddr),
}

/// Dials a backend.
///
/// # Errors
/// No connection, or no upgrade. There is no timeout here.
pub async fn dial(call: &Call<'_>) -> Result<Dialled, DialError> {
    let stream = prepare(call).await?;
    match call.url {
        BackendUrl::Ws { authority, path_and_query, .. } => {
            shake_hands(stream, authority, path_and_query, call).await
        }
        BackendUrl::Echo | BackendUrl::Unix(_) | BackendUrl::Tcp { .. } => {
            Ok(Dialled { stream, early: Bytes::new(), subprotocol: None, is_natpulse: false, own: None })
        }
    }
}

/// Finds out whether a backend can be reached, and hangs up on it before a word of its protocol is said.
///
/// # Errors
/// No connection. There is no timeout here.
pub async fn check(call: &Call<'_>) -> Result<(), DialError> {
    prepare(call).await.map(drop)
}

/// A connection on which the backend's own protocol can begin.
async fn prepare(call: &Call<'_>) -> Result<Stream, DialError> {
    let mut stream = match call.url {
        BackendUrl::Echo => Stream::Echo(Box::new(Echo::new(call.longest))),
        BackendUrl::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
        BackendUrl::Tcp { authority, .. } | BackendUrl::Ws { authority, .. } => match call.place {
            Place::Named(reach) => connect(authority, reach).await?,
            Place::At(address) => Stream::tcp(TcpStream::connect(address).await?)?,
        },
    };
    introduce(&mut stream, call.preface).await?;
    match (call.url.tls_authority(), call.tls) {
        // In a box, because it needs more memory than all else here.
        (Some(authority), Some(tls)) => Ok(Box::pin(tls.connect(stream, &authority.host)).await?),
        // What was to be encrypted never goes out as it is.
        (Some(_), None) => Err(io::Error::other("nobody to do its TLS handshake").into()),
        (None, _) => Ok(stream),
    }
}

/// The opening handshake from the client's side (RFC 6455 section 4.1).
async fn shake_hands(
    stream: Stream,
    authority: &Authority,
    path_and_query: &str,
    call: &Call<'_>,
) -> Result<Dialled, DialError> {
    let Call { subprotocols, token_file, .. } = *call;
    let key = generate_key();
    let mut request = Request::get(path_and_query)
        .header(HOST, authority.to_string())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .header(NATPULSE, "1");
    if !subprotocols.is_empty() {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, subprotocols.join(", "));
    }
    if let Some(file) = token_file {
        request = request.header(AUTHORIZATION, bearer(file).await?);
    }
    let request =
        request.body(Empty::<Bytes>::new()).map_err(|error| DialError::Refused(error.to_string()))?;
    let (mut sender, mut connection) =
        http1::Builder::new().max_buf_size(MAX_HEADER).handshake(TokioIo::new(stream)).await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let mut response = None;
    // After a 101 the connection future ends; after anything else the answer is all that is wanted.
    poll_fn(|cx| {
        let driven = connection.poll_without_shutdown(cx)?;
        if response.is_none()
            && let Poll::Ready(answer) = answer.as_mut().poll(cx)
        {
            response = Some(answer?);
        }
        match &response {
            Some(response) if response.status() != StatusCode::SWITCHING_PROTOCOLS => Poll::Ready(Ok(())),
            Some(_) => driven.map(hyper::Result::Ok),
            None => Poll::Pending,
        }
    })
    .await?;
    let response = response.expect("the loop ends with a response");
    let subprotocol = agreed(&response, &key, subprotocols).map_err(DialError::Refused)?;
    let is_natpulse = response.headers().contains_key(NATPULSE);
    let parts = connection.into_parts();
    let (stream, early) = (parts.io.into_inner(), parts.read_buf);
    Ok(Dialled { stream, early, subprotocol, is_natpulse, own: None })
}

/// The longest token that is sent, in bytes: with it, a request still has room in the 8 KiB that servers commonly allow.
const LONGEST_TOKEN: u64 = 4096;

/// The header that carries the token in the first line of a file (RFC 6750 section 2.1). It is read for each handshake,
/// because a token that expires is replaced there.
async fn bearer(file: &Path) -> io::Result<HeaderValue> {
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut text = String::new();
    let opened = File::open(file).await.map_err(told)?;
    opened.take(LONGEST_TOKEN + 1).read_to_string(&mut text).await.map_err(told)?;
    let token = text.lines().next().unwrap_or_default().trim();
    let is_token = !token.is_empty() && token.len() as u64 <= LONGEST_TOKEN;
    let value = is_token.then(|| HeaderValue::try_from(format!("Bearer {token}")).ok()).flatten();
    let mut value = value.ok_or_else(|| told(io::Error::other("its first line is no token")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The client's checks of RFC 6455 section 4.1; returns the subprotocol agreed on.
fn agreed<B>(response: &Response<B>, key: &str, offered: &[String]) -> Result<Option<String>, String> {
    let headers = response.headers();
    let accept = derive_accept_key(key.as_bytes());
    let subprotocol = headers.get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::to_str);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("the backend answered the upgrade with {}", response.status()));
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return Err("the backend's 101 does not switch to WebSocket".into());
    }
    if headers.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|found| found.as_bytes() != accept.as_bytes()) {
        return Err("the backend's Sec-WebSocket-Accept does not match the key it was sent".into());
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err("the backend chose an extension that was not offered".into());
    }
    match subprotocol {
        None => Ok(None),
        Some(Ok(name)) if offered.iter().any(|offer| offer == name) => Ok(Some(name.to_owned())),
        Some(_) => Err("the backend chose a subprotocol that was not offered".into()),
    }
}

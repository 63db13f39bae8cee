//! Asking the JSON API, over one connection that is kept.

use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::link::{Authority, WebhookUrl};

/// How long an answer may take: long enough for a natpulse that swaps, short enough to be told in time.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer. A thousand sessions, the most that is ever asked for, come to half a MiB.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// An admin port, and what opens it.
#[derive(Debug)]
pub struct Client {
    authority: Authority,
    /// What stands before `/api`; empty unless a proxy put something there.
    base: String,
    bearer: Option<HeaderValue>,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

/// Why there is no answer, for a person to read.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answers.
    Unreachable(String),
    /// Somebody says no.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(why) | Failure::Refused(why) => f.write_str(why),
        }
    }
}

/// What an answer says that is a refusal.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
}

impl Client {
    /// A client for the admin port at `url`, which shows `token` if there is one.
    ///
    /// # Errors
    /// The URL is no `http://HOST:PORT`, or the token cannot stand in a header.
    pub fn new(url: &str, token: Option<&str>) -> Result<Client, String> {
        let rule = |rule: &str| format!("{url}: must be {rule}");
        let WebhookUrl { authority, path_and_query, is_tls } =
            WebhookUrl::parse(url).map_err(|_| rule("http://HOST:PORT"))?;
        if is_tls || path_and_query.contains('?') {
            return Err(rule("http://HOST:PORT"));
        }
        let bearer = match token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| "the token: must be printable ASCII".to_owned())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Client { authority, base: path_and_query.trim_end_matches('/').to_owned(), bearer, sender: None })
    }

    /// The admin port, as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.base)
    }

    /// What a path tells.
    ///
    /// # Errors
    /// Why there is no answer, or none of use, for a person to read.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, String> {
        let body = self.text(Method::GET, path).await.map_err(|failure| failure.to_string())?;
        serde_json::from_slice(&body).map_err(|error| {
            format!("{} is no natpulse that speaks with this one: {path}: {error}", self.url())
        })
    }

    /// The body of what is answered, where that is no refusal.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn text(&mut self, method: Method, path: &str) -> Result<Bytes, Failure> {
        let is_reused = self.sender.is_some();
        let asked = match self.ask(&method, path).await {
            // The other end may close a connection that rests, and it may do so while we ask.
            Err(_) if is_reused => self.ask(&method, path).await,
            asked => asked,
        };
        let unreachable = |why| Failure::Unreachable(format!("cannot reach {}: {why}", self.url()));
        let (status, body) = asked.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        let said: Option<Refusal> = serde_json::from_slice(&body).ok();
        let said = said.map_or(String::new(), |refusal| format!(": {}", refusal.error));
        let advice = match (status, &self.bearer) {
            (StatusCode::UNAUTHORIZED, None) => "; name the token with --token-file",
            _ => "",
        };
        Err(Failure::Refused(format!("{} refuses {path}: {status}{said}{advice}", self.url())))
    }

    async fn ask(&mut self, method: &Method, path: &str) -> Result<(StatusCode, Bytes), String> {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(HOST, self.authority.to_string());
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let exchange = async {
            sender.ready().await.map_err(|error| error.to_string())?;
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            Ok::<_, String>((status, whole(answer).await?))
        };
        let answered = timeout(PATIENCE, exchange).await.map_err(|_| late())??;
        self.sender = Some(sender);
        Ok(answered)
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, String> {
        let connect = async {
            let address = (self.authority.host.as_str(), self.authority.port);
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let (sender, connection) = timeout(PATIENCE, connect).await.map_err(|_| late())??;
        // Whatever ends it is told to the next request.
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    Ok(body.map_err(|error| error.to_string())?.to_bytes())
}

fn late() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_port_is_named_by_its_url() {
        let url = |text: &str| Client::new(text, None).map(|client| client.url());
        assert_eq!(url("http://127.0.0.1:9464").unwrap(), "http://127.0.0.1:9464");
        assert_eq!(url("http://[::1]:9464/").unwrap(), "http://[::1]:9464");
        assert_eq!(url("http://example.com/natpulse/").unwrap(), "http://example.com:80/natpulse");
        for wrong in ["", "127.0.0.1:9464", "https://a:1", "http://", "http://a:1/?x", "http://u@a:1"] {
            let why = url(wrong).unwrap_err();
            assert!(why.starts_with(&format!("{wrong}: must be http://HOST:PORT")), "{why}");
        }
    }

    #[test]
    fn a_token_that_fits_into_no_header_is_refused_and_not_repeated() {
        let why = Client::new("http://a:1", Some("secret\nx")).unwrap_err();
        assert_eq!(why, "the token: must be printable ASCII");
        let client = Client::new("http://a:1", Some("a long secret")).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }
}

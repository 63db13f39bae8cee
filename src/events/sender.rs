//! Posts what the courier says, to the webhook. One request at a time keeps events in order; one connection is kept for
//! all of them.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::Queue;
use super::body::{body, signature};
use super::courier::{Batch, Step};
use crate::link::tls::Connector;
use crate::link::{Stream, WebhookUrl};
use crate::metrics::Delivery;

/// How long the receiver may take to answer, from the dial on.
const ANSWER: Duration = Duration::from_secs(10);
/// How much there may be behind the head of an answer, in bytes, and how long it may take. Nobody reads it; a connection
/// on which more would come is not used again.
const REST: (usize, Duration) = (64 << 10, Duration::from_secs(1));
/// The header that says who it is.
const SIGNATURE: &str = "natpulse-signature";

/// Who delivers the events of a queue.
#[derive(Debug)]
pub struct Sender {
    queue: Queue,
    url: WebhookUrl,
    tls: Option<Connector>,
    secret: Option<Vec<u8>>,
    connection: Option<Connection>,
    /// Whether the last request was in vain.
    is_failing: bool,
}

/// A connection to the receiver, until it is dropped.
#[derive(Debug)]
struct Connection {
    requests: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Sender {
    /// Will deliver to `url`, over TLS if there is a connector, and with signatures if there is a secret.
    pub fn new(queue: Queue, url: WebhookUrl, tls: Option<Connector>, secret: Option<Vec<u8>>) -> Sender {
        Sender { queue, url, tls, secret, connection: None, is_failing: false }
    }

    /// Delivers until nothing waits any more after `is_over` was cancelled, or until `deadline` is; more eagerly once
    /// `drain` is.
    pub async fn run(
        mut self,
        drain: CancellationToken,
        is_over: CancellationToken,
        deadline: CancellationToken,
    ) {
        let queue = self.queue.clone();
        tokio::select! {
            () = self.deliver_all(&drain, &is_over) => {}
            () = deadline.cancelled() => {
                let left = queue.with(|courier| courier.kept());
                if left > 0 {
                    warn!(left, "the drain window is over; events are left undelivered");
                }
            }
        }
    }

    async fn deliver_all(&mut self, drain: &CancellationToken, is_over: &CancellationToken) {
        let begun = Instant::now();
        let mut has_hurried = false;
        loop {
            if drain.is_cancelled() && !has_hurried {
                has_hurried = true;
                self.queue.with(|courier| courier.hurry());
            }
            // Asked first: what was pushed before it is over is seen by the step.
            let was_over = is_over.is_cancelled();
            match self.queue.with(|courier| courier.step(begun.elapsed())) {
                Step::Deliver(batch) => {
                    let delivery = self.deliver(&batch).await;
                    self.queue.metrics().requested(delivery, batch.len());
                    self.queue.with(|courier| match delivery {
                        Delivery::Delivered => courier.delivered(),
                        Delivery::Refused | Delivery::Failed => {
                            courier.failed(begun.elapsed(), rand::random())
                        }
                    });
                }
                Step::Rest(until) => tokio::select! {
                    () = sleep_until(begun + until) => {}
                    () = drain.cancelled(), if !has_hurried => {}
                },
                Step::Idle if was_over => return,
                Step::Idle => tokio::select! {
                    () = self.queue.news() => {}
                    () = is_over.cancelled() => {}
                },
            }
        }
    }

    /// Tries once, and tells the log where that makes a difference.
    async fn deliver(&mut self, batch: &Batch) -> Delivery {
        let (delivery, error) = match timeout(ANSWER, self.post(body(batch))).await {
            Ok(Ok((connection, response))) => {
                let status = response.status();
                if is_at_end(response.into_body()).await {
                    self.connection = Some(connection);
                }
                match status.is_success() {
                    true => (Delivery::Delivered, String::new()),
                    false => (Delivery::Refused, format!("the answer is {status}")),
                }
            }
            Ok(Err(error)) => (Delivery::Failed, error.to_string()),
            Err(_) => (Delivery::Failed, format!("no answer within {} s", ANSWER.as_secs())),
        };
        let webhook = &self.url.authority;
        match (delivery, self.is_failing) {
            (Delivery::Delivered, false) => {}
            (Delivery::Delivered, true) => info!(%webhook, "the webhook takes events again"),
            (_, true) => debug!(%webhook, error, "the webhook still takes no events"),
            (_, false) => warn!(%webhook, error, "the webhook takes no events; trying again"),
        }
        self.is_failing = delivery != Delivery::Delivered;
        delivery
    }

    /// Sends a request, and comes out with the answer's beginning.
    async fn post(&mut self, body: Vec<u8>) -> Result<(Connection, Response<Incoming>), Error> {
        let kept = match self.connection.take() {
            Some(mut kept) => kept.requests.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut connection = match kept {
            Some(kept) => kept,
            None => connect(&self.url, self.tls.as_ref()).await?,
        };
        let mut request = Request::post(&self.url.path_and_query)
            .header(HOST, self.url.authority.to_string())
            .header(USER_AGENT, concat!("natpulse/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, signature(secret, &body));
        }
        let response = connection.requests.send_request(request.body(Full::from(body))?).await?;
        Ok((connection, response))
    }
}

async fn connect(url: &WebhookUrl, tls: Option<&Connector>) -> Result<Connection, Error> {
    let stream = TcpStream::connect((url.authority.host.as_str(), url.authority.port)).await?;
    let stream = Stream::tcp(stream)?;
    let stream = match tls {
        Some(tls) => tls.connect(stream, &url.authority.host).await?,
        None => stream,
    };
    let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer is told the same.
        let _ = driver.await;
    });
    Ok(Connection { requests, _driver: AbortOnDropHandle::new(driver) })
}

/// Reads what is left of an answer; returns whether that was all.
async fn is_at_end(body: Incoming) -> bool {
    let (most, patience) = REST;
    timeout(patience, Limited::new(body, most).collect()).await.is_ok_and(|read| read.is_ok())
}

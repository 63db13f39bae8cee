//! What the JSON API answers. Times are seconds since the UNIX epoch, lengths of time are seconds. Fields that this
//! natpulse does not know are passed over, so that it can watch a newer one.

use serde::Deserialize;

use super::query::Query;
use crate::operator::Client;

/// Everything that is asked for at once.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Which sessions these are.
    pub(super) query: Query,
    pub(super) status: Status,
    pub(super) bridges: List<Bridge>,
    pub(super) networks: List<Network>,
    pub(super) deaths: List<Death>,
    pub(super) sessions: List<Session>,
}

impl Snapshot {
    /// Asks for all of it.
    ///
    /// # Errors
    /// Why there is no answer, or none of use, for a person to read.
    pub(super) async fn ask(client: &mut Client, query: &Query) -> Result<Snapshot, String> {
        Ok(Snapshot {
            query: query.clone(),
            status: client.get("/api/status").await?,
            bridges: client.get("/api/bridges?limit=100").await?,
            networks: client.get("/api/networks?limit=100&sort=connections&order=desc").await?,
            deaths: client.get("/api/deaths?limit=100").await?,
            sessions: client.get(&query.path()).await?,
        })
    }
}

/// A part of a list, and how long the list is.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) total: u64,
    pub(super) offset: u64,
    pub(super) items: Vec<T>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) started: f64,
    pub(super) now: f64,
    pub(super) is_draining: bool,
    pub(super) sessions: Sessions,
    pub(super) uplink: Traffic,
    pub(super) downlink: Traffic,
    pub(super) beats: Beats,
    pub(super) deaths: Deaths,
    pub(super) networks: Networks,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sessions {
    pub(super) active: u64,
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) limit: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Traffic {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Beats {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) missed: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Deaths {
    pub(super) client: u64,
    pub(super) backend: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Networks {
    pub(super) learning: u64,
    pub(super) settled: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) listen: String,
    pub(super) backend: String,
    pub(super) active: u64,
    pub(super) opened: u64,
    pub(super) uplink: Traffic,
    pub(super) downlink: Traffic,
    pub(super) deaths: Deaths,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) bridge: String,
    pub(super) client: Option<String>,
    pub(super) opened: f64,
    pub(super) last_message: Option<f64>,
    pub(super) uplink: Traffic,
    pub(super) downlink: Traffic,
    pub(super) interval_s: Intervals,
}

/// The intervals at which the two sides of a session are beaten.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Intervals {
    pub(super) client: Option<f64>,
    pub(super) backend: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Network {
    pub(super) side: String,
    pub(super) name: String,
    pub(super) connections: u64,
    pub(super) policy: String,
    pub(super) proven_s: Option<f64>,
    pub(super) broken_s: Option<f64>,
    pub(super) in_use_s: Option<f64>,
    pub(super) is_settled: bool,
    pub(super) is_in_doubt: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Death {
    pub(super) at: f64,
    pub(super) session: u64,
    pub(super) bridge: String,
    pub(super) side: String,
    pub(super) client: Option<String>,
    pub(super) network: Option<String>,
    pub(super) cause: String,
    pub(super) silence_s: f64,
    pub(super) returned: Option<f64>,
}

//! A session from its opening to its end.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::admission::Place;
use super::redial::Redial;
use super::route::Route;
use crate::close::{Party, Severity};
use crate::link::BackendUrl;
use crate::probe;
use crate::session::{Ended, Outcome, Session};

/// A session that can begin, with what it needs beside itself until it ends.
pub(super) struct OpenedSession {
    pub(super) route: Arc<Route>,
    /// The backend that was dialled.
    pub(super) own: Option<Arc<BackendUrl>>,
    /// What another backend is to be told of the client, where this one may be replaced.
    pub(super) introduction: Box<[u8]>,
    pub(super) session: Session,
    /// Until the session has ended.
    pub(super) place: Option<Place>,
}

impl OpenedSession {
    /// Runs it, and tells the log and the metrics about it. What is kept while it waits is memory that every idle session
    /// takes.
    pub(super) async fn run(mut self: Box<Self>) {
        let active = self.route.metrics().open();
        let sessions = &self.route.shared.sessions;
        let listed = sessions.open(self.session.record(), || self.session.network(Party::Client));
        // How it went is told in one line, at its end.
        debug!(bridge = self.bridge(), session = self.number(), "session opened");
        self.watch();
        let mut redial = None;
        let outcome = loop {
            match self.session.run(&self.route.drain).await {
                Ended::For(outcome) => break outcome,
                Ended::Backend(reason) => {
                    let reason = reason.label();
                    warn!(bridge = self.bridge(), session = self.number(), reason, "dialling again");
                }
            }
            let redial = redial.get_or_insert_with(|| Box::new(Redial::new(self.session.begun())));
            // Boxed, because a handshake needs far more memory than a session, and only for a moment.
            let dialled = redial.dial(&self.route, &self.own, &self.introduction, &self.session);
            let dialled = Box::pin(dialled).await;
            self.route.metrics().reconnected(dialled.is_some());
            match dialled {
                Some(dialled) => {
                    info!(bridge = self.bridge(), session = self.number(), "the backend is back");
                    let is_natpulse = dialled.is_natpulse;
                    self.own.clone_from(&dialled.own);
                    self.session.resume(self.route.backend_side(dialled), is_natpulse);
                    self.watch();
                }
                None => self.session.give_up(),
            }
        };
        active.close(outcome.reason, self.session.begun().elapsed());
        drop(listed);
        // Whoever reads that a session has ended may count on its place.
        drop(self.place.take());
        self.tell(&outcome);
    }

    fn bridge(&self) -> &str {
        &self.route.bridge.name
    }

    fn number(&self) -> u64 {
        self.session.record().number()
    }

    /// Tells the log how it ended.
    fn tell(&self, outcome: &Outcome) {
        let record = self.session.record();
        let [up, down] = [Party::Client, Party::Backend].map(|from| record.crossed(from));
        macro_rules! closed {
            ($level:ident) => {
                $level!(
                    bridge = self.bridge(),
                    session = self.number(),
                    reason = outcome.reason.label(),
                    detail = outcome.detail,
                    uplink_messages = up.messages(),
                    uplink_bytes = up.bytes(),
                    downlink_messages = down.messages(),
                    downlink_bytes = down.bytes(),
                    duration_ms = self.session.begun().elapsed().as_millis() as u64,
                    "session closed"
                )
            };
        }
        match outcome.reason.severity() {
            Severity::Info => closed!(info),
            Severity::Warn => closed!(warn),
        }
    }

    /// Sees to the network of the session's backend being probed, where that is to be done and nobody does it yet.
    fn watch(&self) {
        let Route { bridge, drain, shared, .. } = &*self.route;
        let prober = self.own.as_ref().and_then(|own| self.route.prober(own, &self.session));
        if let Some(prober) = prober {
            shared.tasks.spawn(probe::watch(prober, bridge.name.clone(), drain.clone()));
        }
    }
}

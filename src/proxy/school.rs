//! Who learns together: ends of the same side with the same settings share what they learn about networks, and it is
//! kept in a file from run to run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{info, warn};

use crate::close::Party;
use crate::config::{self, Heartbeat};
use crate::heartbeat::Settings;
use crate::metrics::{Metrics, SideMetrics};
use crate::networks::{Networks, Survey};
use crate::session::Upkeep;

/// Every table of networks there is.
#[derive(Debug)]
pub(super) struct School {
    settings: config::Networks,
    tables: HashMap<(bool, Settings), Table>,
}

#[derive(Debug)]
struct Table {
    networks: Arc<Networks>,
    /// Where it is kept, if it is.
    file: Option<PathBuf>,
}

impl School {
    pub(super) fn new(settings: config::Networks) -> School {
        School { settings, tables: HashMap::new() }
    }

    /// How an end of this bridge is kept alive. A table has the name of the first bridge that needs it, and with it
    /// what an earlier run left behind.
    pub(super) fn upkeep(
        &mut self,
        bridge: &str,
        party: Party,
        end: &Heartbeat,
        metrics: SideMetrics,
    ) -> Upkeep {
        let heartbeat = &end.settings;
        let config::Networks { ipv4_prefix, ipv6_prefix, capacity, directory } = &self.settings;
        let is_client = party == Party::Client;
        let table = self.tables.entry((is_client, heartbeat.clone())).or_insert_with(|| {
            let side = if is_client { "clients" } else { "backends" };
            let file = directory.as_ref().filter(|_| heartbeat.policy.learns());
            let file = file.map(|directory| directory.join(format!("{bridge}.{side}")));
            let table = Table { networks: Networks::new(heartbeat.clone(), *capacity), file };
            table.load();
            table
        });
        let networks = table.networks.clone();
        Upkeep {
            heartbeat: heartbeat.clone(),
            networks,
            beat: end.beat.as_ref().map(|legacy| legacy.beat.clone()),
            answer: end.beat.as_ref().is_some_and(|legacy| legacy.answer),
            ipv4_prefix: *ipv4_prefix,
            ipv6_prefix: *ipv6_prefix,
            metrics,
        }
    }

    /// All tables, each with the side whose networks it holds.
    pub(super) fn tables(&self) -> Vec<(Party, Arc<Networks>)> {
        let side = |is_client: bool| if is_client { Party::Client } else { Party::Backend };
        self.tables.iter().map(|((is_client, _), table)| (side(*is_client), table.networks.clone())).collect()
    }

    /// What is known of all networks on one side.
    fn survey(&self, party: Party) -> Survey {
        let mut survey = Survey::default();
        for ((is_client, _), table) in &self.tables {
            if *is_client == (party == Party::Client) {
                table.networks.survey(&mut survey);
            }
        }
        survey
    }

    /// Tells the metrics what is known of networks.
    pub(super) fn count(&self, metrics: &Metrics) {
        for party in [Party::Client, Party::Backend] {
            let mut survey = self.survey(party);
            let (learning, settled) = (survey.learning, survey.settled);
            let percentile = |percent| survey.percentile(percent).unwrap_or_default();
            metrics.networks(party, learning, settled, percentile);
        }
    }

    /// Writes every table to its file. Blocks.
    pub(super) fn save(&self) {
        for Table { networks, file } in self.tables.values() {
            if let Some(file) = file
                && let Err(error) = networks.save(file)
            {
                warn!(file = %file.display(), %error, "cannot keep what was learned about networks");
            }
        }
    }
}

impl Table {
    fn load(&self) {
        let Some(file) = &self.file else {
            return;
        };
        match self.networks.load(file) {
            Ok(networks) => info!(file = %file.display(), networks, "networks known from an earlier run"),
            Err(error) => {
                warn!(file = %file.display(), %error, "what an earlier run learned about networks is ignored");
            }
        }
    }
}

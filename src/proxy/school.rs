//! Who learns together: ends of the same side with the same settings share what they learn about networks.

use std::collections::HashMap;
use std::sync::Arc;

use crate::close::Party;
use crate::config;
use crate::heartbeat::Settings;
use crate::networks::Networks;
use crate::session::Upkeep;

/// Every table of networks there is.
#[derive(Debug)]
pub(super) struct School {
    settings: config::Networks,
    tables: HashMap<(bool, Settings), Arc<Networks>>,
}

impl School {
    pub(super) fn new(settings: config::Networks) -> School {
        School { settings, tables: HashMap::new() }
    }

    /// How ends with these settings are kept alive.
    pub(super) fn upkeep(&mut self, party: Party, heartbeat: &Settings) -> Upkeep {
        let is_client = party == Party::Client;
        let capacity = self.settings.capacity;
        let table = self.tables.entry((is_client, heartbeat.clone()));
        let networks = table.or_insert_with(|| Networks::new(heartbeat.clone(), capacity)).clone();
        let config::Networks { ipv4_prefix, ipv6_prefix, .. } = self.settings;
        Upkeep { heartbeat: heartbeat.clone(), networks, ipv4_prefix, ipv6_prefix }
    }
}

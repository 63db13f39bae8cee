//! Who learns together: ends of the same side with the same settings share what they learn about networks, and it is
//! kept in a file from run to run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    tables: Mutex<HashMap<(bool, Settings), Table>>,
}

#[derive(Clone, Debug)]
struct Table {
    networks: Arc<Networks>,
    /// Where it is kept, if it is.
    file: Option<PathBuf>,
}

impl School {
    pub(super) fn new(settings: config::Networks) -> School {
        School { settings, tables: Mutex::default() }
    }

    /// How an end of this bridge is kept alive. A table has the name of the first bridge that needs it, and with it
    /// what an earlier run left behind, or an earlier table of that name. Blocks.
    pub(super) fn upkeep(&self, bridge: &str, party: Party, end: &Heartbeat, metrics: SideMetrics) -> Upkeep {
        let heartbeat = &end.settings;
        let config::Networks { ipv4_prefix, ipv6_prefix, capacity, directory } = &self.settings;
        let is_client = party == Party::Client;
        let mut tables = self.lock();
        let key = (is_client, heartbeat.clone());
        let side = if is_client { "clients" } else { "backends" };
        let file = directory.as_ref().filter(|_| heartbeat.policy.learns());
        let file = file.map(|directory| directory.join(format!("{bridge}.{side}")));
        if tables.get(&key).is_none_or(|table| table.file.is_none()) {
            for earlier in tables.values_mut().filter(|table| table.file.is_some() && table.file == file) {
                earlier.save();
                earlier.file = None;
            }
        }
        let table = tables.entry(key).or_insert_with(|| {
            let table = Table { networks: Networks::new(heartbeat.clone(), *capacity), file: file.clone() };
            table.load();
            table
        });
        table.file = table.file.take().or(file);
        let networks = table.networks.clone();
        drop(tables);
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

    /// What is known of all networks on one side.
    fn survey(&self, party: Party) -> Survey {
        let mut survey = Survey::default();
        let is_ours = |(is_client, _): &(bool, Settings)| *is_client == (party == Party::Client);
        let tables: Vec<_> =
            self.lock().iter().filter(|(key, _)| is_ours(key)).map(|(_, table)| table.clone()).collect();
        tables.iter().for_each(|table| table.networks.survey(&mut survey));
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
        // Without the lock: disks may take their time.
        let tables: Vec<_> = self.lock().values().cloned().collect();
        tables.iter().for_each(Table::save);
    }

    /// Forgets tables that no bridge and no session needs any more, once they are written. Blocks.
    pub(super) fn forget(&self) {
        self.save();
        // A table's own reference is the last.
        self.lock().retain(|_, table| Arc::strong_count(&table.networks) > 1);
    }

    /// Nothing in here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, HashMap<(bool, Settings), Table>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn save(&self) {
        if let Some(file) = &self.file
            && let Err(error) = self.networks.save(file)
        {
            warn!(file = %file.display(), %error, "cannot keep what was learned about networks");
        }
    }

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_learned_goes_on_under_other_settings_and_is_kept_under_one_name() {
        let directory = std::env::temp_dir().join(format!("natpulse-school-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let settings = config::Networks { directory: Some(directory.clone()), ..config::Networks::default() };
        let school = School::new(settings);
        let metrics = Metrics::new().unwrap();
        let end = |max| {
            let settings = Settings { max: std::time::Duration::from_secs(max), ..Settings::default() };
            Heartbeat { settings, beat: None }
        };
        let upkeep = |bridge: &str, max| {
            school.upkeep(bridge, Party::Client, &end(max), metrics.side(bridge, Party::Client))
        };
        let files = || {
            let tables = school.lock();
            let mut kept: Vec<_> =
                tables.iter().map(|((_, it), table)| (it.max.as_secs(), table.file.clone())).collect();
            kept.sort();
            kept
        };
        let (ours, another) = (Some(directory.join("a.clients")), Some(directory.join("b.clients")));

        let first = upkeep("a", 600);
        assert!(Arc::ptr_eq(&first.networks, &upkeep("b", 600).networks), "the same settings learn together");
        assert_eq!(files(), [(600, ours.clone())]);
        // The bridge has changed: what it knew is written, and read by the new table, which has the file from then on.
        let second = upkeep("a", 300);
        assert!(directory.join("a.clients").exists());
        assert_eq!(files(), [(300, ours.clone()), (600, None)]);
        // And back again, to the table that its sessions have not left yet.
        let third = upkeep("a", 600);
        assert!(Arc::ptr_eq(&first.networks, &third.networks));
        assert_eq!(files(), [(300, None), (600, ours.clone())]);
        let other = upkeep("b", 120);
        assert_eq!(files(), [(120, another), (300, None), (600, ours.clone())]);
        drop((second, other));
        school.forget();
        assert_eq!(files(), [(600, ours)], "nobody needs the others");
        assert!(directory.join("b.clients").exists(), "but what they knew is kept");
        fs::remove_dir_all(directory).unwrap();
    }
}

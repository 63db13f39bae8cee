//! The connections that carry nothing: does what the prober says, and tells it what came of it.

use core::time::Duration;
use std::collections::HashMap;

use super::nat::{Fate, Mapping};
use super::world::{Event, REPLY, World};
use crate::heartbeat::{Outcome, ProbeId, Step};

/// The probes of one network.
#[derive(Debug, Default)]
pub(super) struct Probes {
    running: HashMap<u64, Probe>,
    /// Connections that have just spoken and may go on with another silence. They are closed when there is none.
    spare: u32,
    /// Which rest is the present one, and until when.
    rest: (u64, Duration),
}

#[derive(Debug)]
struct Probe {
    id: ProbeId,
    mapping: Mapping,
    began: Duration,
    silence: Duration,
}

impl World<'_> {
    /// Does what the prober of a network wants done.
    pub(super) fn pump(&mut self, network: usize) {
        let Some(id) = self.ids[network] else {
            return;
        };
        loop {
            match self.networks.probe_step(id, self.now) {
                Step::Start { probe, silence } => self.start(network, probe, silence),
                Step::Stop(probe) => self.probes[network].running.retain(|_, it| it.id != probe),
                Step::Wait => break,
                Step::Rest { until } => {
                    if until != Duration::MAX && self.probes[network].rest.1 != until {
                        let serial = self.serial();
                        self.probes[network].rest = (serial, until);
                        self.schedule(until, Event::ProbeRest { network, serial });
                    }
                    break;
                }
            }
        }
        self.probes[network].spare = 0;
    }

    fn start(&mut self, network: usize, id: ProbeId, silence: Duration) {
        let serial = self.serial();
        let late = self.lateness();
        let probes = &mut self.probes[network];
        if probes.spare > 0 {
            probes.spare -= 1;
        } else {
            self.counted.probe_packets += 1;
        }
        let probe = Probe { id, mapping: Mapping { used: self.now }, began: self.now, silence };
        probes.running.insert(serial, probe);
        self.schedule(self.now + silence + late, Event::Probe { network, serial, attempt: 1 });
    }

    pub(super) fn on_probe(&mut self, network: usize, serial: u64, attempt: u8) {
        let mishap = self.mishap();
        let nat = self.nat(network);
        let Some(probe) = self.probes[network].running.get_mut(&serial) else {
            return;
        };
        if attempt == 1 {
            probe.silence = self.now - probe.began;
        }
        let silence = probe.silence;
        let outcome = if attempt > 2 {
            // A fresh connection tells whether the path works. It can go on as a probe.
            self.counted.probe_packets += 1;
            Outcome::Lost { silence }
        } else {
            self.counted.probe_packets += 1;
            match probe.mapping.beat(nat, false, mishap, self.now) {
                Fate::Answered => Outcome::Survived { silence },
                Fate::Reset => {
                    self.counted.probe_packets += 1;
                    Outcome::Lost { silence }
                }
                Fate::Dropped => {
                    let event = Event::Probe { network, serial, attempt: attempt + 1 };
                    self.schedule(self.now + REPLY, event);
                    return;
                }
            }
        };
        let probe = self.probes[network].running.remove(&serial).expect("it was there a moment ago");
        let outcome = if self.has_restarted_since(probe.began) { Outcome::Unclear } else { outcome };
        self.probes[network].spare = 1;
        if let Some(id) = self.ids[network] {
            let wake = self.networks.probed(id, probe.id, outcome, self.now);
            self.note(network);
            self.wake(wake);
            self.pump(network);
        }
    }

    pub(super) fn on_probe_rest(&mut self, network: usize, serial: u64) {
        if self.probes[network].rest.0 == serial {
            self.pump(network);
        }
    }
}

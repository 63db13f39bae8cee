//! Where the ends of a session are, and in which networks.

use std::net::IpAddr;

use super::Session;
use crate::close::Party;
use crate::heartbeat::NetworkKey;
use crate::networks::Probing;

impl Session {
    /// The address of an end: the client's is not its connection's where a proxy speaks for it, unless it is the proxy's
    /// kernel that answers beats.
    pub(super) fn address(&self, party: Party) -> Option<IpAddr> {
        match party {
            Party::Client if self.client.role.is_none() && self.settings.client.beat.is_none() => {
                self.client.stream.peer_address()
            }
            Party::Client => Some(self.record.client()?.ip().to_canonical()),
            Party::Backend => self.backend.stream.peer_address(),
        }
    }

    /// The network of an end, where the policy learns.
    pub fn network(&self, party: Party) -> Option<NetworkKey> {
        let upkeep = self.settings.upkeep(party);
        let side = match party {
            Party::Client => &self.client,
            Party::Backend => &self.backend,
        };
        side.vigil.as_ref()?.seat.as_ref()?;
        upkeep.network(party, self.address(party)?, &side.stream)
    }

    /// The right to probe the network that the backend is reached through, where that is to be done and nobody does it
    /// yet, and the backend's address.
    pub fn probing(&self) -> Option<(Probing, IpAddr)> {
        let probing = self.backend.vigil.as_ref()?.seat.as_ref()?.probing()?;
        Some((probing, self.backend.stream.peer_address()?))
    }
}

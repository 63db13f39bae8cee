//! How much anyone may take. Pure: counters and token buckets; the time is an argument, and who acts on it is the proxy.

mod ledger;
mod rates;
#[cfg(test)]
mod tests;

pub use ledger::{Ceilings, Excess, Ledger, OfBridge};

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whom a limit is about: addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block(IpAddr);

/// Bits of an IPv6 address that are one's own to choose: a subscriber has a /64 at least (RFC 6177, RFC 4291 section
/// 2.5.4), and could have an address for each connection.
const IPV6_SUBSCRIBER: u8 = 64;

impl Block {
    /// The first bits of an address: `v4` or `v6` of them. An IPv4 address in IPv6 clothes is IPv4.
    fn of(address: IpAddr, v4: u8, v6: u8) -> Block {
        Block(match address.to_canonical() {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(v4.min(32))).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(v6.min(128))).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        })
    }

    /// What counts as one address.
    pub fn subscriber(address: IpAddr) -> Block {
        Block::of(address, 32, IPV6_SUBSCRIBER)
    }
}

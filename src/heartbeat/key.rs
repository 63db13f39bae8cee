//! What a network is called.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// The clients that share one NAT, as far as we can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkKey(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    V4(Ipv4Addr, u8),
    V6(Ipv6Addr, u8),
    Name(Box<str>),
}

/// The longest name of a network, in bytes: it comes from outside, and each is kept.
const MAX_NAME: usize = 64;

impl NetworkKey {
    /// The network of an address: its first `v4_bits` or `v6_bits` bits. An IPv4 address in IPv6 clothes is IPv4.
    pub fn of(address: IpAddr, v4_bits: u8, v6_bits: u8) -> NetworkKey {
        NetworkKey(match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = v4_bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Kind::V4(Ipv4Addr::from_bits(address.to_bits() & mask), bits)
            }
            IpAddr::V6(address) => {
                let bits = v6_bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Kind::V6(Ipv6Addr::from_bits(address.to_bits() & mask), bits)
            }
        })
    }

    /// A network with a name of its own, of which the first 64 bytes count, and control characters do not.
    pub fn named(name: &str) -> NetworkKey {
        let mut kept: String = name.chars().filter(|c| !c.is_control()).collect();
        kept.truncate(kept.floor_char_boundary(MAX_NAME));
        NetworkKey(Kind::Name(kept.into()))
    }
}

impl fmt::Display for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::V4(address, bits) => write!(f, "{address}/{bits}"),
            Kind::V6(address, bits) => write!(f, "{address}/{bits}"),
            Kind::Name(name) => write!(f, "name:{name}"),
        }
    }
}

impl FromStr for NetworkKey {
    type Err = ();

    fn from_str(text: &str) -> Result<NetworkKey, ()> {
        if let Some(name) = text.strip_prefix("name:") {
            return Ok(NetworkKey::named(name));
        }
        let (address, bits) = text.split_once('/').ok_or(())?;
        let bits = bits.parse().map_err(|_| ())?;
        Ok(NetworkKey::of(address.parse().map_err(|_| ())?, bits, bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_prefix_share_a_network() {
        let of = |text: &str| NetworkKey::of(text.parse().unwrap(), 24, 48).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(of("::ffff:192.0.2.200"), "192.0.2.0/24");
        assert_eq!(of("2001:db8:1:2::3"), "2001:db8:1::/48");
        let everyone = NetworkKey::of("192.0.2.7".parse().unwrap(), 0, 0);
        assert_eq!(everyone.to_string(), "0.0.0.0/0");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["192.0.2.0/24", "2001:db8:1::/48", "name:Jakarta cell 7"] {
            assert_eq!(text.parse::<NetworkKey>().unwrap().to_string(), text);
        }
        assert!("192.0.2.0".parse::<NetworkKey>().is_err());
        assert_eq!(NetworkKey::named("a\nb").to_string(), "name:ab");
    }
}

//! Which addresses a name may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Which addresses may be dialled, whatever a name resolves to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Any: the operator has named the host.
    #[default]
    Anywhere,
    /// Those of other machines: a client has named the host, or a part of it.
    Elsewhere,
    /// Those in these networks.
    Within(Vec<IpNet>),
}

/// Addresses at which clouds tell a machine its own secrets, and which are none of the kinds that are refused anyway:
/// 100.100.100.200 (Alibaba), 168.63.129.16 (Azure), fd00:ec2::254 (AWS).
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl Reach {
    /// Whether an address may be dialled.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Reach::Anywhere => true,
            Reach::Elsewhere => match address {
                IpAddr::V4(address) => is_elsewhere_v4(address),
                IpAddr::V6(address) => is_elsewhere_v6(address),
            },
            Reach::Within(networks) => networks.iter().any(|network| network.contains(&address)),
        }
    }
}

/// Neither this machine, nor its own link, nor several machines, nor a cloud's metadata. 192.0.0.0/24 is for protocols
/// (RFC 6890), 0.0.0.0/8 and 240.0.0.0/4 are nobody's; the kernel takes 0.0.0.0 for this machine.
fn is_elsewhere_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    !(address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || octets[0] == 0
        || octets[0] >= 240
        || octets[..3] == [192, 0, 0]
        || METADATA_V4.contains(&address))
}

/// The same, and the addresses that lead to such an IPv4 one: `::/96` (RFC 4291), in which `::` and `::1` are, `64:ff9b::/96` (NAT64, RFC 6052) and
/// `2002::/16` (6to4, RFC 3056). `::ffff:0:0/96` has become IPv4 before.
fn is_elsewhere_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let ipv4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    let inner = match segments {
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(ipv4(high, low)),
        [0x2002, high, low, ..] => Some(ipv4(high, low)),
        _ => None,
    };
    let is_near = address.is_multicast() || address.is_unicast_link_local() || address == METADATA_V6;
    !is_near && inner.is_none_or(is_elsewhere_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(reach: &Reach, address: &str) -> bool {
        reach.allows(address.parse().unwrap())
    }

    #[test]
    fn this_machine_its_link_and_metadata_are_not_elsewhere() {
        for address in [
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.192",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
        ] {
            assert!(!allows(&Reach::Elsewhere, address), "{address}");
            assert!(allows(&Reach::Anywhere, address), "{address}");
        }
    }

    #[test]
    fn machines_of_private_and_public_networks_are_elsewhere() {
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.2.1",
            "100.64.0.1",
            "8.8.8.8",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(allows(&Reach::Elsewhere, address), "{address}");
        }
    }

    #[test]
    fn networks_that_are_named_are_all_there_is() {
        let reach = Reach::Within(vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()]);
        for address in ["10.255.0.1", "127.0.0.1", "::ffff:10.0.0.1"] {
            assert!(allows(&reach, address), "{address}");
        }
        for address in ["11.0.0.1", "127.0.0.2", "::1", "::ffff:169.254.169.254", "::10.0.0.1"] {
            assert!(!allows(&reach, address), "{address}");
        }
    }
}

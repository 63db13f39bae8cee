//! Who may come in by address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks whose clients may come in, and networks whose clients may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// If there are any: nobody else may.
    pub allow: Vec<IpNet>,
    /// Nobody of these may, whatever `allow` says.
    pub deny: Vec<IpNet>,
}

impl Addresses {
    /// Whether this address may come in. A client without one, as behind a Unix socket, is of no network.
    pub(super) fn admit(&self, address: Option<IpAddr>) -> bool {
        // An IPv4 client that reached an IPv6 socket is still the same client.
        let address = address.map(|address| address.to_canonical());
        let is_in = |networks: &[IpNet]| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
        };
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Vec<IpNet> {
        text.split_whitespace().map(|network| network.parse().unwrap()).collect()
    }

    #[test]
    fn deny_wins_and_an_allow_list_refuses_everybody_else() {
        for (allow, deny, address, is_in) in [
            ("", "", "192.0.2.7", true),
            ("10.0.0.0/8", "", "10.1.2.3", true),
            ("10.0.0.0/8", "", "11.1.2.3", false),
            ("10.0.0.0/8", "", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", false),
            ("10.0.0.0/8", "10.1.0.0/16", "10.2.2.3", true),
            ("", "10.1.0.0/16", "::ffff:10.1.2.3", false),
            ("", "10.1.0.0/16", "10.2.2.3", true),
            ("2001:db8::/32", "", "2001:db8::1", true),
            ("2001:db8::/32", "", "2001:db9::1", false),
            ("0.0.0.0/0", "", "2001:db8::1", false),
        ] {
            let addresses = Addresses { allow: networks(allow), deny: networks(deny) };
            assert_eq!(addresses.admit(Some(address.parse().unwrap())), is_in, "{address}: {addresses:?}");
        }
        let anyone = Addresses { allow: Vec::new(), deny: networks("0.0.0.0/0 ::/0") };
        assert!(anyone.admit(None), "of no network that is denied");
        let some = Addresses { allow: networks("0.0.0.0/0 ::/0"), deny: Vec::new() };
        assert!(!some.admit(None), "of no network that is allowed");
    }
}

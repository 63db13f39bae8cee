//! Durations, sizes and networks as people write them.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// What a duration must look like.
pub(super) const DURATION_RULE: &str = "a duration such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"7d\"";
/// What a size must look like.
pub(super) const SIZE_RULE: &str = "a size of 1 byte or more such as 512, \"64KiB\", \"16MiB\" or \"1GiB\"";

/// What a list of networks must look like.
pub(super) const NETWORKS_RULE: &str =
    "a list of addresses and networks such as [\"192.0.2.7\", \"10.0.0.0/8\", \"2001:db8::/32\"]";

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a duration such as `30s`; `None` if it is none.
pub fn duration(text: &str) -> Option<Duration> {
    scaled(text, &DURATIONS).map(Duration::from_millis)
}

/// Reads a size in bytes; a bare number is bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| scaled(text, &SIZES))
}

/// Reads a network; an address alone is one of its own.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    (network.trunc() == network).then_some(network)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a duration in the largest unit that loses nothing.
pub(super) fn write_duration(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    let fits = |(_, factor): &&(&str, u64)| millis.is_multiple_of(*factor) && millis >= *factor;
    let (unit, factor) = DURATIONS.iter().rev().find(fits).unwrap_or(&DURATIONS[1]);
    format!("{}{unit}", millis / factor)
}

/// Writes a size in the largest unit that loses nothing.
pub(super) fn write_size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes.is_multiple_of(*factor) && bytes >= *factor;
    let (unit, factor) = SIZES.iter().find(fits).unwrap_or(&SIZES[3]);
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["500ms", "30s", "90s", "5m", "1h", "36h", "7d"] {
            assert_eq!(write_duration(duration(text).unwrap()), text);
        }
        for text in ["512B", "64KiB", "16MiB", "3GiB", "1500B"] {
            assert_eq!(write_size(size(text).unwrap()), text);
        }
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(write_duration(Duration::ZERO), "0s");
        for text in ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"] {
            assert_eq!(network(text).unwrap().to_string(), text);
        }
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        for text in ["", "10", "10.0.0.1/8", "10.0.0.0/33", "host"] {
            assert!(network(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in
            ["", "s", "10", "10 parsecs", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in ["", "KiB", "1KB", "-1", "1.5MiB", "18446744073709551615GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}

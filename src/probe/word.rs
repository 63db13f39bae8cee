//! What the two sides of a probe say to each other: one line of text per WebSocket message. Pure.
//!
//! ```text
//! far    natpulse 1f3a5c7e90b2d4f6 198.51.100.0/24     who I am, and the network that I see you in
//! near   silence 240000                                be silent for so many milliseconds, then speak
//! far    silent 240001                                 so long it really was
//! near   heard
//! far    done                                          and the next silence may be asked for
//! ```

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// The longest line, in bytes: what fits into a control frame fits through anything.
pub(super) const LONGEST: u64 = 125;

/// The longest silence that may be asked for. No middlebox is set to more by default.
const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 3600);

/// A natpulse process, as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(pub u64);

/// What the side says that was dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Far {
    /// The first word on a connection.
    Hello {
        /// Who speaks.
        instance: Instance,
        /// The network in which it sees the other.
        network: String,
    },
    /// The silence is over, and was so long.
    Silent(Duration),
    /// The answer was heard.
    Done,
}

/// What the side says that dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Near {
    /// Be silent for so long.
    Silence(Duration),
    /// The word that ended the silence has arrived.
    Heard,
}

/// A line that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonsense;

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Far::Hello { instance, network } => write!(f, "natpulse {instance} {network}"),
            Far::Silent(silence) => write!(f, "silent {}", silence.as_millis()),
            Far::Done => f.write_str("done"),
        }
    }
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Near::Silence(silence) => write!(f, "silence {}", silence.as_millis()),
            Near::Heard => f.write_str("heard"),
        }
    }
}

impl FromStr for Far {
    type Err = Nonsense;

    fn from_str(line: &str) -> Result<Far, Nonsense> {
        match words(line)?.as_slice() {
            ["natpulse", instance, network] if instance.len() == 16 => {
                let instance = u64::from_str_radix(instance, 16).map(Instance).map_err(|_| Nonsense)?;
                Ok(Far::Hello { instance, network: (*network).to_owned() })
            }
            ["silent", millis] => Ok(Far::Silent(silence(millis)?)),
            ["done"] => Ok(Far::Done),
            _ => Err(Nonsense),
        }
    }
}

impl FromStr for Near {
    type Err = Nonsense;

    fn from_str(line: &str) -> Result<Near, Nonsense> {
        match words(line)?.as_slice() {
            ["silence", millis] => {
                let asked = silence(millis)?;
                let is_sane = asked > Duration::ZERO && asked <= LONGEST_SILENCE;
                if is_sane { Ok(Near::Silence(asked)) } else { Err(Nonsense) }
            }
            ["heard"] => Ok(Near::Heard),
            _ => Err(Nonsense),
        }
    }
}

/// The words of a line, of which each is separated from the next by one space.
fn words(line: &str) -> Result<Vec<&str>, Nonsense> {
    let is_printable = line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let words: Vec<&str> = line.split(' ').collect();
    let is_sane = is_printable && line.len() as u64 <= LONGEST && words.iter().all(|word| !word.is_empty());
    if is_sane { Ok(words) } else { Err(Nonsense) }
}

fn silence(millis: &str) -> Result<Duration, Nonsense> {
    let is_number = millis.bytes().all(|byte| byte.is_ascii_digit());
    let millis = millis.parse().ok().filter(|_| is_number);
    millis.map(Duration::from_millis).ok_or(Nonsense)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let hello = Far::Hello { instance: Instance(0x1f3a), network: "2001:db8:1::/48".into() };
        assert_eq!(hello.to_string(), "natpulse 0000000000001f3a 2001:db8:1::/48");
        for word in [hello, Far::Silent(Duration::from_millis(240_001)), Far::Done] {
            assert_eq!(word.to_string().parse(), Ok(word));
        }
        for word in [Near::Silence(Duration::from_secs(240)), Near::Silence(LONGEST_SILENCE), Near::Heard] {
            assert_eq!(word.to_string().parse(), Ok(word));
        }
    }

    #[test]
    fn what_is_no_line_of_ours_is_refused() {
        let long = format!("natpulse 0000000000001f3a {}", "x".repeat(100));
        for line in [
            "",
            " ",
            "done ",
            " done",
            "done done",
            "DONE",
            "silent",
            "silent x",
            "silent -1",
            "silent +1",
            "silent 1.5",
            "silent 99999999999999999999",
            "natpulse 1f3a 192.0.2.0/24",
            "natpulse 00000000000x1f3a 192.0.2.0/24",
            "natpulse 0000000000001f3a",
            "natpulse 0000000000001f3a a b",
            "natpulse 0000000000001f3a a\n",
            &long,
        ] {
            assert_eq!(line.parse::<Far>(), Err(Nonsense), "{line:?}");
        }
        for line in ["", "heard\n", "silence", "silence  5", "silence 5 5", "silent 5", "done", "ｓilence 5"]
        {
            assert_eq!(line.parse::<Near>(), Err(Nonsense), "{line:?}");
        }
    }

    #[test]
    fn absurd_silences_are_refused() {
        for millis in ["0", "86400001", "18446744073709551615", "18446744073709551616"] {
            assert_eq!(format!("silence {millis}").parse::<Near>(), Err(Nonsense), "{millis}");
        }
    }
}

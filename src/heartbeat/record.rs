//! What is learned, as text that outlives the process: a head line with the version, a line for each network, and a
//! last line with the checksum of everything above it. Times are moments since the UNIX epoch, so that whoever
//! reads it knows how old each line is.
//!
//! A file that was torn, edited or written by somebody else is refused as a whole: half of what was learned, taken for
//! all of it, would cost connections.

use core::fmt::{self, Write as _};

use super::network::Learned;
use super::smart::{Bracket, Doubt, Suspicion};
use super::{Ladder, NetworkKey, Networks};

const HEAD: &str = "natpulse networks 2";

/// Why a record was refused. Nothing of it has been taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// It does not begin as a record of this version does.
    Foreign,
    /// Its checksum does not fit: it was cut off or changed.
    Torn,
    /// A line cannot be read, although the checksum fits.
    Unreadable {
        /// Which line, from 1.
        line: usize,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Foreign => write!(f, "it does not begin with {HEAD:?}"),
            RecordError::Torn => f.write_str("its checksum does not fit: it was cut off or changed"),
            RecordError::Unreadable { line } => write!(f, "line {line} cannot be read"),
        }
    }
}

impl core::error::Error for RecordError {}

impl Networks {
    /// Everything learned, as text.
    pub fn export(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for (key, learned) in self.entries() {
            match learned {
                Learned::Nothing => {}
                Learned::Smart(bracket) => write_bracket(&mut text, bracket, key),
                Learned::Wechat(ladder) => write_ladder(&mut text, ladder, key),
            }
        }
        let sum = checksum(&text);
        text.push_str(&format!("checksum {sum:016x}\n"));
        text
    }

    /// Takes in what another run has learned, of as many networks as there is room for; returns how many were
    /// read. Lines of a policy that is not in use any more are skipped.
    ///
    /// # Errors
    /// The text is no record, or not all of one.
    pub fn import(&mut self, text: &str) -> Result<usize, RecordError> {
        if !text.starts_with(HEAD) {
            return Err(RecordError::Foreign);
        }
        let end = text.trim_end_matches('\n').rfind('\n').ok_or(RecordError::Torn)? + 1;
        let (body, last) = text.split_at(end);
        if last != format!("checksum {:016x}\n", checksum(body)) {
            return Err(RecordError::Torn);
        }
        let mut entries = Vec::new();
        for (place, line) in body.lines().enumerate().skip(1) {
            entries.push(read(line).ok_or(RecordError::Unreadable { line: place + 1 })?);
        }
        let wanted = core::mem::discriminant(&Learned::new(&self.settings().policy));
        entries.retain(|(_, learned)| core::mem::discriminant(learned) == wanted);
        let count = entries.len();
        for (key, learned) in entries {
            self.remember(key, learned);
        }
        Ok(count)
    }
}

fn write_bracket(text: &mut String, bracket: &Bracket, key: &NetworkKey) {
    let Bracket {
        proven_ms,
        refuted_ms,
        again_s,
        suspicion,
        doubt,
        renewed_s,
        retries,
        soon,
        lifted_s,
        lifted_ms,
    } = bracket;
    let refuted_ms = refuted_ms.unwrap_or(0);
    let (suspect_ms, check_s) = suspicion.map_or((0, 0), |it| (it.silence_ms, it.check_s));
    let (doubt_ms, before_ms) = doubt.map_or((0, 0), |it| (it.silence_ms, it.before_ms));
    let ends = format!("{proven_ms} {refuted_ms} {suspect_ms} {doubt_ms} {before_ms} {lifted_ms}");
    let times = format!("{check_s} {again_s} {renewed_s} {lifted_s}");
    writeln!(text, "smart {ends} {times} {retries} {soon} {key}").expect("a String takes everything");
}

fn write_ladder(text: &mut String, ladder: &Ladder, key: &NetworkKey) {
    let Ladder { current_ms, good, bad, is_settled, changed_s } = ladder;
    let numbers = format!("{current_ms} {good} {bad} {} {changed_s}", u8::from(*is_settled));
    writeln!(text, "wechat {numbers} {key}").expect("a String takes everything");
}

fn read(line: &str) -> Option<(NetworkKey, Learned)> {
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "smart" => {
            let ([proven_ms, refuted_ms, suspect_ms, doubt_ms, before_ms, lifted_ms, times @ ..], key) =
                numbers::<12>(rest)?;
            let [check_s, again_s, renewed_s, lifted_s, retries, soon] = times;
            let bracket = Bracket {
                proven_ms,
                refuted_ms: (refuted_ms > 0).then_some(refuted_ms),
                again_s,
                suspicion: (suspect_ms > 0).then_some(Suspicion { silence_ms: suspect_ms, check_s }),
                doubt: (doubt_ms > 0).then_some(Doubt { silence_ms: doubt_ms, before_ms }),
                renewed_s,
                retries: u8::try_from(retries).ok()?,
                soon: u8::try_from(soon).ok()?,
                lifted_s,
                lifted_ms,
            };
            Some((key, Learned::Smart(bracket)))
        }
        "wechat" => {
            let ([current_ms, good, bad, is_settled, changed_s], key) = numbers(rest)?;
            let (good, bad) = (u8::try_from(good).ok()?, u8::try_from(bad).ok()?);
            let ladder = Ladder { current_ms, good, bad, is_settled: is_settled == 1, changed_s };
            Some((key, Learned::Wechat(ladder)))
        }
        _ => None,
    }
}

/// `N` numbers and a network.
fn numbers<const N: usize>(text: &str) -> Option<([u32; N], NetworkKey)> {
    let mut parts = text.splitn(N + 1, ' ');
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = parts.next()?.parse().ok()?;
    }
    Some((numbers, parts.next()?.parse().ok()?))
}

/// FNV-1a with 64 bits: enough to notice a torn file; nobody who can write the file needs to forge one.
fn checksum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};
    use core::time::Duration;

    use super::*;
    use crate::heartbeat::{Departure, Policy, Settings, Wechat};

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn learned() -> Networks {
        let mut networks = Networks::new(Settings::default(), 100);
        for (number, name) in ["a", "a name with blanks"].into_iter().enumerate() {
            let seat = networks.join(NetworkKey::named(name), PEER, Duration::ZERO).0;
            networks.survived(
                seat,
                Duration::from_secs(100 + number as u64),
                Duration::from_secs(1_000_000_000),
            );
            let reset = Departure::Reset { silence: Duration::from_secs(200) };
            let _ = networks.leave(seat, reset, Duration::from_secs(1_000_000_200));
        }
        networks
    }

    #[test]
    fn what_was_learned_is_known_after_a_restart() {
        let text = learned().export();
        let mut networks = Networks::new(Settings::default(), 100);
        assert_eq!(networks.import(&text), Ok(2));
        assert_eq!(networks.export(), text);
    }

    #[test]
    fn a_smaller_table_keeps_the_networks_left_last() {
        let mut networks = Networks::new(Settings::default(), 1);
        assert_eq!(networks.import(&learned().export()), Ok(2));
        assert_eq!(networks.len(), 1);
        assert!(networks.export().contains("a name with blanks"));
    }

    #[test]
    fn a_torn_file_is_refused_wherever_it_was_torn() {
        let text = learned().export();
        for end in 0..text.len() {
            let mut networks = Networks::new(Settings::default(), 100);
            assert!(networks.import(&text[..end]).is_err(), "cut at {end}");
            assert!(networks.is_empty());
        }
    }

    #[test]
    fn a_changed_or_foreign_file_is_refused() {
        let mut networks = Networks::new(Settings::default(), 100);
        assert_eq!(networks.import("[server]\n"), Err(RecordError::Foreign));
        assert_eq!(networks.import(&learned().export().replace("100000", "900000")), Err(RecordError::Torn));
        let odd = format!("{HEAD}\nsmart 1 2 x\n");
        let odd = format!("{odd}checksum {:016x}\n", checksum(&odd));
        assert_eq!(networks.import(&odd), Err(RecordError::Unreadable { line: 2 }));
    }

    #[test]
    fn lines_of_another_policy_are_skipped() {
        let wechat = Settings { policy: Policy::Wechat(Wechat::default()), ..Settings::default() };
        assert_eq!(Networks::new(wechat, 100).import(&learned().export()), Ok(0));
    }
}

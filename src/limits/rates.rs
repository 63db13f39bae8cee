//! Token buckets, one for each address that was seen of late, in bounded memory.

use core::time::Duration;
use std::collections::HashMap;

use super::Block;

/// How much there is in a bucket, when it was last looked at.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In millionths of a token.
    micros: u64,
    at: Duration,
}

/// Buckets that fill with `rate` tokens a second up to `burst`. Who has none yet has a full one, so a bucket may be
/// forgotten when it has filled up.
#[derive(Debug)]
pub(super) struct Rates {
    rate: u64,
    burst: u64,
    young: HashMap<Block, Bucket>,
    /// Those of the generation before: what nobody asks for until the next one begins is forgotten.
    old: HashMap<Block, Bucket>,
    since: Duration,
}

/// Buckets of one generation: some 3 MiB. When there are more, generations are shorter, and with so many addresses nobody
/// needs to be forgiven his own.
const GENERATION: usize = 1 << 16;

const TOKEN: u64 = 1_000_000;

impl Rates {
    /// `rate` tokens a second, up to `burst`; both at least 1.
    pub(super) fn new(rate: u32, burst: u32) -> Rates {
        let (rate, burst) = (u64::from(rate.max(1)), u64::from(burst.max(1)));
        Rates { rate, burst, young: HashMap::new(), old: HashMap::new(), since: Duration::ZERO }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, who: Block, now: Duration) -> bool {
        let filling = Duration::from_millis(self.burst.saturating_mul(1000) / self.rate + 1);
        if self.young.len() >= GENERATION || now.saturating_sub(self.since) > filling {
            // What is forgotten here was last asked for a whole generation ago.
            self.old = core::mem::take(&mut self.young);
            self.since = now;
        }
        let full = self.burst * TOKEN;
        let known = self.young.get(&who).copied().or_else(|| self.old.remove(&who));
        let mut bucket = known.unwrap_or(Bucket { micros: full, at: now });
        let waited = u64::try_from(now.saturating_sub(bucket.at).as_micros()).unwrap_or(u64::MAX);
        bucket.micros = bucket.micros.saturating_add(waited.saturating_mul(self.rate)).min(full);
        bucket.at = now;
        let is_there = bucket.micros >= TOKEN;
        bucket.micros -= if is_there { TOKEN } else { 0 };
        self.young.insert(who, bucket);
        is_there
    }

    /// Buckets that are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

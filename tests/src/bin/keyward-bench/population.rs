//! Keys by their numbers: millions of them, none of which has to be remembered to be asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use keyward_core::clock::{Entropy, EntropyError, Timestamp};
use keyward_core::id::WorkspaceId;
use keyward_core::key::ApiKey;
use keyward_core::secret::{KeyDigest, PlainKey};
use keyward_core::store::StoredKey;

use crate::storage::Mint;

/// Keys of one workspace.
pub const PER_WORKSPACE: usize = 100_000;
/// When the first key was made. Each of the others was a millisecond after the one before it.
const BEGINNING: i64 = 1_705_311_000_000_000;

/// A multitude of keys, the same in every process.
#[derive(Clone)]
pub struct Population {
    mint: Mint,
    pub count: usize,
}

impl Population {
    pub fn new(count: usize) -> anyhow::Result<Self> {
        Ok(Self { mint: Mint::new()?, count })
    }

    /// The key with this number, as clients present it.
    pub fn text(&self, number: usize) -> anyhow::Result<String> {
        Ok(self.make(number)?.1.reveal().to_string())
    }

    /// What the key with this number is found by.
    pub fn digest(&self, number: usize) -> anyhow::Result<KeyDigest> {
        Ok(self.make(number)?.1.digest())
    }

    /// What is stored of the key with this number.
    pub fn record(&self, number: usize) -> anyhow::Result<StoredKey> {
        let (key, plain) = self.make(number)?;
        Ok(StoredKey { digest: plain.digest(), key })
    }

    /// The numbers of a few keys, from anywhere among all. No two of them are the same.
    pub fn spread(&self, few: usize) -> impl Iterator<Item = usize> + use<> {
        let count = self.count;
        // The step is a prime, larger than any number of keys there will be, so it shares no factor with
        // theirs and meets each of them before it meets one again.
        (0..few.min(count)).map(move |at| (at * 2_147_483_647) % count)
    }

    fn make(&self, number: usize) -> anyhow::Result<(ApiKey, PlainKey)> {
        let seed = u64::try_from(number)?;
        let at = Timestamp::from_micros(BEGINNING + 1000 * i64::try_from(number)?);
        let at = at.unwrap_or(Timestamp::MAX);
        let entropy = Numbered(AtomicU64::new(seed << 16));
        let (key, plain) = self.mint.key_at(at, &entropy)?;
        Ok((ApiKey { workspace_id: workspace(number), ..key }, plain))
    }
}

/// The workspace of the key with this number. Their ids ascend with the numbers.
pub fn workspace(number: usize) -> WorkspaceId {
    let workspace = number / PER_WORKSPACE;
    WorkspaceId::from_bytes((workspace as u128 + 1).to_be_bytes())
}

/// Randomness that is anything but: it repeats itself from a number. `SplitMix64` (Steele, Lea and Flood,
/// 2014), because making ten million keys is to take seconds.
struct Numbered(AtomicU64);

impl Entropy for Numbered {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            let state = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let mut word = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_number_always_makes_the_same_key_and_no_two_make_the_same() {
        let population = Population::new(1000).unwrap();
        let again = Population::new(1000).unwrap();
        let mut seen = HashSet::new();
        for number in 0..1000 {
            let record = population.record(number).unwrap();
            assert_eq!(record, again.record(number).unwrap());
            assert!(seen.insert(record.digest));
        }
    }

    #[test]
    fn what_is_spread_is_spread_over_all_and_repeats_nothing() {
        let population = Population::new(1000).unwrap();
        let few: HashSet<_> = population.spread(100).collect();
        assert_eq!(few.len(), 100);
        assert!(few.iter().any(|it| *it < 100) && few.iter().any(|it| *it > 900));
        assert_eq!(population.spread(5000).collect::<HashSet<_>>().len(), 1000);
    }
}

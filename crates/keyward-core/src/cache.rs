//! The cell of remembered records.
//!
//! It holds what the store said about a digest, until the record is evicted or makes room for
//! another. One rule makes it safe to answer from (`V4` of the revocation design): what a read of
//! the store brings is kept only if nothing was evicted between the beginning of that read and the
//! keeping of it. Otherwise a read from before a revocation could put the active record back after
//! the revocation had evicted it, and nothing would ever evict it again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use crate::key::ApiKey;
use crate::secret::KeyDigest;

/// Enough that threads seldom meet in one, few enough that small caches stay whole.
const SHARDS: usize = 64;
/// Below this many entries for each shard one shard is used.
const MIN_SHARD_ENTRIES: usize = 64;

/// Remembered records by digest, at most a fixed number of them.
///
/// Reads share a lock of one of 64 shards and copy a reference count. When a shard is full, a new
/// record takes the place of one that was not read since the hand of the clock last came by (second
/// chance; Corbató, 1968).
#[derive(Debug)]
pub struct RecordCache {
    shards: Box<[RwLock<Shard>]>,
}

/// What the cell knows of a digest.
#[derive(Debug)]
pub enum Lookup {
    /// The remembered record.
    Hit(Arc<ApiKey>),
    /// Nothing; the store must be asked, and the ticket says since when.
    Miss(FillTicket),
}

/// The moment at which a read of the store began, to be handed back with what it brought.
#[derive(Debug)]
pub struct FillTicket {
    evictions: u64,
}

#[derive(Debug, Default)]
struct Shard {
    /// How many evictions there have been here. Compared, never reset.
    evictions: u64,
    capacity: usize,
    index: HashTable<usize>,
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    digest: KeyDigest,
    record: Option<Arc<ApiKey>>,
    read_since: AtomicBool,
}

impl RecordCache {
    /// A cell for `entries` records; with 0 it remembers nothing.
    pub fn new(entries: usize) -> Self {
        let shards = if entries < SHARDS * MIN_SHARD_ENTRIES { 1 } else { SHARDS };
        let shard = || Shard { capacity: entries / shards, ..Shard::default() };
        Self { shards: (0..shards).map(|_| RwLock::new(shard())).collect() }
    }

    /// The remembered record of `digest`, or a ticket for the read that is needed now.
    pub fn lookup(&self, digest: &KeyDigest) -> Lookup {
        let shard = self.read(digest);
        match shard.slot_of(digest).and_then(|at| shard.slots[at].touch()) {
            Some(record) => Lookup::Hit(record),
            None => Lookup::Miss(FillTicket { evictions: shard.evictions }),
        }
    }

    /// Remembers what a read of the store brought, unless something was evicted since its ticket was
    /// drawn. Returns whether it is remembered. Comparing and keeping are one step under the lock
    /// that evicts.
    pub fn fill(&self, digest: &KeyDigest, ticket: &FillTicket, record: Arc<ApiKey>) -> bool {
        let mut shard = self.write(digest);
        if shard.evictions != ticket.evictions || shard.capacity == 0 {
            return false;
        }
        shard.keep(digest, record);
        true
    }

    /// Forgets `digest`, and makes every read that is under way in its shard forget what it brings.
    /// When this returns, no thread finds the record.
    pub fn evict(&self, digest: &KeyDigest) {
        let mut shard = self.write(digest);
        shard.evictions += 1;
        shard.forget(digest);
    }

    /// How many records are remembered.
    pub fn len(&self) -> usize {
        let count = |shard: &RwLock<Shard>| {
            shard.read().unwrap_or_else(PoisonError::into_inner).index.len()
        };
        self.shards.iter().map(count).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, digest: &KeyDigest) -> &RwLock<Shard> {
        // The last byte, because the first ones place the digest within its shard.
        &self.shards[usize::from(digest.as_bytes()[31]) % self.shards.len()]
    }

    /// Nothing under these locks panics; should something ever, the data is whole all the same.
    fn read(&self, digest: &KeyDigest) -> RwLockReadGuard<'_, Shard> {
        self.shard(digest).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, digest: &KeyDigest) -> RwLockWriteGuard<'_, Shard> {
        self.shard(digest).write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest is evenly distributed already.
fn hash(digest: &KeyDigest) -> u64 {
    let first = digest.as_bytes().first_chunk();
    u64::from_ne_bytes(*first.unwrap_or(&[0; 8]))
}

impl Slot {
    fn touch(&self) -> Option<Arc<ApiKey>> {
        let record = self.record.clone()?;
        // Writing only where it changes something keeps the line shared between cores.
        if !self.read_since.load(Ordering::Relaxed) {
            self.read_since.store(true, Ordering::Relaxed);
        }
        Some(record)
    }
}

impl Shard {
    fn slot_of(&self, digest: &KeyDigest) -> Option<usize> {
        self.index.find(hash(digest), |&at| self.slots[at].digest == *digest).copied()
    }

    fn keep(&mut self, digest: &KeyDigest, record: Arc<ApiKey>) {
        if let Some(at) = self.slot_of(digest) {
            self.slots[at].record = Some(record);
            return;
        }
        let at = self.free_slot();
        let slot =
            Slot { digest: *digest, record: Some(record), read_since: AtomicBool::new(false) };
        if at == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[at] = slot;
        }
        let slots = &self.slots;
        self.index.insert_unique(hash(digest), at, |&at| hash(&slots[at].digest));
    }

    /// A slot that holds no record: vacant, new, or made so.
    fn free_slot(&mut self) -> usize {
        if let Some(at) = self.vacant.pop() {
            return at;
        }
        if self.slots.len() < self.capacity {
            return self.slots.len();
        }
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            if !std::mem::replace(self.slots[at].read_since.get_mut(), false) {
                let digest = self.slots[at].digest;
                self.remove(&digest);
                return at;
            }
        }
    }

    fn forget(&mut self, digest: &KeyDigest) {
        if let Some(at) = self.remove(digest) {
            self.vacant.push(at);
        }
    }

    fn remove(&mut self, digest: &KeyDigest) -> Option<usize> {
        let slots = &self.slots;
        let entry = self.index.find_entry(hash(digest), |&at| slots[at].digest == *digest);
        let (at, _) = entry.ok()?.remove();
        self.slots[at].record = None;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn digest(n: u64) -> KeyDigest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_ne_bytes());
        bytes[24..].copy_from_slice(&n.to_be_bytes());
        KeyDigest::from_bytes(bytes)
    }

    fn record() -> Arc<ApiKey> {
        Arc::new(testing::key(1, 1))
    }

    fn ticket(cache: &RecordCache, n: u64) -> FillTicket {
        match cache.lookup(&digest(n)) {
            Lookup::Miss(ticket) => ticket,
            Lookup::Hit(_) => panic!("{n} is remembered"),
        }
    }

    fn fill(cache: &RecordCache, n: u64) -> bool {
        let ticket = ticket(cache, n);
        cache.fill(&digest(n), &ticket, record())
    }

    fn remembers(cache: &RecordCache, n: u64) -> bool {
        matches!(cache.lookup(&digest(n)), Lookup::Hit(_))
    }

    #[test]
    fn a_read_that_began_before_an_eviction_is_not_kept() {
        let cache = RecordCache::new(10);
        let before = ticket(&cache, 1);
        cache.evict(&digest(1));
        assert!(!cache.fill(&digest(1), &before, record()));
        assert!(!remembers(&cache, 1));
        assert!(fill(&cache, 1));
        assert!(remembers(&cache, 1));
    }

    #[test]
    fn an_evicted_record_is_gone_and_its_place_is_used_again() {
        let cache = RecordCache::new(2);
        for n in 0..100 {
            assert!(fill(&cache, n));
            cache.evict(&digest(n));
            assert!(!remembers(&cache, n));
        }
        assert!(cache.is_empty());
        assert_eq!(cache.shards[0].read().unwrap().slots.len(), 1);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        for entries in [0, 1, 7, 4096, 5000] {
            let cache = RecordCache::new(entries);
            for n in 0..20_000 {
                fill(&cache, n);
            }
            let shards = cache.shards.len();
            assert_eq!(cache.len(), entries / shards * shards, "{entries}");
        }
    }

    #[test]
    fn what_is_read_stays_longer_than_what_is_not() {
        let cache = RecordCache::new(10);
        for n in 0..10 {
            fill(&cache, n);
        }
        for n in 10..100 {
            assert!(remembers(&cache, 3));
            fill(&cache, n);
        }
        assert!(remembers(&cache, 3));
        assert!(!remembers(&cache, 4));
    }
}

//! The cell of remembered records.
//!
//! It holds what the store said about a digest, until the record is evicted or makes room for
//! another. One rule makes it safe to answer from (`V4` of the revocation design): what a read of
//! the store brings is kept only if nothing was evicted between the beginning of that read and the
//! keeping of it. Otherwise a read from before a revocation could put the active record back after
//! the revocation had evicted it, and nothing would ever evict it again.
//!
//! That is all that is asked of a read, also of a store that others write too. Its age in epochs of
//! the store says nothing: after a failover that lost changes, a read of what was lost may bear an
//! epoch that the store has given to another change since.

use hashbrown::HashTable;

use crate::clock::Minute;
use crate::id::KeyId;
use crate::key::ApiKey;
use crate::secret::KeyDigest;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Ordering, PoisonError};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

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
    shards: Box<[Shard]>,
}

/// What the cell knows of a digest.
#[derive(Debug)]
pub enum Lookup {
    /// The remembered record, and the minute of which a use was noted beside it last.
    Hit(Arc<ApiKey>, Minute),
    /// Nothing; the store must be asked, and the ticket says since when.
    Miss(FillTicket),
}

/// The moment at which a read of the store began, to be handed back with what it brought.
#[derive(Debug)]
pub struct FillTicket {
    evictions: u64,
}

/// Its own cache lines, so that cores which work in different shards do not meet.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    records: RwLock<Records>,
    /// How often a record was found, and how often what a read brought was not kept.
    hits: AtomicU64,
    discarded: AtomicU64,
}

#[derive(Debug, Default)]
struct Records {
    /// How many evictions there have been here. Compared, never reset.
    evictions: u64,
    capacity: usize,
    table: HashTable<Entry>,
    /// The bucket at which the clock's hand stands.
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    digest: KeyDigest,
    record: Arc<ApiKey>,
    /// Whether it was read since the hand last came by.
    read: AtomicBool,
    /// The number of the [`Minute`] of which a use was noted last. It stands where the entry would
    /// have a gap, on the line of memory that a lookup has read anyway.
    noted: AtomicU32,
}

impl RecordCache {
    /// A cell for `entries` records; with 0 it remembers nothing.
    pub fn new(entries: usize) -> Self {
        let shards = if entries < SHARDS * MIN_SHARD_ENTRIES { 1 } else { SHARDS };
        let records = || Records { capacity: entries / shards, ..Records::default() };
        let shard = |_| Shard { records: RwLock::new(records()), ..Shard::default() };
        Self { shards: (0..shards).map(shard).collect() }
    }

    /// The remembered record of `digest`, or a ticket for the read that is needed now.
    pub fn lookup(&self, digest: &KeyDigest) -> Lookup {
        let shard = self.shard(digest);
        let records = shard.read();
        match records.find(digest) {
            Some(entry) => {
                shard.hits.fetch_add(1, Ordering::Relaxed);
                let noted = Minute::from_number(entry.noted.load(Ordering::Relaxed));
                Lookup::Hit(Arc::clone(&entry.record), noted)
            }
            None => Lookup::Miss(FillTicket { evictions: records.evictions }),
        }
    }

    /// Remembers what a read of the store brought, unless something was evicted since its ticket was
    /// drawn. Returns whether it is remembered. Comparing and keeping are one step under the lock
    /// that evicts.
    pub fn fill(&self, digest: &KeyDigest, ticket: &FillTicket, record: Arc<ApiKey>) -> bool {
        let shard = self.shard(digest);
        let mut records = shard.write();
        if records.capacity == 0 {
            return false;
        }
        if records.evictions != ticket.evictions {
            shard.discarded.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        records.keep(digest, record);
        true
    }

    /// Notes beside the record of `digest`, where it is remembered, that it was used in `minute`.
    pub fn note_use(&self, digest: &KeyDigest, minute: Minute) {
        if let Some(entry) = self.shard(digest).read().find(digest) {
            entry.noted.store(minute.number(), Ordering::Relaxed);
        }
    }

    /// Forgets `digest`, and makes every read that is under way in its shard forget what it brings.
    /// When this returns, no thread finds the record.
    pub fn evict(&self, digest: &KeyDigest) {
        let mut records = self.shard(digest).write();
        records.evictions += 1;
        records.forget(digest);
    }

    /// Forgets everything, and makes every read that is under way forget what it brings. When this
    /// returns, no thread finds what was remembered before.
    pub fn evict_all(&self) {
        for shard in &self.shards {
            let mut records = shard.write();
            records.evictions += 1;
            records.table.clear();
        }
    }

    /// As [`RecordCache::evict`], for the record with this id, whose digest is not known: every read
    /// that is under way forgets what it brings. It looks through everything that is remembered.
    pub fn evict_key(&self, id: KeyId) {
        for shard in &self.shards {
            let mut records = shard.write();
            records.evictions += 1;
            records.table.retain(|entry| entry.record.id != id);
        }
    }

    /// How often a record was found so far.
    pub fn hits(&self) -> u64 {
        self.shards.iter().map(|shard| shard.hits.load(Ordering::Relaxed)).sum()
    }

    /// How often something was evicted while a read was under way, so that what it brought was not
    /// kept.
    pub fn discarded(&self) -> u64 {
        self.shards.iter().map(|shard| shard.discarded.load(Ordering::Relaxed)).sum()
    }

    /// How many records are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().table.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, digest: &KeyDigest) -> &Shard {
        // The last byte, because the first ones place the digest within its shard.
        &self.shards[usize::from(digest.as_bytes()[31]) % self.shards.len()]
    }
}

/// Nothing under these locks panics; should something ever, the records are whole all the same.
impl Shard {
    fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest is evenly distributed already.
fn hash(digest: &KeyDigest) -> u64 {
    let first = digest.as_bytes().first_chunk();
    u64::from_ne_bytes(*first.unwrap_or(&[0; 8]))
}

impl Records {
    fn find(&self, digest: &KeyDigest) -> Option<&Entry> {
        let entry = self.table.find(hash(digest), |entry| entry.digest == *digest)?;
        // Writing only where it changes something keeps the line shared between cores.
        if !entry.read.load(Ordering::Relaxed) {
            entry.read.store(true, Ordering::Relaxed);
        }
        Some(entry)
    }

    fn keep(&mut self, digest: &KeyDigest, record: Arc<ApiKey>) {
        self.forget(digest);
        while self.table.len() >= self.capacity {
            self.make_room();
        }
        let (read, noted) = (AtomicBool::new(false), AtomicU32::new(Minute::NONE.number()));
        let entry = Entry { digest: *digest, record, read, noted };
        self.table.insert_unique(hash(digest), entry, |entry| hash(&entry.digest));
    }

    /// Moves the hand on by one bucket. A record that was read since it last came by gets its second
    /// chance, any other goes.
    fn make_room(&mut self) {
        let at = self.hand;
        self.hand = (at + 1) % self.table.num_buckets().max(1);
        if let Ok(mut entry) = self.table.get_bucket_entry(at)
            && !std::mem::replace(entry.get_mut().read.get_mut(), false)
        {
            entry.remove();
        }
    }

    fn forget(&mut self, digest: &KeyDigest) {
        if let Ok(entry) = self.table.find_entry(hash(digest), |entry| entry.digest == *digest) {
            entry.remove();
        }
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
            Lookup::Hit(..) => panic!("{n} is remembered"),
        }
    }

    fn fill(cache: &RecordCache, n: u64) -> bool {
        let ticket = ticket(cache, n);
        cache.fill(&digest(n), &ticket, record())
    }

    fn remembers(cache: &RecordCache, n: u64) -> bool {
        matches!(cache.lookup(&digest(n)), Lookup::Hit(..))
    }

    #[test]
    fn a_record_is_forgotten_by_its_id_and_so_is_what_reads_bring_meanwhile() {
        let cell = RecordCache::new(SHARDS * MIN_SHARD_ENTRIES);
        let keep = |n: u64| {
            let Lookup::Miss(ticket) = cell.lookup(&digest(n)) else { panic!("{n} is there") };
            cell.fill(&digest(n), &ticket, Arc::new(testing::key(1, n.into())))
        };
        assert!((0..100).all(keep));
        let Lookup::Miss(ticket) = cell.lookup(&digest(100)) else { panic!("it is there") };
        cell.evict_key(testing::key(1, 7).id);
        assert!(matches!(cell.lookup(&digest(7)), Lookup::Miss(_)));
        assert_eq!(cell.len(), 99);
        assert!(!cell.fill(&digest(100), &ticket, Arc::new(testing::key(1, 100))));
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
    fn an_evicted_record_is_gone() {
        let cache = RecordCache::new(2);
        for n in 0..100 {
            assert!(fill(&cache, n));
            cache.evict(&digest(n));
            assert!(!remembers(&cache, n));
        }
        assert!(cache.is_empty());
    }

    #[test]
    fn what_was_begun_before_all_was_evicted_is_not_kept() {
        let cache = RecordCache::new(10_000);
        for n in 0..1_000 {
            assert!(fill(&cache, n));
        }
        let before: Vec<_> = (1_000..2_000).map(|n| (n, ticket(&cache, n))).collect();
        cache.evict_all();
        assert!(cache.is_empty());
        for (n, ticket) in before {
            assert!(!cache.fill(&digest(n), &ticket, record()));
        }
        assert_eq!(cache.discarded(), 1_000);
        assert!(fill(&cache, 1));
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
    fn the_minute_of_a_use_stands_beside_its_record_and_goes_with_it() {
        let cache = RecordCache::new(10);
        let noted = |n| match cache.lookup(&digest(n)) {
            Lookup::Hit(_, noted) => noted,
            Lookup::Miss(_) => panic!("{n} is not remembered"),
        };
        fill(&cache, 1);
        fill(&cache, 2);
        let minute = Minute::from_number(28_000_000);
        for n in [1, 3] {
            cache.note_use(&digest(n), minute);
        }
        assert_eq!([noted(1), noted(2)], [minute, Minute::NONE]);
        cache.evict(&digest(1));
        fill(&cache, 1);
        assert_eq!(noted(1), Minute::NONE);
    }

    #[test]
    fn an_entry_is_no_larger_for_the_minute() {
        assert_eq!(size_of::<Entry>(), size_of::<(KeyDigest, usize, usize)>());
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

//! What surrounds the cell: a store with one key, a clock, and the search.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, AtomicUsize, Ordering as StdOrdering};
use std::time::Duration;

use shuttle::scheduler::{DfsScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use uuid::Uuid;

use crate::cache::{FillTicket, Lookup, RecordCache};
use crate::clock::{Reading, SeededEntropy, Sleep, Timer, Timestamp};
use crate::details::SparseDetails;
use crate::key::{ApiKey, KeyName, Status};
use crate::secret::{KeyDigest, KeyFormat};
use crate::sync::{Arc, AtomicBool, Ordering};

/// A store that holds one key.
#[derive(Debug, Default)]
pub struct OneKey {
    revoked: AtomicBool,
}

impl OneKey {
    /// What a read of the store sees.
    pub fn find(&self) -> Arc<ApiKey> {
        let revoked = self.revoked.load(Ordering::SeqCst);
        record(if revoked { Status::Revoked } else { Status::Active })
    }

    /// Commits the revocation.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }
}

fn record(status: Status) -> Arc<ApiKey> {
    let format = KeyFormat::new("sk_live").expect("the prefix is well formed");
    let key = format.mint(&SeededEntropy::new(1)).expect("the seed mints");
    let at = Timestamp::from_micros(1_705_311_000_000_000).expect("the time is in range");
    Arc::new(ApiKey {
        id: Uuid::from_u128(1).into(),
        workspace_id: Uuid::from_u128(2).into(),
        name: KeyName::new("a key").expect("the name is well formed"),
        key_prefix: key.key_prefix(),
        status,
        created_by: Uuid::from_u128(3).into(),
        created_at: at,
        updated_at: at,
        named_scopes: None,
        details: SparseDetails::default(),
    })
}

/// A digest in the shard `n` of a cell that has so many.
pub fn digest(n: u8) -> KeyDigest {
    let mut bytes = [7; 32];
    bytes[31] = n;
    KeyDigest::from_bytes(bytes)
}

/// The ticket of a verification that finds nothing.
pub fn miss(cell: &RecordCache, digest: &KeyDigest) -> Option<FillTicket> {
    match cell.lookup(digest) {
        Lookup::Miss(ticket) => Some(ticket),
        Lookup::Hit(..) => None,
    }
}

/// Whether the cell would have the key accepted.
pub fn accepts(cell: &RecordCache, digest: &KeyDigest) -> bool {
    matches!(cell.lookup(digest), Lookup::Hit(record, _) if record.status == Status::Active)
}

/// A clock that goes on by one with each look at it. No wait ends by it.
#[derive(Debug, Default)]
pub struct Looks(StdAtomicU64);

impl Timer for Looks {
    fn read(&self) -> Reading {
        Reading { boot: 1 + self.0.fetch_add(1, StdOrdering::Relaxed), ahead: 0 }
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// What a search found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// How many interleavings were gone through.
    pub interleavings: usize,
    /// In how many of them the promise was broken.
    pub broken: usize,
}

/// Goes through every interleaving of what `scenario` starts, which says whether the promise was
/// kept.
pub fn every_interleaving(scenario: impl Fn() -> bool + Send + Sync + 'static) -> Found {
    search(DfsScheduler::new(None, false), scenario)
}

/// Goes through so many interleavings at random, always the same ones.
pub fn random_interleavings(
    count: usize,
    scenario: impl Fn() -> bool + Send + Sync + 'static,
) -> Found {
    search(RandomScheduler::new_from_seed(1, count), scenario)
}

fn search(
    scheduler: impl Scheduler + 'static,
    scenario: impl Fn() -> bool + Send + Sync + 'static,
) -> Found {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    // That orderings are not searched is said at the head of this package.
    config.silence_warnings = true;
    let broken = StdArc::new(AtomicUsize::new(0));
    let counter = StdArc::clone(&broken);
    let interleavings = Runner::new(scheduler, config).run(move || {
        if !scenario() {
            counter.fetch_add(1, StdOrdering::Relaxed);
        }
    });
    Found { interleavings, broken: broken.load(StdOrdering::Relaxed) }
}

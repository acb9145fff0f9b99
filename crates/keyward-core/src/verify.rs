//! The answer to "is this key good?", at the speed of memory.
//!
//! # Strictness
//!
//! Once a revocation has been answered, every verification that starts later is refused. The rules
//! of the revocation design, and who keeps them:
//!
//! - **V3** A verification reads the cell after it has arrived and, on a shared store (see
//!   [`crate::store`]), after it has its proof ([`crate::freshness`]). What it read before is thrown
//!   away.
//! - **V4** A record is remembered only if nothing was evicted since the read that brought it began
//!   ([`RecordCache::fill`]).
//! - **V10** Unknown digests are not remembered, so a key works from the moment it was created.
//! - **V14** Expiry is judged by the time of the store ([`Verifier::time`]).
//! - **V11** Reads of the store are not shared: each verification that misses sends its own after it
//!   arrived, so that none is answered from a read that began before a revocation. Such a read is
//!   newer than any proof, and needs none.
//!
//! V6 (revoked is terminal) is the store's, V5 and V12 (the barrier; eviction in a task that cannot be
//! cancelled) [`crate::service::Keys::revoke`]'s and the server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::cache::{FillTicket, Lookup, RecordCache};
use crate::clock::{Minute, Reading, Timer, Timestamp};
use crate::freshness::{Follower, Freshness, NotFresh};
use crate::id::{KeyId, WorkspaceId};
use crate::key::{ApiKey, Status};
use crate::scope::Scopes;
use crate::secret::{KeyDigest, KeyFormat};
use crate::store::{KeyStore, StoreError};
use crate::uses::Uses;

/// How often, and after how long, somebody who can wait asks whether fewer keys are being looked up.
const TURNS: u32 = 200;
const TURN: Duration = Duration::from_millis(5);

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Wrong shape or checksum.
    Malformed,
    /// Well formed, and no key of this deployment.
    Unknown,
    /// Revoked, for ever.
    Revoked,
    /// Its time is over.
    Expired,
    /// A good key of another workspace than the one demanded.
    WrongWorkspace,
    /// A good key without a scope that was demanded.
    InsufficientScope,
}

impl Refusal {
    /// All of them, in the order in which they are judged.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::Unknown,
        Self::Revoked,
        Self::Expired,
        Self::WrongWorkspace,
        Self::InsufficientScope,
    ];

    /// The documented word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::WrongWorkspace => "wrong_workspace",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// What was found out about a presented key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The key is good; this is its record.
    Accepted(Arc<ApiKey>),
    /// The key is not good.
    Refused(Refusal),
}

/// What a key must be good for, beyond being good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demands {
    /// The workspace that it must belong to.
    pub workspace: Option<WorkspaceId>,
    /// The scopes that it must hold, all of them.
    pub scopes: Scopes,
}

impl Demands {
    /// The verdict on a good key, of which this is demanded.
    pub fn judge(&self, key: Arc<ApiKey>) -> Verdict {
        match self.unmet_by(&key) {
            None => Verdict::Accepted(key),
            Some(refusal) => Verdict::Refused(refusal),
        }
    }

    /// The first demand that `key` does not meet.
    fn unmet_by(&self, key: &ApiKey) -> Option<Refusal> {
        if self.workspace.is_some_and(|workspace| workspace != key.workspace_id) {
            return Some(Refusal::WrongWorkspace);
        }
        let lacking = !self.scopes.is_empty() && self.scopes.first_outside(key.scopes()).is_some();
        lacking.then_some(Refusal::InsufficientScope)
    }
}

/// Why nothing could be found out. A key is then neither good nor bad.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// As many keys are being looked up in the store as may be at once.
    #[error("too many keys are being looked up")]
    TooManyLookups,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record is remembered, and nobody could say in time whether it has changed.
    #[error(transparent)]
    NotFresh(#[from] NotFresh),
}

/// What bounds a verifier.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Records that are remembered at most.
    pub cache_entries: usize,
    /// Reads of the store that are under way at most.
    pub miss_concurrency: usize,
    /// Longest wait for the proof that what is remembered of a shared store is up to date.
    pub freshness_wait: Duration,
}

/// Verifies presented keys, from memory where it can.
pub struct Verifier {
    store: Arc<dyn KeyStore>,
    format: KeyFormat,
    cache: Arc<RecordCache>,
    timer: Arc<dyn Timer>,
    /// For a store that others write too.
    freshness: Option<Arc<Freshness>>,
    lookups: Lookups,
    uses: Uses,
}

impl Verifier {
    /// A verifier of keys of `format` in `store`. For a store that others write too there is a
    /// follower, which must be run: what is remembered can be answered from only while it polls.
    pub fn new(
        store: Arc<dyn KeyStore>,
        format: KeyFormat,
        bounds: Bounds,
        timer: Arc<dyn Timer>,
    ) -> (Self, Option<Follower>) {
        let cache = Arc::new(RecordCache::new(bounds.cache_entries));
        let shared = store.feed().is_some();
        let fresh = || Freshness::new(Arc::clone(&timer), bounds.freshness_wait);
        let freshness = shared.then(|| Arc::new(fresh()));
        let follower =
            freshness.as_ref().map(|it| Follower::new(Arc::clone(it), Arc::clone(&cache)));
        let lookups = Lookups { most: bounds.miss_concurrency, ..Lookups::default() };
        let uses = Uses::default();
        (Self { store, format, cache, timer, freshness, lookups, uses }, follower)
    }

    /// Judges a presented key.
    ///
    /// A malformed key costs no digest, a remembered one no read of the store. A good one is noted as
    /// used, also where it turns out not to meet what is demanded of it: somebody has it in use.
    ///
    /// # Errors
    ///
    /// When the store had to be asked and could not be, or nobody knows whether what is remembered is
    /// up to date; the key must then be neither accepted nor called bad.
    pub async fn verify(&self, presented: &str) -> Result<Verdict, VerifyError> {
        self.verify_from(presented, self.arrive()).await
    }

    /// The moment at which verifications arrive together; `None` where only this process changes what
    /// is remembered.
    pub fn arrive(&self) -> Option<Reading> {
        self.freshness.as_ref().map(|it| it.arrive())
    }

    /// As [`Verifier::verify`], for a key that arrived with others at that moment: one proof then does
    /// for all of them.
    ///
    /// # Errors
    ///
    /// As for [`Verifier::verify`].
    pub async fn verify_from(
        &self,
        presented: &str,
        arrival: Option<Reading>,
    ) -> Result<Verdict, VerifyError> {
        let freshness = self.freshness.as_ref().zip(arrival);
        let Ok(digest) = self.format.digest(presented) else {
            return Ok(Verdict::Refused(Refusal::Malformed));
        };
        let mut proven = freshness.is_none_or(|(it, arrival)| it.holds(arrival));
        loop {
            match self.cache.lookup(&digest) {
                Lookup::Hit(record, noted) if proven => {
                    return self.judge(&digest, record, noted, arrival).await;
                }
                // It will be read once more, after the proof.
                Lookup::Hit(..) => {
                    if let Some((freshness, arrival)) = freshness {
                        freshness.prove(arrival).await?;
                    }
                    proven = true;
                }
                Lookup::Miss(ticket) => return self.look_up(&digest, &ticket, arrival).await,
            }
        }
    }

    async fn look_up(
        &self,
        digest: &KeyDigest,
        ticket: &FillTicket,
        arrival: Option<Reading>,
    ) -> Result<Verdict, VerifyError> {
        let _under_way = self.lookups.begin().ok_or(VerifyError::TooManyLookups)?;
        let Some(record) = self.store.find(digest).await? else {
            return Ok(Verdict::Refused(Refusal::Unknown));
        };
        let record = Arc::new(record);
        self.cache.fill(digest, ticket, Arc::clone(&record));
        self.judge(digest, record, Minute::NONE, arrival).await
    }

    async fn judge(
        &self,
        digest: &KeyDigest,
        record: Arc<ApiKey>,
        noted: Minute,
        arrival: Option<Reading>,
    ) -> Result<Verdict, VerifyError> {
        if record.status == Status::Revoked {
            return Ok(Verdict::Refused(Refusal::Revoked));
        }
        if record.details.expires_at.is_some() && record.expired_at(self.time_at(arrival).await?) {
            return Ok(Verdict::Refused(Refusal::Expired));
        }
        let minute = self.uses.minute();
        if noted != minute {
            self.cache.note_use(digest, minute);
            self.uses.note(&record, minute);
        }
        Ok(Verdict::Accepted(record))
    }

    /// Makes the present minute, by the time that expiry is judged by, the one of which uses are noted
    /// from now on. To be called about every second. Until it is called for the first time, none is
    /// noted.
    pub fn keep_minute(&self) {
        let now = self.timer.read();
        let of_the_store = self.freshness.as_ref().and_then(|it| it.store_time(now));
        self.uses.begin(Minute::of(of_the_store.unwrap_or_else(|| now.wall())));
    }

    /// Writes to the store what is noted of uses and not written yet. It may be broken off.
    ///
    /// # Errors
    ///
    /// When the store fails. What was not written stays noted.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        self.uses.write(&*self.store).await
    }

    /// The uses that are noted.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// The time by which expiry is judged (V14): that of the store where it is shared, so that nodes
    /// agree however their clocks are set, and else the machine's.
    ///
    /// # Errors
    ///
    /// When the store has not been polled lately, and is not in time.
    pub async fn time(&self) -> Result<Timestamp, NotFresh> {
        self.time_at(None).await
    }

    async fn time_at(&self, arrival: Option<Reading>) -> Result<Timestamp, NotFresh> {
        let arrival = arrival.unwrap_or_else(|| self.timer.read());
        let Some(freshness) = &self.freshness else { return Ok(arrival.wall()) };
        freshness.prove(arrival).await?;
        freshness.store_time(arrival).ok_or(NotFresh)
    }

    /// The record of a presented key, as the store has it now, whatever has become of it. Where too
    /// many keys are being looked up, this waits for its turn, a second at most.
    ///
    /// # Errors
    ///
    /// As for [`Verifier::verify`].
    pub async fn find(&self, presented: &str) -> Result<Option<ApiKey>, VerifyError> {
        let Ok(digest) = self.format.digest(presented) else { return Ok(None) };
        let mut turns = TURNS;
        let _under_way = loop {
            match self.lookups.begin() {
                Some(under_way) => break under_way,
                None if turns == 0 => return Err(VerifyError::TooManyLookups),
                None => self.timer.sleep(TURN).await,
            }
            turns -= 1;
        };
        Ok(self.store.find(&digest).await?)
    }

    /// Forgets the record of `digest`. When this returns, no verification answers from what was
    /// remembered before.
    pub fn evict(&self, digest: &KeyDigest) {
        self.cache.evict(digest);
    }

    /// As [`Verifier::evict`], where the digest is not known. It looks through everything that is
    /// remembered, and is for when something has failed.
    pub fn evict_key(&self, id: KeyId) {
        self.cache.evict_key(id);
    }

    /// Whether a verification that starts now can be answered from memory. On a shared store that
    /// takes a poll, and this waits for it.
    ///
    /// # Errors
    ///
    /// When there is no proof in time.
    pub async fn ready(&self) -> Result<(), NotFresh> {
        match &self.freshness {
            Some(freshness) => freshness.prove(freshness.arrive()).await,
            None => Ok(()),
        }
    }

    /// How many verifications have asked the store so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.begun.load(Ordering::Relaxed)
    }

    /// What is remembered.
    pub fn cache(&self) -> &RecordCache {
        &self.cache
    }

    /// How it is known that what is remembered is up to date; `None` where only this process changes
    /// it.
    pub fn freshness(&self) -> Option<&Freshness> {
        self.freshness.as_deref()
    }
}

/// How many reads of the store are under way, and how many may be: somebody who makes up keys
/// costs the store no more than that.
#[derive(Default)]
struct Lookups {
    most: usize,
    under_way: AtomicUsize,
    begun: AtomicU64,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Lookups {
    fn begin(&self) -> Option<UnderWay<'_>> {
        let more = |n: usize| (n < self.most).then_some(n + 1);
        self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        Some(UnderWay(&self.under_way))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

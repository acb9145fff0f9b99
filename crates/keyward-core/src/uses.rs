//! When keys were last used, on its way to the store.
//!
//! Uses are noted to the minute. The cell remembers beside each record the minute of which a use was
//! noted last, so that a verification from memory costs one comparison more, and only the first of a
//! minute comes here. What is noted waits until the server has it written, many together; nobody who is
//! verified waits for that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::caller::Authorised;
use crate::clock::{Minute, Timestamp};
use crate::id::{KeyId, WorkspaceId};
use crate::key::ApiKey;
use crate::service::Keys;
use crate::store::{KeyPlace, KeyStore, ListPosition, StoreError, Use};

/// Uses that wait at most, as long as the store does not take them. Those beyond are dropped, and
/// counted.
pub const MOST_WAITING: usize = 100_000;
/// Uses that are written in one step: enough that steps are few, and few enough that one is short.
const BATCH: usize = 4_096;

/// The uses that are noted and not written yet.
#[derive(Debug, Default)]
pub struct Uses {
    /// The number of the present [`Minute`]. While it is that of none, no use is noted.
    minute: AtomicU32,
    waiting: Mutex<HashMap<KeyId, Use>>,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Uses {
    /// The minute of which uses are noted. Where it is none, they are not.
    pub fn minute(&self) -> Minute {
        Minute::from_number(self.minute.load(Ordering::Relaxed))
    }

    /// Whether uses are noted.
    pub fn are_noted(&self) -> bool {
        self.minute() != Minute::NONE
    }

    /// Notes uses as of this minute from now on.
    pub(crate) fn begin(&self, minute: Minute) {
        self.minute.store(minute.number(), Ordering::Relaxed);
    }

    /// Notes that `key` was used in `minute`.
    pub(crate) fn note(&self, key: &ApiKey, minute: Minute) {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST_WAITING && !waiting.contains_key(&key.id) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            // Whether a key is unused cannot be told any more of the time before this minute ends.
            let until = minute.start().plus(Duration::from_mins(1));
            waiting.insert(UNNOTED.position.id, Use { key: UNNOTED, at: until });
        } else {
            waiting.insert(key.id, Use { key: key.into(), at: minute.start() });
        }
    }

    /// Writes all that waits when this is called. A use is taken away when it has been written and not
    /// before, so nothing is lost by an error, or by whoever stops waiting for this.
    pub(crate) async fn write(&self, store: &dyn KeyStore) -> Result<(), StoreError> {
        let waiting: Vec<Use> = self.waiting().values().copied().collect();
        for batch in waiting.chunks(BATCH) {
            store.record_uses(batch).await?;
            self.take_away(batch);
        }
        Ok(())
    }

    fn take_away(&self, written: &[Use]) {
        let mut waiting = self.waiting();
        for one in written {
            let id = one.key.position.id;
            // Unless the key was used again meanwhile.
            if waiting.get(&id) == Some(one) {
                waiting.remove(&id);
            }
        }
        self.written.fetch_add(written.len() as u64, Ordering::Relaxed);
    }

    /// How many uses wait.
    pub fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many uses were written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many uses were dropped so far, because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Nothing under this lock panics; should something ever, the uses are whole all the same.
    fn waiting(&self) -> MutexGuard<'_, HashMap<KeyId, Use>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for what is no key, and where no key can be: no id is minted as zero. The last use that is
/// noted there is the last time at which keys were verified without their uses being noted.
const UNNOTED: KeyPlace = KeyPlace {
    workspace: WorkspaceId::from_bytes([0; 16]),
    position: ListPosition { created_at: Minute::NONE.start(), id: KeyId::from_bytes([0; 16]) },
};

/// Notes in the store that until `time` uses were not noted, or not by every node.
///
/// # Errors
///
/// When the store fails.
pub async fn mark_unnoted(store: &dyn KeyStore, until: Timestamp) -> Result<(), StoreError> {
    store.record_uses(&[Use { key: UNNOTED, at: until }]).await
}

/// Until when uses were not noted, or not by every node: whether a key was used before that is not known.
/// `None` where they never were.
///
/// # Errors
///
/// When the store fails.
pub async fn unnoted_until(store: &dyn KeyStore) -> Result<Option<Timestamp>, StoreError> {
    Ok(store.last_uses(&[UNNOTED]).await?.into_iter().flatten().next())
}

impl Keys {
    /// When this key was last used, as [`Keys::last_uses`] says it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn last_use(
        &self,
        caller: &Authorised,
        key: &ApiKey,
    ) -> Result<Option<Timestamp>, StoreError> {
        let last = self.last_uses(caller, std::slice::from_ref(key)).await?;
        Ok(last.into_iter().flatten().next())
    }

    /// When these keys of the caller's workspace were last used, in their order. A use of the last
    /// seconds may be missing. `None` of a key that was never used, and of all where uses are not noted.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn last_uses(
        &self,
        caller: &Authorised,
        keys: &[ApiKey],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        if !self.verifier.uses().are_noted() {
            return Ok(vec![None; keys.len()]);
        }
        let workspace = caller.workspace();
        let place = |key| KeyPlace { workspace, position: ListPosition::from(key) };
        let places: Vec<KeyPlace> = keys.iter().map(place).collect();
        self.store.last_uses(&places).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::change::Change;
    use crate::clock::{SeededEntropy, Timer as _};
    use crate::memory::MemoryStore;
    use crate::secret::{KeyFormat, PlainKey};
    use crate::testing::{self, ManualTimer, addition, at_once, trace};
    use crate::verify::{Bounds, Refusal, Verdict, Verifier};

    const MINUTE: Duration = Duration::from_mins(1);

    /// A verifier of one key, and what surrounds it.
    struct World {
        verifier: Verifier,
        store: Arc<MemoryStore>,
        timer: ManualTimer,
        key: ApiKey,
        plain: String,
    }

    impl World {
        fn with(cache_entries: usize) -> Self {
            let (store, timer) = (Arc::new(MemoryStore::new()), ManualTimer::default());
            let format = KeyFormat::new("sk_live").unwrap();
            let plain: PlainKey = format.mint(&SeededEntropy::new(5)).unwrap();
            let key = testing::key(1, 1);
            at_once(store.add(addition(&key, plain.digest()))).unwrap();
            let freshness_wait = Duration::from_secs(1);
            let bounds = Bounds { cache_entries, miss_concurrency: 10, freshness_wait };
            let dyn_store = Arc::clone(&store) as Arc<dyn KeyStore>;
            let (verifier, _) =
                Verifier::new(dyn_store, format, bounds, Arc::new(timer.clone()) as _);
            Self { verifier, store, timer, key, plain: plain.reveal().to_string() }
        }

        fn verify(&self) -> Verdict {
            at_once(self.verifier.verify(&self.plain)).unwrap()
        }

        fn last_use(&self) -> Option<Timestamp> {
            at_once(self.store.last_uses(&[(&self.key).into()])).unwrap()[0]
        }

        /// The beginning of the present minute.
        fn minute(&self) -> Timestamp {
            Minute::of(self.timer.read().wall()).start()
        }
    }

    #[test]
    fn a_use_is_noted_once_a_minute_from_memory_and_from_the_store() {
        for cache_entries in [0, 100] {
            let world = World::with(cache_entries);
            world.verify();
            assert!(world.verifier.uses().is_empty(), "no minute is kept yet");
            for _ in 0..3 {
                world.timer.advance(MINUTE);
                world.verifier.keep_minute();
                world.verify();
                assert_eq!(world.verifier.uses().len(), 1);
                at_once(world.verifier.write_uses()).unwrap();
                assert_eq!(world.last_use(), Some(world.minute()));
                world.verify();
                // Without memory nobody knows that it was noted.
                assert_eq!(world.verifier.uses().is_empty(), cache_entries > 0);
            }
        }
    }

    #[test]
    fn what_is_refused_is_no_use() {
        let world = World::with(100);
        world.verifier.keep_minute();
        let mut unknown = world.plain.clone();
        unknown.pop();
        at_once(world.verifier.verify(&unknown)).unwrap();
        let revoked = Change::Revoke(world.minute().into());
        at_once(world.store.change(
            world.key.workspace_id,
            world.key.id,
            &revoked,
            &trace(world.key.created_at),
        ))
        .unwrap();
        assert_eq!(world.verify(), Verdict::Refused(Refusal::Revoked));
        assert!(world.verifier.uses().is_empty());
    }

    #[test]
    fn a_use_that_could_not_be_written_stays_noted() {
        let world = World::with(100);
        world.verifier.keep_minute();
        world.verify();
        at_once(world.store.close()).unwrap();
        at_once(world.verifier.write_uses()).unwrap_err();
        assert_eq!((world.verifier.uses().len(), world.verifier.uses().written()), (1, 0));
    }

    #[test]
    fn a_use_that_comes_while_an_earlier_one_is_written_stays_noted() {
        let uses = Uses::default();
        let key = testing::key(1, 1);
        uses.note(&key, Minute::from_number(1));
        let written: Vec<Use> = uses.waiting().values().copied().collect();
        uses.note(&key, Minute::from_number(2));
        uses.take_away(&written);
        assert_eq!(uses.waiting()[&key.id].at, Minute::from_number(2).start());
        let written: Vec<Use> = uses.waiting().values().copied().collect();
        uses.take_away(&written);
        assert_eq!((uses.len(), uses.written()), (0, 2));
    }

    #[test]
    fn more_uses_than_may_wait_are_dropped_and_counted() {
        let uses = Uses::default();
        let most = MOST_WAITING as u128;
        for n in 0..most + 10 {
            uses.note(&testing::key(1, n), Minute::from_number(1));
        }
        assert_eq!((uses.len(), uses.dropped()), (MOST_WAITING, 10));
        // What waits already may become later.
        uses.note(&testing::key(1, 0), Minute::from_number(2));
        assert_eq!(uses.dropped(), 10);
    }

    #[test]
    fn the_latest_time_without_notes_is_kept() {
        let store = MemoryStore::new();
        assert_eq!(at_once(unnoted_until(&store)).unwrap(), None);
        for (noted, latest) in [(5, 5), (3, 5), (9, 9)] {
            let minute = |n| Minute::from_number(n).start();
            at_once(mark_unnoted(&store, minute(noted))).unwrap();
            assert_eq!(at_once(unnoted_until(&store)).unwrap(), Some(minute(latest)));
        }
    }
}

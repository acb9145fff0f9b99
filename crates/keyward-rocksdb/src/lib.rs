//! The embedded RocksDB driver of Keyward: one machine, one process, no server beside it.
//!
//! | room | holds |
//! |---|---|
//! | `layout` | which bytes stand where in a data directory |
//! | `codec` | versioned values |
//! | `directory` | whose the directory is, and that nobody else uses it |
//! | `opening` | what must hold before a database is opened |
//! | `wal`, `crc32c` | what tells a torn log from a damaged one |
//! | `setup` | how RocksDB is set up |
//! | `database` | the open database: every read and write of it |
//! | `audit` | the audit trail |
//! | `change`, `commit` | the one thread that makes changes, many with one sync |
//! | `error` | RocksDB's errors, told apart once |
//! | `raw` | RocksDB without the driver, for the bench |
//!
//! A read that can be served from memory is served where it is asked; one that needs the disk moves
//! to a thread that may wait, and only so many do at a time.

mod audit;
mod change;
mod codec;
mod commit;
mod crc32c;
mod database;
mod directory;
mod error;
mod layout;
mod opening;
#[doc(hidden)]
pub mod raw;
mod setup;
#[cfg(test)]
mod testing;
mod wal;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use keyward_core::audit::{AuditLog, Trace};
use keyward_core::change::Change as KeyChange;
use keyward_core::clock::Timestamp;
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::secret::KeyDigest;
use keyward_core::store::{
    Added, Addition, ChangeFeed, Changed, Filter, Imported, KeyPlace, KeyStore, ListPosition,
    StoreError, StoredKey, Use,
};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

pub use crate::error::{Fault, OpenError};

use crate::change::{Alter, Answer, Change};
use crate::commit::{Committer, Ending, QUEUE_LEN};
use crate::database::Database;
use crate::error::{ReadError, unavailable};
use crate::setup::Reach;

/// How long a change waits for a place in the committer's queue. A place comes free with every
/// group; where none does for so long, the disk hangs.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// What may be chosen about a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of data, indexes and filters that are kept in memory. 64 MiB by default.
    pub block_cache_bytes: usize,
    /// Most reads of the disk at a time, each on a thread of its own; at least one. 32 by default.
    pub disk_reads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { block_cache_bytes: 64 << 20, disk_reads: 32 }
    }
}

/// A [`KeyStore`] in a directory.
///
/// It must be used within a Tokio runtime that keeps time. [`KeyStore::close`] lets go of the
/// directory; so does dropping it, which waits until what was begun is on the disk.
pub struct RocksStore {
    open: RwLock<Option<Open>>,
    disk_reads: Arc<Semaphore>,
    /// Held from looking which uses are news until they are written.
    recording: Mutex<()>,
}

/// What there is between opening and closing.
struct Open {
    database: Arc<Database>,
    changes: mpsc::Sender<Change>,
    failed: Arc<AtomicBool>,
    /// What the committer says when it has ended.
    finished: oneshot::Receiver<Result<(), StoreError>>,
    /// Ends when the last user of the database has closed it.
    released: oneshot::Receiver<()>,
    /// The last field: it waits for the committer, which ends when nobody can send to it any more.
    ending: Ending,
}

impl RocksStore {
    /// Opens the store in `dir`, which is made if it is not there, and is closed to other users
    /// of the machine (mode 0700).
    ///
    /// This reads the disk, and after a crash replays the log: it is not for an async thread.
    ///
    /// # Errors
    ///
    /// When the directory is in use, is not Keyward's, was written by a later version, or is
    /// damaged, so that opening it could undo acknowledged changes.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let (database, released) = opening::open(dir, settings.block_cache_bytes)?;
        let database = Arc::new(database);
        let (changes, queue) = mpsc::channel(QUEUE_LEN);
        let failed = Arc::new(AtomicBool::new(false));
        let committer = Committer::new(Arc::clone(&database), queue, Arc::clone(&failed))
            .map_err(|error| OpenError::from_rocksdb(dir, error))?;
        let started = committer.start().map_err(|error| OpenError::from_io(dir, error))?;
        let (finished, ending) = started;
        let open = Open { database, changes, failed, finished, released, ending };
        Ok(Self {
            open: RwLock::new(Some(open)),
            disk_reads: Arc::new(Semaphore::new(settings.disk_reads.max(1))),
            recording: Mutex::default(),
        })
    }

    /// Opens the store in `dir` as it is now, also while another process uses it. What that one changes
    /// later is not seen, and every change here is [`StoreError::Unavailable`].
    ///
    /// This reads the disk: it is not for an async thread.
    ///
    /// # Errors
    ///
    /// When there is no store, or one of a later version, or it is damaged.
    pub fn open_to_read(dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let database = opening::open_to_read(dir, settings.block_cache_bytes)?;
        // Nobody takes changes, and nobody else has to let go of anything.
        let ((changes, _), (done, finished), (_, released)) =
            (mpsc::channel(1), oneshot::channel(), oneshot::channel());
        let _ = done.send(Ok(()));
        let (database, failed) = (Arc::new(database), Arc::new(AtomicBool::new(true)));
        let ending = Ending::none();
        let open = Open { database, changes, failed, finished, released, ending };
        Ok(Self {
            open: RwLock::new(Some(open)),
            disk_reads: Arc::new(Semaphore::new(settings.disk_reads.max(1))),
            recording: Mutex::default(),
        })
    }

    /// Reads where the caller is if memory suffices, and else on a thread that may wait.
    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Database, Reach) -> Result<T, ReadError> + Send + 'static,
    {
        let database = self.with(|open| Arc::clone(&open.database))?;
        match read(&database, Reach::Memory) {
            Err(ReadError::NotInMemory) => {}
            outcome => return Ok(outcome?),
        }
        self.read_apart(database, move |database| read(database, Reach::Disk)).await
    }

    /// Reads on a thread that may wait.
    async fn read_apart<T: Send + 'static>(
        &self,
        database: Arc<Database>,
        read: impl FnOnce(&Database) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.disk_reads).acquire_owned().await;
        let permit = permit.map_err(|error| StoreError::Unavailable(error.into()))?;
        let on_disk = tokio::task::spawn_blocking(move || {
            // Held by the thread and not by the caller, who may go while the disk is busy.
            let _permit = permit;
            read(&database)
        });
        Ok(on_disk.await.map_err(|error| StoreError::Unavailable(error.into()))??)
    }

    /// Has the committer make a change, and waits for its answer.
    async fn commit<T>(&self, change: impl FnOnce(Answer<T>) -> Change) -> Result<T, StoreError> {
        let changes = self.with(|open| open.changes.clone())?;
        let (answer, answered) = oneshot::channel();
        let queued = changes.send_timeout(change(answer), QUEUE_WAIT).await;
        // The change that could not be queued comes back in the error, and holds a digest.
        queued.map_err(|_| unavailable("too many changes are waiting for the disk"))?;
        drop(changes);
        answered.await.map_err(|_| unavailable("the committer has ended"))?
    }

    fn with<T>(&self, what: impl FnOnce(&Open) -> T) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(what).ok_or_else(|| unavailable("the store is closed"))
    }
}

#[async_trait]
impl KeyStore for RocksStore {
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    fn audit(&self) -> &dyn AuditLog {
        self
    }

    async fn add(&self, addition: Addition) -> Result<Added, StoreError> {
        let addition = Box::new(addition);
        self.commit(|answer| Change::Add(addition, answer)).await
    }

    async fn get(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        self.read(move |database, reach| database.get(workspace, id, reach)).await
    }

    async fn find(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, StoreError> {
        let digest = *digest;
        let stored = self.read(move |database, reach| database.find(&digest, reach)).await?;
        Ok(stored.map(|stored| stored.key))
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        filter: &Filter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        if *filter == Filter::ALL {
            let page = move |database: &Database, reach| {
                database.page(workspace, &Filter::ALL, after, limit, reach)
            };
            return self.read(page).await;
        }
        // What the filter holds back costs as much as what it lets through, and has no bound.
        let filter = filter.clone();
        let database = self.with(|open| Arc::clone(&open.database))?;
        let page = move |it: &Database| it.page(workspace, &filter, after, limit, Reach::Disk);
        self.read_apart(database, page).await
    }

    async fn change(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &KeyChange,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError> {
        let (change, trace) = (change.clone(), trace.clone());
        let alter = Box::new(Alter { workspace, id, change, trace });
        self.commit(|answer| Change::Alter(alter, answer)).await
    }

    async fn scan(&self, after: Option<KeyId>, limit: usize) -> Result<Vec<StoredKey>, StoreError> {
        self.read(move |database, reach| database.scan(after, limit, reach)).await
    }

    async fn import(&self, records: &[StoredKey]) -> Result<Imported, StoreError> {
        let records = records.to_vec();
        self.commit(|answer| Change::Import { records, answer }).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        // Looked up here and not by the committer: thousands of reads would keep changes waiting.
        let _one_at_a_time = self.recording.lock().await;
        let database = self.with(|open| Arc::clone(&open.database))?;
        let uses = uses.to_vec();
        let news = self.read_apart(database, move |it| it.news(&uses, Reach::Disk)).await?;
        self.commit(|answer| Change::Use { uses: news, answer }).await
    }

    async fn last_uses(&self, keys: &[KeyPlace]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let keys = keys.to_vec();
        self.read(move |database, reach| database.last_uses(&keys, reach)).await
    }

    async fn seal(&self, sealed: bool) -> Result<(), StoreError> {
        self.commit(|answer| Change::Seal { sealed, answer }).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let writable =
            self.with(|open| !open.failed.load(Ordering::Acquire) && !open.changes.is_closed())?;
        if !writable {
            return Err(unavailable("the store can be read but not written"));
        }
        self.read(Database::check).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { database, changes, finished, released, ending, .. }) = open else {
            return Ok(());
        };
        // The committer ends when no caller can send to it any more.
        drop(changes);
        let finished = finished.await;
        // It has said its last word.
        drop(ending);
        drop(database);
        // Reads that are under way keep the database until they end.
        let _ = released.await;
        finished.unwrap_or_else(|_| Err(unavailable("the committer had ended before")))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::testing::{addition, digest, key};

    fn open(dir: &TempDir) -> RocksStore {
        RocksStore::open(dir.path(), Settings::default()).unwrap()
    }

    fn new(key: &ApiKey) -> Addition {
        addition(StoredKey { digest: digest(key), key: key.clone() })
    }

    /// Puts another queue in the place of the committer's, which ends.
    fn redirect(store: &RocksStore, queue: mpsc::Sender<Change>) {
        store.open.write().unwrap().as_mut().unwrap().changes = queue;
    }

    #[tokio::test]
    async fn when_the_committer_has_ended_changes_fail_and_reads_go_on() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        let key = key(1, 1);
        store.add(new(&key)).await.unwrap();
        redirect(&store, mpsc::channel(1).0);
        let outcomes = [store.add(new(&key)).await.map(drop), store.ready().await];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
        assert_eq!(store.find(&digest(&key)).await.unwrap(), Some(key));
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_change_whose_answer_is_lost_is_unavailable() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        let (queue, mut taken) = mpsc::channel(1);
        redirect(&store, queue);
        let lose = async { drop(taken.recv().await) };
        let (outcome, ()) = tokio::join!(store.add(new(&key(1, 1))), lose);
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        store.close().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_waits_only_so_long_for_a_place_in_the_queue() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        let (queue, _full) = mpsc::channel(1);
        let (answer, _) = oneshot::channel();
        assert!(queue.try_send(Change::Add(Box::new(new(&key(1, 1))), answer)).is_ok());
        redirect(&store, queue);
        let before = tokio::time::Instant::now();
        let outcome = store.add(new(&key(1, 2))).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        assert_eq!(before.elapsed(), QUEUE_WAIT);
        store.close().await.unwrap();
    }
}

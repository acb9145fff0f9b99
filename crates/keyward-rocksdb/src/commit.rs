//! The committer: one thread that makes every change.
//!
//! Callers put their changes into a bounded queue. The committer takes what is waiting, decides each
//! change against the store, writes the whole group as one synced batch, and then answers everyone:
//! callers who wait at the same time share one sync of the disk. Because one thread decides, racing
//! changes happen one after the other without a lock.
//!
//! A change is decided before its group is written. So that it never overlooks another change of the
//! same group, a group ends before a change whose id or digest it has touched already.
//!
//! After a write has failed nobody knows whether the log holds it, and RocksDB may refuse any other.
//! No further change is accepted then until the store is opened anew; reads go on.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use keyward_core::clock::Timestamp;
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::secret::KeyDigest;
use keyward_core::store::{StoreError, StoredKey, Unique};
use rocksdb::WriteBatch;
use tokio::sync::{mpsc, oneshot};

use crate::database::{Database, Reach};
use crate::error::{ReadError, classify, unavailable};

/// Changes that may wait for the committer.
pub const QUEUE_LEN: usize = 4096;
/// Most changes that share one sync.
const MAX_GROUP: usize = 1024;

/// Where the answer to a change goes. Nobody may be waiting for it any more.
pub type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A change that waits to be made.
pub enum Change {
    /// [`keyward_core::store::KeyStore::create`].
    Create { stored: Box<StoredKey>, answer: Answer<()> },
    /// [`keyward_core::store::KeyStore::revoke`].
    Revoke { workspace: WorkspaceId, id: KeyId, at: Timestamp, answer: Answer<Option<ApiKey>> },
}

/// A change that was decided; the answer waits for the write.
enum Decided {
    Create(Answer<()>, Result<(), StoreError>),
    Revoke(Answer<Option<ApiKey>>, Result<Option<ApiKey>, StoreError>),
}

/// The one that makes changes. It runs until every sender of its queue is gone.
pub struct Committer {
    database: Arc<Database>,
    queue: mpsc::Receiver<Change>,
    /// The change before which the last group ended.
    next: Option<Change>,
    failed: Arc<AtomicBool>,
}

impl Committer {
    /// A committer for `queue`, which raises `failed` when a write fails.
    pub fn new(
        database: Arc<Database>,
        queue: mpsc::Receiver<Change>,
        failed: Arc<AtomicBool>,
    ) -> Self {
        Self { database, queue, next: None, failed }
    }

    /// Starts it on a thread of its own. What comes back says how it ended.
    pub fn start(self) -> io::Result<oneshot::Receiver<Result<(), StoreError>>> {
        let (done, finished) = oneshot::channel();
        let run = move || {
            let outcome = self.run();
            // Nobody waits where the store was dropped without being closed.
            let _ = done.send(outcome);
        };
        thread::Builder::new().name("keyward-commit".into()).spawn(run)?;
        Ok(finished)
    }

    /// Makes every change that comes, and in the end sees to it that all are on the disk.
    fn run(mut self) -> Result<(), StoreError> {
        while let Some(group) = self.next_group() {
            self.commit(group);
        }
        self.database.sync().map_err(classify)
    }

    /// Waits for a change, and takes along what else is waiting. `None` when no more will come.
    fn next_group(&mut self) -> Option<Vec<Change>> {
        let first = self.next.take().or_else(|| self.queue.blocking_recv())?;
        let mut touched = Touched::default();
        touched.add(&first);
        let mut group = vec![first];
        while group.len() < MAX_GROUP
            && let Ok(change) = self.queue.try_recv()
        {
            if !touched.add(&change) {
                self.next = Some(change);
                break;
            }
            group.push(change);
        }
        Some(group)
    }

    fn commit(&self, group: Vec<Change>) {
        if self.failed.load(Ordering::Acquire) {
            group.into_iter().for_each(refuse);
            return;
        }
        let mut batch = WriteBatch::default();
        let decided: Vec<_> =
            group.into_iter().map(|change| self.decide(change, &mut batch)).collect();
        let written = if batch.is_empty() { Ok(()) } else { self.database.write(batch) };
        if written.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        for one in decided {
            one.answer(&written);
        }
    }

    fn decide(&self, change: Change, batch: &mut WriteBatch) -> Decided {
        match change {
            Change::Create { stored, answer } => {
                Decided::Create(answer, self.create(&stored, batch))
            }
            Change::Revoke { workspace, id, at, answer } => {
                let outcome = self.revoke(workspace, id, at, batch);
                Decided::Revoke(answer, outcome.map_err(StoreError::from))
            }
        }
    }

    fn create(&self, stored: &StoredKey, batch: &mut WriteBatch) -> Result<(), StoreError> {
        if self.database.has_id(stored.key.id)? {
            return Err(StoreError::Conflict(Unique::Id));
        }
        if self.database.has_digest(&stored.digest)? {
            return Err(StoreError::Conflict(Unique::Digest));
        }
        Ok(self.database.stage_new(batch, stored)?)
    }

    /// What is found revoked is on the disk already: its group was, before this one was decided.
    fn revoke(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        at: Timestamp,
        batch: &mut WriteBatch,
    ) -> Result<Option<ApiKey>, ReadError> {
        let Some(mut stored) = self.database.get(workspace, id, Reach::Disk)? else {
            return Ok(None);
        };
        if stored.key.revoke(at) {
            self.database.stage(batch, &stored)?;
        }
        Ok(Some(stored.key))
    }
}

impl Decided {
    fn answer(self, written: &Result<(), rocksdb::Error>) {
        match self {
            Self::Create(answer, outcome) => settle(answer, outcome, written),
            Self::Revoke(answer, outcome) => settle(answer, outcome, written),
        }
    }
}

fn settle<T>(
    answer: Answer<T>,
    outcome: Result<T, StoreError>,
    written: &Result<(), rocksdb::Error>,
) {
    let outcome = match written {
        Ok(()) => outcome,
        Err(error) => Err(classify(error.clone())),
    };
    // An error means that the caller has gone, which changes nothing here.
    let _ = answer.send(outcome);
}

fn refuse(change: Change) {
    let refusal = unavailable("an earlier write failed, and the store must be opened anew");
    // As above: nobody may be there to hear it.
    match change {
        Change::Create { answer, .. } => drop(answer.send(Err(refusal))),
        Change::Revoke { answer, .. } => drop(answer.send(Err(refusal))),
    }
}

/// What the changes of a group are about.
#[derive(Default)]
struct Touched {
    ids: HashSet<KeyId>,
    digests: HashSet<KeyDigest>,
}

impl Touched {
    /// Adds what `change` is about, unless some of it was touched before.
    fn add(&mut self, change: &Change) -> bool {
        match change {
            Change::Create { stored, .. } => {
                let new = !self.ids.contains(&stored.key.id) && self.digests.insert(stored.digest);
                new && self.ids.insert(stored.key.id)
            }
            Change::Revoke { id, .. } => self.ids.insert(*id),
        }
    }
}

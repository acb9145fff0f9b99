//! The committer: one thread that makes every change.
//!
//! Callers put their changes into a bounded queue. The committer takes what is waiting, decides each
//! change against the store, writes the whole group as one synced batch, and then answers everyone:
//! callers who wait at the same time share one sync of the disk. Because one thread decides, racing
//! changes happen one after the other without a lock.
//!
//! A change is decided before its group is written. So that it never overlooks another change of the
//! same group, a group ends before a change whose id or digest it has touched already. An import, links
//! of the audit trail and the seal are groups of their own.
//!
//! Because changes are decided one after the other, none that came before the seal is still to come
//! when sealing is answered, and each that comes later finds the seal.
//!
//! For the same reason it seals the event of a change in the change's own step: no other link can come
//! between the end of a chain and the one that it adds. What the sealer is for is left to events that
//! were imported, or written by an earlier version, before they were sealed.
//!
//! After a write has failed nobody knows whether the log holds it, and RocksDB may refuse any other.
//! No further change is accepted then until the store is opened anew; reads go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{io, thread};

use std::collections::HashMap;

use keyward_core::audit::{AuditKey, Event, Link, NewLink, Recorded};
use keyward_core::change::Outcome;
use keyward_core::id::WorkspaceId;
use keyward_core::store::{Added, Addition, Changed, Imported, StoreError, StoredKey, Unique};
use rocksdb::WriteBatch;
use tokio::sync::{mpsc, oneshot};

use crate::change::{Alter, Change, Decided, Touched};
use crate::database::Database;
use crate::error::{classify, unavailable};
use crate::setup::Reach;

/// Changes that may wait for the committer.
pub const QUEUE_LEN: usize = 4096;
/// Most changes that share one sync.
const MAX_GROUP: usize = 1024;

/// The one that makes changes. It runs until every sender of its queue is gone.
pub struct Committer {
    database: Arc<Database>,
    queue: mpsc::Receiver<Change>,
    /// The change before which the last group ended.
    next: Option<Change>,
    sealed: bool,
    /// Where the chains end to which the present group has added links.
    heads: HashMap<WorkspaceId, Link>,
    /// The request that was forgotten last. Those before it are gone, but for their traces in the files,
    /// over which a search from the beginning would go each time.
    forgotten: Vec<u8>,
    failed: Arc<AtomicBool>,
}

/// Waits, when it goes, until the committer's thread has gone. A process that ends while a thread leaves
/// RocksDB is cut down by it, because what such a thread needs is destroyed by then.
pub struct Ending(Option<JoinHandle<()>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // One that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Ending {
    /// Of no thread.
    pub const fn none() -> Self {
        Self(None)
    }
}

impl Committer {
    /// A committer for `queue`, which raises `failed` when a write fails.
    pub fn new(
        database: Arc<Database>,
        queue: mpsc::Receiver<Change>,
        failed: Arc<AtomicBool>,
    ) -> Result<Self, rocksdb::Error> {
        let sealed = database.sealed()?;
        let (heads, forgotten) = (HashMap::new(), Vec::new());
        Ok(Self { database, queue, next: None, sealed, heads, forgotten, failed })
    }

    /// Starts it on a thread of its own. What comes back says how it ended, and waits for the thread.
    pub fn start(self) -> io::Result<(oneshot::Receiver<Result<(), StoreError>>, Ending)> {
        let (done, finished) = oneshot::channel();
        let run = move || {
            let outcome = self.run();
            // Nobody waits where the store was dropped without being closed.
            let _ = done.send(outcome);
        };
        let thread = thread::Builder::new().name("keyward-commit".into()).spawn(run)?;
        Ok((finished, Ending(Some(thread))))
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
        // The first touches nothing that was touched before: it is one that goes alone.
        let alone = !touched.add(&first);
        let mut group = vec![first];
        while !alone
            && group.len() < MAX_GROUP
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

    fn commit(&mut self, group: Vec<Change>) {
        if self.failed.load(Ordering::Acquire) {
            for change in group {
                let why = "an earlier write failed, and the store must be opened anew";
                change.refuse(unavailable(why));
            }
            return;
        }
        let mut batch = WriteBatch::default();
        self.forget(&group, &mut batch);
        let decided: Vec<_> =
            group.into_iter().filter_map(|change| self.decide(change, &mut batch)).collect();
        for (workspace, head) in self.heads.drain() {
            Database::stage_head(&mut batch, workspace, head);
        }
        let written = if batch.is_empty() { Ok(()) } else { self.database.write(batch) };
        if written.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        for one in decided {
            one.answer(&written);
        }
    }

    /// Forgets requests that are over, where the group is to remember some. One that is not forgotten now
    /// will be another time.
    fn forget(&mut self, group: &[Change], batch: &mut WriteBatch) {
        let since = group.iter().filter_map(|change| match change {
            Change::Add(addition, _) => addition.once.map(|once| once.since),
            _ => None,
        });
        if let Some(since) = since.min().filter(|_| !self.sealed)
            && let Ok(last) = self.database.stage_forgetting(batch, since, &self.forgotten)
        {
            self.forgotten = last;
        }
    }

    /// `None` where the change was refused.
    fn decide(&mut self, change: Change, batch: &mut WriteBatch) -> Option<Decided> {
        Some(match change {
            Change::Seal { sealed, answer } => {
                self.seal(sealed, batch);
                Decided::Made(answer, Ok(()))
            }
            // Sealed or not: they are no change of a record.
            Change::Use { uses, answer } => {
                Database::stage_uses(batch, &uses);
                Decided::Made(answer, Ok(()))
            }
            change if self.sealed => {
                change.refuse(StoreError::Sealed);
                return None;
            }
            Change::Add(addition, answer) => {
                let outcome = self.add(&addition, batch);
                Decided::Added(answer, outcome)
            }
            Change::Alter(alter, answer) => {
                let outcome = self.alter(&alter, batch);
                Decided::Altered(answer, Box::new(outcome))
            }
            // All or none, and the group is this change alone.
            Change::Import { records, answer } => {
                let outcome = self.import(&records, batch);
                if outcome.is_err() {
                    batch.clear();
                }
                Decided::Imported(answer, outcome)
            }
            Change::Link { links, answer } => {
                let outcome = self.link(&links, batch);
                if !matches!(outcome, Ok(true)) {
                    batch.clear();
                }
                Decided::Linked(answer, outcome)
            }
            Change::Events { events, answer } => {
                let outcome = self.import_events(&events, batch);
                if outcome.is_err() {
                    batch.clear();
                }
                Decided::Made(answer, outcome)
            }
        })
    }

    /// Where the write fails the committer may take itself for sealed or not: it accepts nothing
    /// more in either case.
    fn seal(&mut self, sealed: bool, batch: &mut WriteBatch) {
        if self.sealed != sealed {
            Database::stage_seal(batch, sealed);
            self.sealed = sealed;
        }
    }

    fn add(&mut self, addition: &Addition, batch: &mut WriteBatch) -> Result<Added, StoreError> {
        let Addition { stored, trace, once } = addition;
        if let Some(before) =
            once.as_ref().map(|it| self.database.made_before(it)).transpose()?.flatten()
        {
            return Ok(before);
        }
        // It may be refused, and then nothing of the addition is there.
        self.create(stored, batch)?;
        if let Some(once) = once {
            Database::stage_once(batch, once, &stored.key);
        }
        self.record(&trace.of_creation(&stored.key), trace.key.as_ref(), batch);
        Ok(Added::New)
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

    fn import(
        &self,
        records: &[StoredKey],
        batch: &mut WriteBatch,
    ) -> Result<Imported, StoreError> {
        let mut imported = Imported::default();
        for given in records {
            let Some(mut stored) = self.database.by_id(given.key.id)? else {
                self.create(given, batch)?;
                imported.added += 1;
                continue;
            };
            let same = stored.digest == given.digest;
            match stored.key.absorb(&given.key) {
                Ok(true) if same => {
                    self.database.stage(batch, &stored)?;
                    imported.changed += 1;
                }
                Ok(false) if same => imported.unchanged += 1,
                _ => return Err(StoreError::Conflict(Unique::Id)),
            }
        }
        Ok(imported)
    }

    /// Adds an event to `batch`, as the next link of its workspace's chain where it is signed.
    ///
    /// A chain whose end cannot be read must keep nobody from revoking a key: then the event waits for the
    /// sealer, which says what is wrong.
    fn record(&mut self, event: &Event, key: Option<&AuditKey>, batch: &mut WriteBatch) {
        let link = key.zip(event.tag).and_then(|(key, tag)| {
            let head = match self.heads.get(&event.workspace) {
                Some(head) => Some(*head),
                None => self.database.head(event.workspace, Reach::Disk).ok()?,
            };
            let link = key.link(event.workspace, head, tag);
            self.heads.insert(event.workspace, link);
            Some(link)
        });
        Database::stage_event(batch, event, link.as_ref());
    }

    /// What is found revoked is on the disk already: its group was, before this one was decided.
    fn alter(
        &mut self,
        alter: &Alter,
        batch: &mut WriteBatch,
    ) -> Result<Option<Changed>, StoreError> {
        let Some(mut stored) = self.database.get(alter.workspace, alter.id, Reach::Disk)? else {
            return Ok(None);
        };
        let before = stored.key.clone();
        let outcome = alter.change.apply(&mut stored.key);
        if let Outcome::Succeeded(successor) = &outcome {
            // Staged first: it may be refused, and then nothing of the change is there.
            self.create(successor, batch)?;
        }
        if matches!(outcome, Outcome::Changed | Outcome::Succeeded(_)) {
            self.database.stage(batch, &stored)?;
        }
        if let Some(event) = alter.trace.of_change(&before, &stored.key) {
            self.record(&event, alter.trace.key.as_ref(), batch);
        }
        Ok(Some(Changed { key: stored.key, digest: stored.digest, outcome }))
    }

    fn link(&self, links: &[NewLink], batch: &mut WriteBatch) -> Result<bool, StoreError> {
        let mut heads: HashMap<WorkspaceId, Link> = HashMap::new();
        for new in links {
            let workspace = new.event.workspace;
            let end = match heads.get(&workspace) {
                Some(head) => head.number,
                None => self.database.head(workspace, Reach::Disk)?.map_or(0, |it| it.number),
            };
            if new.link.number != end + 1 || !self.database.stage_new_link(batch, new)? {
                return Ok(false);
            }
            heads.insert(workspace, new.link);
        }
        for (workspace, head) in heads {
            Database::stage_head(batch, workspace, head);
        }
        Ok(true)
    }

    fn import_events(&self, events: &[Recorded], batch: &mut WriteBatch) -> Result<(), StoreError> {
        let mut heads = HashMap::new();
        for recorded in events {
            self.database.stage_foreign_event(batch, recorded)?;
            if let Some(link) = recorded.link {
                let head = heads.entry(recorded.event.workspace).or_insert(link);
                if head.number < link.number {
                    *head = link;
                }
            }
        }
        for (workspace, link) in heads {
            // The newest link of an import may not be the last that is there.
            let known = self.database.head(workspace, Reach::Disk)?;
            if known.is_none_or(|known| known.number < link.number) {
                Database::stage_head(batch, workspace, link);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

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
//! After a write has failed nobody knows whether the log holds it, and RocksDB may refuse any other.
//! No further change is accepted then until the store is opened anew; reads go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use std::collections::HashMap;

use keyward_core::audit::{NewLink, Recorded};
use keyward_core::change::Outcome;
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
    failed: Arc<AtomicBool>,
}

impl Committer {
    /// A committer for `queue`, which raises `failed` when a write fails.
    pub fn new(
        database: Arc<Database>,
        queue: mpsc::Receiver<Change>,
        failed: Arc<AtomicBool>,
    ) -> Result<Self, rocksdb::Error> {
        let sealed = database.sealed()?;
        Ok(Self { database, queue, next: None, sealed, failed })
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
        let decided: Vec<_> =
            group.into_iter().filter_map(|change| self.decide(change, &mut batch)).collect();
        let written = if batch.is_empty() { Ok(()) } else { self.database.write(batch) };
        if written.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        for one in decided {
            one.answer(&written);
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

    fn add(&self, addition: &Addition, batch: &mut WriteBatch) -> Result<Added, StoreError> {
        let Addition { stored, trace, once } = addition;
        if let Some(once) = once {
            if let Some(before) = self.database.made_before(once)? {
                return Ok(before);
            }
            // It may be refused, and then nothing of it is there.
            self.vacant(stored)?;
            self.database.stage_once(batch, once, &stored.key)?;
        }
        self.create(stored, batch)?;
        Database::stage_event(batch, trace.of_creation(&stored.key));
        Ok(Added::New)
    }

    fn vacant(&self, stored: &StoredKey) -> Result<(), StoreError> {
        if self.database.has_id(stored.key.id)? {
            return Err(StoreError::Conflict(Unique::Id));
        }
        if self.database.has_digest(&stored.digest)? {
            return Err(StoreError::Conflict(Unique::Digest));
        }
        Ok(())
    }

    fn create(&self, stored: &StoredKey, batch: &mut WriteBatch) -> Result<(), StoreError> {
        self.vacant(stored)?;
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

    /// What is found revoked is on the disk already: its group was, before this one was decided.
    fn alter(&self, alter: &Alter, batch: &mut WriteBatch) -> Result<Option<Changed>, StoreError> {
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
            Database::stage_event(batch, event);
        }
        Ok(Some(Changed { key: stored.key, digest: stored.digest, outcome }))
    }

    fn link(&self, links: &[NewLink], batch: &mut WriteBatch) -> Result<bool, StoreError> {
        let mut ends = HashMap::new();
        for new in links {
            let known = match ends.get(&new.workspace) {
                Some(end) => *end,
                None => self.database.head(new.workspace, Reach::Disk)?.map_or(0, |it| it.number),
            };
            if new.link.number != known + 1 || !self.database.stage_new_link(batch, new)? {
                return Ok(false);
            }
            ends.insert(new.workspace, new.link.number);
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
            self.database.stage_head(batch, workspace, link)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use keyward_core::change;
    use keyward_core::clock::Timestamp;
    use keyward_core::key::{ApiKey, Status};
    use keyward_core::secret::KeyDigest;
    use tempfile::TempDir;

    use super::*;
    use crate::database::tests::{add, create, read_only};
    use crate::testing::{addition, digest, key, trace};

    /// A committer that runs when the test says so, and its queue.
    struct Bench {
        queue: mpsc::Sender<Change>,
        committer: Committer,
    }

    impl Bench {
        fn new(database: Database) -> Self {
            let (queue, waiting) = mpsc::channel(QUEUE_LEN);
            let committer = Committer::new(Arc::new(database), waiting, Arc::default()).unwrap();
            Self { queue, committer }
        }

        fn create(
            &self,
            key: ApiKey,
            digest: KeyDigest,
        ) -> oneshot::Receiver<Result<Added, StoreError>> {
            let (answer, answered) = oneshot::channel();
            let addition = addition(StoredKey { key, digest });
            assert!(self.queue.try_send(Change::Add(Box::new(addition), answer)).is_ok());
            answered
        }

        fn create_new(&self, n: u64) -> oneshot::Receiver<Result<Added, StoreError>> {
            let key = key(1, n);
            self.create(key.clone(), digest(&key))
        }

        fn revoke(
            &self,
            n: u64,
            at: Timestamp,
        ) -> oneshot::Receiver<Result<Option<Changed>, StoreError>> {
            let (answer, answered) = oneshot::channel();
            let ApiKey { workspace_id: workspace, id, .. } = key(1, n);
            let change = change::Change::Revoke(at.into());
            let alter = Box::new(Alter { workspace, id, change, trace: trace(n) });
            assert!(self.queue.try_send(Change::Alter(alter, answer)).is_ok());
            answered
        }

        fn import(&self, keys: &[ApiKey]) -> oneshot::Receiver<Result<Imported, StoreError>> {
            let (answer, answered) = oneshot::channel();
            let stored = |key: &ApiKey| StoredKey { digest: digest(key), key: key.clone() };
            let records = keys.iter().map(stored).collect();
            assert!(self.queue.try_send(Change::Import { records, answer }).is_ok());
            answered
        }

        fn seal(&self, sealed: bool) -> oneshot::Receiver<Result<(), StoreError>> {
            let (answer, answered) = oneshot::channel();
            assert!(self.queue.try_send(Change::Seal { sealed, answer }).is_ok());
            answered
        }

        /// Commits the next group, and says how many changes it had.
        fn step(&mut self) -> usize {
            let group = self.committer.next_group().unwrap();
            let len = group.len();
            self.committer.commit(group);
            len
        }
    }

    fn later(n: u64) -> Timestamp {
        key(1, 1000 + n).created_at
    }

    #[test]
    fn changes_that_wait_share_one_write() {
        let dir = TempDir::new().unwrap();
        let mut bench = Bench::new(create(&dir));
        let answers: Vec<_> = (0..64).map(|n| bench.create_new(n)).collect();
        assert_eq!(bench.step(), 64);
        for answer in answers {
            answer.blocking_recv().unwrap().unwrap();
        }
    }

    #[test]
    fn a_group_is_bounded() {
        let dir = TempDir::new().unwrap();
        let mut bench = Bench::new(create(&dir));
        let _answers: Vec<_> = (0..1500).map(|n| bench.create_new(n)).collect();
        assert_eq!([bench.step(), bench.step()], [MAX_GROUP, 1500 - MAX_GROUP]);
    }

    #[test]
    fn a_change_sees_those_before_it_that_wait_with_it() {
        let dir = TempDir::new().unwrap();
        let mut bench = Bench::new(create(&dir));
        let created = bench.create_new(1);
        let revoked = bench.revoke(1, later(1));
        let same_digest = bench.create(key(1, 2), digest(&key(1, 1)));
        let again = bench.revoke(1, later(2));
        let same_id = bench.create(key(1, 1), digest(&key(1, 3)));
        assert_eq!([bench.step(), bench.step(), bench.step(), bench.step()], [1, 2, 1, 1]);
        created.blocking_recv().unwrap().unwrap();
        for answer in [revoked, again] {
            let key = answer.blocking_recv().unwrap().unwrap().unwrap().key;
            assert_eq!((key.status, key.updated_at), (Status::Revoked, later(1)));
        }
        let conflicts =
            [same_digest, same_id].map(|answer| answer.blocking_recv().unwrap().unwrap_err());
        assert!(matches!(
            conflicts,
            [StoreError::Conflict(Unique::Digest), StoreError::Conflict(Unique::Id)]
        ));
    }

    #[test]
    fn a_caller_who_has_gone_does_not_disturb_the_others() {
        let dir = TempDir::new().unwrap();
        let mut bench = Bench::new(create(&dir));
        drop(bench.create_new(1));
        let stayed = bench.create_new(2);
        assert_eq!(bench.step(), 2);
        stayed.blocking_recv().unwrap().unwrap();
        let found = bench.committer.database.find(&digest(&key(1, 1)), Reach::Disk);
        assert_eq!(found.unwrap().unwrap().key, key(1, 1));
    }

    #[test]
    fn after_a_failed_write_no_change_is_accepted_and_reads_go_on() {
        let dir = TempDir::new().unwrap();
        add(&create(&dir), 1);
        let mut bench = Bench::new(read_only(&dir));
        let created = bench.create_new(2);
        let revoked = bench.revoke(1, later(1));
        assert_eq!(bench.step(), 2);
        assert!(bench.committer.failed.load(Ordering::Acquire));
        let unknown = bench.revoke(3, later(1));
        bench.step();
        let created = created.blocking_recv().unwrap();
        assert!(matches!(created, Err(StoreError::Unavailable(_))), "{created:?}");
        for answer in [revoked, unknown] {
            let outcome = answer.blocking_recv().unwrap();
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
        let found = bench.committer.database.find(&digest(&key(1, 1)), Reach::Disk);
        assert_eq!(found.unwrap().unwrap().key, key(1, 1));
    }

    #[test]
    fn an_import_goes_alone_and_sees_what_came_before() {
        let dir = TempDir::new().unwrap();
        let mut bench = Bench::new(create(&dir));
        let before = bench.create_new(1);
        let imported = bench.import(&[key(1, 1), key(1, 2)]);
        let after = bench.create_new(2);
        assert_eq!([bench.step(), bench.step(), bench.step()], [1, 1, 1]);
        before.blocking_recv().unwrap().unwrap();
        let expected = Imported { added: 1, unchanged: 1, changed: 0 };
        assert_eq!(imported.blocking_recv().unwrap().unwrap(), expected);
        let taken = after.blocking_recv().unwrap();
        assert!(matches!(taken, Err(StoreError::Conflict(Unique::Id))), "{taken:?}");
    }

    #[test]
    fn changes_that_wait_before_the_seal_are_made_and_those_behind_it_refused() {
        let dir = TempDir::new().unwrap();
        let mut bench = Bench::new(create(&dir));
        let before = bench.create_new(1);
        let sealed = bench.seal(true);
        let refused = [bench.create_new(2), bench.create_new(3)];
        let unsealed = bench.seal(false);
        let after = bench.create_new(2);
        assert_eq!(std::array::from_fn::<_, 5, _>(|_| bench.step()), [1, 1, 2, 1, 1]);
        for made in [before, after] {
            made.blocking_recv().unwrap().unwrap();
        }
        for made in [sealed, unsealed] {
            made.blocking_recv().unwrap().unwrap();
        }
        for answer in refused {
            let outcome = answer.blocking_recv().unwrap();
            assert!(matches!(outcome, Err(StoreError::Sealed)), "{outcome:?}");
        }
    }
}

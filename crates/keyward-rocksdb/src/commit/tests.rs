use keyward_core::change;
use keyward_core::clock::Timestamp;
use keyward_core::key::{ApiKey, Status};
use keyward_core::secret::KeyDigest;
use keyward_core::store::Once;
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
fn signed_events_are_sealed_with_their_changes() {
    let dir = TempDir::new().unwrap();
    let mut bench = Bench::new(create(&dir));
    let audit_key = AuditKey::new(&[7; 32]).unwrap();
    let add = |bench: &Bench, n: u64| {
        let mut addition = addition(StoredKey { key: key(1, n), digest: digest(&key(1, n)) });
        addition.trace.key = Some(audit_key.clone());
        let (answer, answered) = oneshot::channel();
        assert!(bench.queue.try_send(Change::Add(Box::new(addition), answer)).is_ok());
        answered
    };
    let mut answers: Vec<_> = (0..3).map(|n| add(&bench, n)).collect();
    assert_eq!(bench.step(), 3);
    // The same key again is refused, and leaves no gap.
    answers.extend([add(&bench, 3), add(&bench, 4)]);
    let refused = add(&bench, 0);
    assert_eq!(bench.step(), 3);
    assert!(refused.blocking_recv().unwrap().is_err());
    for answer in answers {
        assert_eq!(answer.blocking_recv().unwrap().unwrap(), Added::New);
    }
    // What changes nothing writes nothing, and waits for no disk.
    let newest = bench.committer.database.newest_entry();
    let refused = add(&bench, 0);
    bench.step();
    assert!(refused.blocking_recv().unwrap().is_err());
    assert_eq!(bench.committer.database.newest_entry(), newest);
    let database = &bench.committer.database;
    let workspace = key(1, 0).workspace_id;
    let chain = database.chain(workspace, 0, 10, Reach::Disk).unwrap();
    assert_eq!(chain.len(), 5);
    let mut head = None;
    for recorded in chain {
        head = Some(audit_key.link(workspace, head, recorded.event.tag.unwrap()));
        assert_eq!(recorded.link, head);
    }
    assert_eq!(database.head(workspace, Reach::Disk).unwrap(), head);
    assert_eq!(database.unsealed(None, 10, Reach::Disk).unwrap(), []);
}

#[test]
fn what_is_forgotten_in_a_group_is_not_what_the_group_remembers() {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    let dir = TempDir::new().unwrap();
    let mut bench = Bench::new(create(&dir));
    let add = |bench: &Bench, n: u64, name: u8, days: i64| {
        let mut key = key(1, n);
        let at = Timestamp::from_micros(key.created_at.as_micros() + days * DAY).unwrap();
        (key.created_at, key.updated_at) = (at, at);
        let since = Timestamp::from_micros(at.as_micros() - DAY).unwrap();
        let once = Some(Once { name: [name; 32], content: [0; 32], since });
        let addition = addition(StoredKey { digest: digest(&key), key });
        let (answer, answered) = oneshot::channel();
        let change = Change::Add(Box::new(Addition { once, ..addition }), answer);
        assert!(bench.queue.try_send(change).is_ok());
        answered
    };
    let first = add(&bench, 1, 1, 0);
    assert_eq!(bench.step(), 1);
    assert_eq!(first.blocking_recv().unwrap().unwrap(), Added::New);
    // The name is used again when its day is over, beside another one, which forgets what is over.
    let again = [add(&bench, 2, 1, 5), add(&bench, 3, 2, 5)];
    assert_eq!(bench.step(), 2);
    for answer in again {
        assert_eq!(answer.blocking_recv().unwrap().unwrap(), Added::New);
    }
    let replays = [add(&bench, 4, 1, 5), add(&bench, 5, 2, 5)];
    bench.step();
    for answer in replays {
        assert!(matches!(answer.blocking_recv().unwrap().unwrap(), Added::Before(_)));
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

//! The contract that every storage driver keeps.
//!
//! A driver is proved by the conformance list of the tests (`cargo xtask test --driver NAME`), whose
//! cases say the same as the sentences here. [`crate::memory::MemoryStore`] is the shortest driver
//! that keeps them all, and is meant to be read beside this page.

mod feed;

use std::error::Error;

use async_trait::async_trait;

use crate::audit::{AuditLog, Trace};
use crate::change::{Change, Outcome};
use crate::clock::Timestamp;
use crate::id::{AccountId, KeyId, WorkspaceId};
use crate::key::{ApiKey, KeyName, Status};
use crate::secret::KeyDigest;

pub use self::feed::{ChangeFeed, Mark, News, Poll, WindowChange, Windows};

/// What a driver's own error is boxed as: no vendor's type crosses the trait.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a store could not do what it was asked.
///
/// That a record is not there is no error: it is `Ok(None)`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record with the same id or the same digest exists. Nothing was changed.
    #[error("a key with the same {0} exists")]
    Conflict(Unique),
    /// The store cannot be asked now: unreachable, overloaded, closed, or failed at writing. A
    /// change may or may not have been made; what is found later is the whole change or none of
    /// it. Trying again later may help.
    #[error("the store is unavailable")]
    Unavailable(#[source] BoxError),
    /// The store is sealed, see [`KeyStore::seal`]. Nothing was changed.
    #[error("the store is sealed")]
    Sealed,
    /// What was read is not what this version writes. Trying again does not help.
    #[error("a stored record is damaged")]
    Corrupt(#[source] BoxError),
}

/// What no two records share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// [`ApiKey::id`], over all workspaces.
    Id,
    /// The digest of the key.
    Digest,
}

impl std::fmt::Display for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Id => "id",
            Self::Digest => "digest",
        })
    }
}

/// A record together with the digest that it is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The record.
    pub key: ApiKey,
    /// The digest of its key.
    pub digest: KeyDigest,
}

/// A record that is to be added.
#[derive(Debug, Clone)]
pub struct Addition {
    /// The record, and the digest that it is found by.
    pub stored: StoredKey,
    /// What the event of it is made of.
    pub trace: Trace,
    /// What keeps it from being added twice, where somebody asked for that.
    pub once: Option<Once>,
}

/// A request that is to make one record, however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    /// Stands for the request, whatever is in it.
    pub name: [u8; 32],
    /// Stands for what is in it.
    pub content: [u8; 32],
    /// From when on it is remembered. What was made before is as if it had not been.
    pub since: Timestamp,
}

/// What came of an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// The record was added.
    New,
    /// Nothing: the same request has made this record before.
    Before(Box<ApiKey>),
    /// Nothing: a request with other content had the same name.
    Other,
}

/// A place in the list of a workspace: just behind the record with this time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPosition {
    /// [`ApiKey::created_at`] of that record.
    pub created_at: Timestamp,
    /// [`ApiKey::id`] of that record.
    pub id: KeyId,
}

impl From<&ApiKey> for ListPosition {
    fn from(key: &ApiKey) -> Self {
        Self { created_at: key.created_at, id: key.id }
    }
}

/// Where a record stands, for life: in which workspace, and where in the list of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPlace {
    /// [`ApiKey::workspace_id`] of the record.
    pub workspace: WorkspaceId,
    /// Its place there.
    pub position: ListPosition,
}

impl From<&ApiKey> for KeyPlace {
    fn from(key: &ApiKey) -> Self {
        Self { workspace: key.workspace_id, position: key.into() }
    }
}

/// When a key was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Where its record stands.
    pub key: KeyPlace,
    /// The time.
    pub at: Timestamp,
}

/// Which records of a workspace a list shows: those of which all holds that is said here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// They have this status.
    pub status: Option<Status>,
    /// This account made them.
    pub created_by: Option<AccountId>,
    /// This is their name, to the letter.
    pub name: Option<KeyName>,
}

impl Filter {
    /// Every record is shown.
    pub const ALL: Self = Self { status: None, created_by: None, name: None };

    /// Whether the record is shown.
    pub fn lets_through(&self, key: &ApiKey) -> bool {
        self.status.is_none_or(|status| key.status == status)
            && self.created_by.is_none_or(|account| key.created_by == account)
            && self.name.as_ref().is_none_or(|name| key.name == *name)
    }
}

/// A record that was to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The record as it is then.
    pub key: ApiKey,
    /// The digest of its key.
    pub digest: KeyDigest,
    /// What came of the change.
    pub outcome: Outcome,
}

/// What [`KeyStore::import`] did with the records that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Records that were not there.
    pub added: u64,
    /// Records that were there, and became what was given.
    pub changed: u64,
    /// Records that were there as they should be.
    pub unchanged: u64,
}

impl std::ops::AddAssign for Imported {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
    }
}

/// A store of keys.
///
/// # What holds for every method
///
/// - **Atomic.** Each call is one step: others see all of it or nothing.
/// - **Durable.** When a change has been answered `Ok`, it outlives the death of the process and
///   of the machine. (A store in memory outlives nothing and says so.)
/// - **Read your writes.** A call that begins after a change was answered sees that change.
/// - **Given, not made.** Ids, digests and times arrive ready-made; a driver never asks for the
///   time and never draws a random number. What it was given it returns, to the microsecond and
///   to the byte.
/// - **Order.** Where two changes of one record race, they happen one after the other.
/// - **Cancelled.** A caller that stops waiting stops nothing: a change that was begun may still
///   be made, whole.
/// - **No secret.** A driver is given digests and never a key. Neither its errors nor its logs
///   hold a digest or a password.
/// - **Scope.** Records of different workspaces never meet: a call that names a workspace neither
///   shows nor changes a record of another, and answers as if that record were not there.
///
/// # Who else writes
///
/// A store is either **exclusive** or **shared**, and says which ([`KeyStore::feed`]).
///
/// - *Exclusive*: only this process writes it, as for RocksDB, which locks its directory. It has no
///   feed: the process that changes a record is the one that remembers it, and it forgets the record
///   before it answers.
/// - *Shared*: others may write it too, as for Postgres: the other nodes, or a person with `psql`.
///   What this process remembers of a record may have changed since; the [`ChangeFeed`] tells.
///
/// All that holds for every method holds for a shared store over all processes: a call that begins
/// on one node after a change was answered on another sees that change.
///
/// # Moving to another store
///
/// `keyward copy` reads one store with [`KeyStore::scan`] and [`KeyStore::last_uses`] and writes another
/// with [`KeyStore::import`] and [`KeyStore::record_uses`]; [`KeyStore::seal`] keeps the first from changing meanwhile, and afterwards.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// What others change in the store; `None` where nobody else can change anything. Always the
    /// same for one store.
    fn feed(&self) -> Option<&dyn ChangeFeed>;

    /// The audit trail.
    fn audit(&self) -> &dyn AuditLog;

    /// Adds a record under its digest, and the event that it was made. Where the addition is to be made
    /// [`Once`], it is remembered with the record, for requests that are sent again: of two that race,
    /// one makes its record, and the other is told of it. What is remembered from before
    /// [`Once::since`] is forgotten some at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when the id or the digest is taken, in whatever workspace; the
    /// record that was there stays as it is. [`StoreError::Sealed`] in a sealed store, unless the answer
    /// is that the request was made before: there either will do.
    async fn add(&self, addition: Addition) -> Result<Added, StoreError>;

    /// The record `id` of `workspace`, whatever its status. `None` where there is no such id and
    /// where it belongs to another workspace: the two cannot be told apart.
    async fn get(&self, workspace: WorkspaceId, id: KeyId)
    -> Result<Option<StoredKey>, StoreError>;

    /// The record with this digest, in whatever workspace and whatever its status. This is the
    /// read behind verification: it must see every change that was answered before it began.
    async fn find(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, StoreError>;

    /// One page of a workspace: at most `limit` of the records that `filter` lets through, newest
    /// first by [`ApiKey::created_at`], equal times by ascending [`ApiKey::id`], behind `after` where
    /// it is given. Fewer than `limit` mean that the list has ended; a `limit` of zero gives none.
    ///
    /// The page is one moment of the workspace. Nothing is held between two pages, and a record
    /// that exists throughout is on exactly one of them, whatever is created or revoked meanwhile.
    /// The position need not belong to a record. The cost is that of the page and of what the filter
    /// holds back before its end, not of the workspace.
    async fn list(
        &self,
        workspace: WorkspaceId,
        filter: &Filter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError>;

    /// Makes of the record `id` of `workspace` what [`Change::apply`] makes of it, adds the record
    /// that takes its place where there is one, and returns what came of it. What is applied is
    /// applied to the record as no other change leaves it until this one is made: of two changes of
    /// one record, the later sees what the earlier did. `None` as for [`KeyStore::get`]. Where the
    /// record has become another, the event of it is written too.
    ///
    /// Revoked is terminal: no sequence of calls, no crash and no reopening makes the record
    /// active again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sealed`] in a sealed store, unless the answer is `None`: there either will do.
    /// [`StoreError::Conflict`] where the record that is to be added cannot be, see
    /// [`KeyStore::add`]; nothing was changed then.
    async fn change(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &Change,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError>;

    /// One page of all records of all workspaces, by ascending [`ApiKey::id`]: at most `limit`,
    /// behind the id `after` where it is given. Fewer than `limit` mean that there are no more; a
    /// `limit` of zero gives none. Pages are what those of [`KeyStore::list`] are.
    async fn scan(&self, after: Option<KeyId>, limit: usize) -> Result<Vec<StoredKey>, StoreError>;

    /// Adds records of another store, all or none, as [`ApiKey::absorb`] says where a record with
    /// the same id and digest is there already: revoked wins over active, the later change over the
    /// earlier, and importing again changes nothing.
    /// No two of `records` share an id or a digest; they may be many thousands. An import is no event:
    /// those of the other store come by [`AuditLog::import_events`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when an id is taken by a record that is a different key, or a digest
    /// by a record with another id. [`StoreError::Sealed`] in a sealed store.
    async fn import(&self, records: &[StoredKey]) -> Result<Imported, StoreError>;

    /// Notes when keys were last used; where a later time is known, that one stays. A use is no change
    /// of a record: `updated_at` stays, no feed tells of it, and a sealed store takes it too. No two of
    /// `uses` are of one key; they may be some thousands.
    ///
    /// What was answered `Ok` outlives the death of the process. Whether it outlives that of the
    /// machine is left to the driver, because nobody is let in or kept out by it. Of a key that is not
    /// there nothing need be kept.
    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError>;

    /// When these keys were last used, in their order; `None` of those of which nobody knows, and where
    /// no key stands. It costs least of keys that stand together in a list, and may be of thousands.
    async fn last_uses(&self, keys: &[KeyPlace]) -> Result<Vec<Option<Timestamp>>, StoreError>;

    /// Seals the store or, with `false`, unseals it. What it is already it stays.
    ///
    /// A sealed store is one that was left, or is being left, for another: [`KeyStore::add`],
    /// [`KeyStore::change`] and [`KeyStore::import`] answer [`StoreError::Sealed`] and change
    /// nothing, whoever calls them. Everything else goes on as before, [`KeyStore::ready`]
    /// included. When sealing has answered, no change that had begun before is still to come. The
    /// seal is kept as records are: it outlives closing and crashes.
    async fn seal(&self, sealed: bool) -> Result<(), StoreError>;

    /// Answers when the store can be read and written now.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Finishes what was begun, makes it durable and lets go of the store. Later calls of any
    /// method answer [`StoreError::Unavailable`]; a second `close` does nothing.
    async fn close(&self) -> Result<(), StoreError>;
}
